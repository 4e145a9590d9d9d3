from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rvqcodec.codec.levelling import level_blocks, neighbours, restore_block
from rvqcodec.encoded import CodedBlock
from tests.tiny import tiny_config

SIZE = 800
TARGET = -22.0
TRAITS = replace(
    tiny_config().traits(), frames_per_block=5, block_step=SIZE, encoder_context=(9, 9), decoder_context=(9, 9)
)


def levelled(wave, rotated):
    """Return the blocks of a wave [n, channels], levelled."""
    cut = (wave[start : start + SIZE] for start in range(0, len(wave), SIZE))
    return list(level_blocks(cut, TRAITS, rotated))


def restored(samples, levels, angles=(), traits=TRAITS):
    """Return streams [streams, n] with their levels [3, streams] and their places, [n, channels]."""
    none = np.zeros((len(samples), 0, 0), np.uint16)
    block = CodedBlock(codes=none, n_layers=1, levels=levels, angles=np.array(angles, np.uint16))
    return restore_block(samples[:, None], block, traits, len(samples))


def unlevelled(blocks, n_samples):
    """Return the wave of levelled blocks; a decoder gives whole frames of 160, so the last block may be short."""
    cut = [block.samples[:, 0, : -(-block.n_samples // 160) * 160] for block in blocks]
    pieces = [restored(samples, block.levels, block.angles) for samples, block in zip(cut, blocks, strict=True)]
    return np.concatenate(pieces)[:n_samples]


def noise(n_samples, channels=1, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, channels)).astype(np.float32)


def panned(angle_degrees, n_samples=4000, seed=0):
    angle = np.radians(angle_degrees)
    return (0.1 * noise(n_samples, seed=seed) * [np.cos(angle), np.sin(angle)]).astype(np.float32)


def stepping(n_samples=8000):
    steps = np.repeat([1e-4, 0.5, 1e-3, 0.8, 0.8, 0, 0, 0.3], 1000)[:n_samples, None]
    return (steps * noise(n_samples, 2)).astype(np.float32)


@pytest.mark.parametrize(
    "wave",
    [0.1 * noise(4000, 2), 0.1 * noise(4321, 2), stepping(), np.concatenate([panned(10), panned(100), panned(170)])],
    ids=["two noises", "cut", "steps", "panned"],
)
@pytest.mark.parametrize("rotated", [True, False])
def test_restoring_gives_the_samples_back(wave, rotated):
    """But for a stream 40 dB under the other of its pair, which is dropped."""
    wave = wave + 0.02 * np.sqrt(np.mean(wave**2)) * noise(len(wave), 2, seed=9) * (np.abs(wave).max(1) > 0)[:, None]
    wave = wave.astype(np.float32)
    blocks = levelled(wave, rotated)
    found = unlevelled(blocks, len(wave))
    scale = np.abs(wave).max()
    active = np.repeat([block.levels[1].all() for block in blocks], SIZE)[: len(wave)]
    assert np.abs(found - wave)[active].max(initial=0) < 1e-5 * scale
    assert np.abs(found - wave).max() < 0.06 * scale
    assert active.mean() > 0.4


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_unrotated_channels_come_back(channels):
    wave = (0.1 * noise(4100, channels)).astype(np.float32)
    assert np.abs(unlevelled(levelled(wave, False), len(wave)) - wave).max() < 1e-6


def test_a_stream_comes_to_its_target():
    for gain in (0.001, 0.1, 1.0):
        (block, *_) = levelled((gain * noise(4000)).astype(np.float32), False)
        rms = 10 * np.log10(np.mean(block.samples**2))
        assert abs(rms - TARGET) <= 0.75 / 2 + 0.3


def test_hiss_is_not_blown_up():
    (block, *_) = levelled((1e-6 * 3 * noise(1600)).astype(np.float32), False)
    assert block.levels[1, 0] == 33, "-72 dBFS, the floor"
    assert 10 * np.log10(np.mean(block.samples**2)) < -50


@pytest.mark.parametrize("angle", [0, 10, 45, 90, 135, 170])
def test_a_panned_voice_leaves_the_second_stream_silent(angle):
    wave = panned(angle)
    blocks = levelled(wave, True)
    assert all(block.levels[1, 0] and not block.levels[1, 1] for block in blocks)
    steps = int(blocks[2].angles[1]) * 360 / 512
    assert min(abs((steps - angle) % 180), 180 - abs((steps - angle) % 180)) < 0.5
    assert np.abs(unlevelled(blocks, len(wave)) - wave).max() < 0.004 * np.abs(wave).max() * 2


def test_a_turning_axis_takes_the_nearer_turn():
    wave = np.concatenate([panned(angle, SIZE, seed=angle) for angle in range(0, 720, 20)])
    angles = [int(block.angles[1]) for block in levelled(wave, True)]
    turns = [(after - before + 256) % 512 - 256 for before, after in pairwise(angles)]
    assert max(map(abs, turns)) < 40 and sum(turns) > 900


def test_no_direction_keeps_the_axis_before():
    wave = np.concatenate([panned(45, SIZE), 0.1 * noise(SIZE, 2, seed=5), np.zeros((SIZE, 2), np.float32)])
    assert [int(block.angles[1]) for block in levelled(wave.astype(np.float32), True)] == [64, 64, 64]


def test_silence_has_a_margin():
    wave = np.zeros((5 * SIZE, 1), np.float32)
    wave[2 * SIZE + 400 : 3 * SIZE - 100] = 0.1
    assert [int(block.levels[1, 0] > 0) for block in levelled(wave, False)] == [0, 0, 1, 1, 0]
    wave[3 * SIZE - 300 : 3 * SIZE] = 0
    assert [int(block.levels[1, 0] > 0) for block in levelled(wave, False)] == [0, 0, 1, 0, 0]


def test_zeros_are_silent_and_stay_zero():
    blocks = levelled(np.zeros((2000, 2), np.float32), True)
    assert len(blocks) == 3 and blocks[-1].n_samples == 400
    assert not any(block.levels.any() or block.samples.any() for block in blocks)
    assert not unlevelled(blocks, 2000).any()


def test_no_audio_has_no_blocks():
    assert levelled(np.zeros((0, 2), np.float32), True) == []


def test_levels_of_the_neighbours_are_told():
    blocks = levelled(stepping(), False)
    assert not blocks[0].levels[0].any() and not blocks[-1].levels[2].any()
    for one, other in pairwise(blocks):
        assert np.array_equal(one.levels[1:], other.levels[:2])


def test_a_level_falls_no_more_than_15_db_beside_a_louder_block():
    blocks = levelled(stepping(), False)
    for one, other in pairwise(blocks):
        near = one.levels[1].astype(int), other.levels[1].astype(int)
        both = (near[0] > 0) & (near[1] > 0)
        assert (np.abs(near[0] - near[1])[both] <= 3 * 20).all()


def test_the_curve_is_continuous_between_blocks():
    """A constant wave under levels that change comes out without a step."""
    levels = np.array([[100], [90], [110], [0], [120], [120]], np.uint8)
    ones = np.ones((1, 1000), np.float32)
    pieces = [restored(ones, levels[i - 1 : i + 2])[:, 0] for i in (1, 2)]
    assert abs(pieces[0][-1] / pieces[1][0] - 1) < 0.005
    assert np.ptp(pieces[1][500:]) == 0, "beside silence the level is held"


def test_gain_is_what_the_specification_says():
    ones = np.ones((1, 1000), np.float32)
    for level in (1, 100, 255):
        wave = restored(ones, np.full((3, 1), level, np.uint8))
        assert np.allclose(wave, 10 ** ((0.75 * level - 96.75 - TARGET) / 20), rtol=1e-5)
    first = restored(ones, np.array([[80], [100], [120]], np.uint8))[:, 0]
    x = (np.arange(1000) + 0.5) / 1000
    level = 100 - 20 * np.maximum(0, 0.5 - x) + 20 * np.maximum(0, x - 0.5)
    assert np.allclose(first, 10 ** ((0.75 * level - 96.75 - TARGET) / 20), rtol=1e-5)


def test_angles_are_what_the_specification_says():
    streams = np.stack([np.ones(10, np.float32), np.zeros(10, np.float32)])
    levels, traits = np.full((3, 2), 99, np.uint8), replace(TRAITS, level_dbfs=-22.5)
    for angle in (0, 64, 128, 300):
        wave = restored(streams, levels, [angle] * 3, traits)
        radians = 2 * np.pi * angle / 512
        assert np.allclose(wave, [[np.cos(radians), np.sin(radians)]] * 10, atol=1e-5)


def test_neighbours():
    assert list(neighbours("abc")) == [(None, "a", "b"), ("a", "b", "c"), ("b", "c", None)]
    assert list(neighbours("a")) == [(None, "a", None)] and list(neighbours("")) == []


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 2])
def test_without_levels_samples_stay_as_they_are(channels, width):
    """Where a stream has two channels, an odd channel fills its pair by copying; decoded, the copies are averaged."""
    traits = replace(TRAITS, levels="none", level_dbfs=None, channels_per_stream=width)
    wave = noise(1000, channels)
    blocks = list(level_blocks([wave[:SIZE], wave[SIZE:]], traits, False))
    n_streams = -(-channels // width)
    assert [block.samples.shape for block in blocks] == [(n_streams, width, SIZE)] * 2
    assert [block.n_samples for block in blocks] == [SIZE, 200] and not blocks[1].samples[..., 200:].any()
    assert all(block.levels.shape == (0, n_streams) and block.angles.shape == (0,) for block in blocks)
    flat = blocks[0].samples.reshape(-1, SIZE)
    assert np.array_equal(flat[:channels].T, wave[:SIZE]) and np.array_equal(flat[-1], wave[:SIZE, -1])
    coded = CodedBlock(
        codes=np.zeros((n_streams, 1, 5), np.uint16), n_layers=1, levels=blocks[0].levels, angles=blocks[0].angles
    )
    uneven = blocks[0].samples + np.arange(n_streams * width, dtype=np.float32).reshape(n_streams, width, 1)
    found = restore_block(uneven, coded, traits, channels)
    assert found.shape == (SIZE, channels)
    added = np.arange(channels) + (np.arange(channels) == channels - 1) * (n_streams * width - channels) / 2
    assert np.allclose(found, wave[:SIZE] + added, atol=1e-5)
