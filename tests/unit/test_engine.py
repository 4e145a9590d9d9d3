"""The engine around families that carry state, or whose streams have two channels."""

import dataclasses

import numpy as np
import pytest

from rvqcodec.codec.codec import Codec
from rvqcodec.codec.levelling import level_blocks, restore_block
from tests.families import FRAMES, HOP, Echo, Pairs
from tests.streams import read_file, write_file
from tests.tiny import same

BLOCK = HOP * FRAMES


def wave(n_samples, channels=2, seed=0):
    return np.random.default_rng(seed).standard_normal((channels, n_samples)).astype(np.float32)


@pytest.fixture
def echo():
    return Codec(Echo(), "echo")


def in_one_call(model, audio):
    """Return the codes and the wave of one channel [n] that a model gives without any engine."""
    codec = Codec(model, "alone")
    codes = codec.encode_windows(audio[None, None], 2, 1, (0, 0), model.start())
    counts, active = np.full((1, codes.shape[2]), 2), np.ones((1, codes.shape[2]), bool)
    return codes[0], codec.decode_windows(codes, counts, active, np.zeros(1, np.int64), (0, 0), model.start())[0, 0]


@pytest.mark.parametrize("n_samples", [1, HOP, BLOCK + 3, 7 * BLOCK, 7 * BLOCK + 13])
def test_a_stream_in_windows_is_the_stream_in_one_call(echo, n_samples):
    audio = wave(n_samples)
    encoded = echo.encode(audio)
    decoded = echo.decode(encoded)
    assert echo.traits.stateful and encoded.codes.shape == (2, 2, -(-n_samples // HOP))
    for channel in range(2):
        codes, heard = in_one_call(Echo(), audio[channel])
        assert np.array_equal(encoded.codes[channel], codes)
        assert np.allclose(decoded[channel], heard[:n_samples], atol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_change_no_stream(echo, n_threads):
    audio = wave(9 * BLOCK + 5, 3)
    encoded = echo.encode(audio, n_threads=n_threads)
    assert same(encoded, Codec(Echo(), "echo").encode(audio))
    assert np.array_equal(echo.decode(encoded, n_threads), echo.decode(encoded))


@pytest.mark.parametrize("first_output", [0, 1, 2, 5, 6])
def test_a_decode_from_the_middle_runs_from_the_start(echo, first_output):
    encoded = echo.encode(wave(7 * BLOCK))
    blocks = list(encoded.blocks())
    whole = [samples for _, samples in echo.decode_blocks(blocks, 1)]
    assert echo.traits.needed_blocks(first_output, 7)[0] == 0
    part = list(echo.decode_blocks(blocks, 2, 0, first_output))
    assert len(part) == 7 - first_output
    for (block, samples), other, expected in zip(part, whole[first_output:], blocks[first_output:], strict=True):
        assert np.array_equal(samples, other) and np.array_equal(block.codes, expected.codes)


def test_files_have_states_of_their_own(echo):
    one, other = wave(3 * BLOCK, seed=1), wave(3 * BLOCK, seed=2)
    alone = echo.encode(one)
    echo.encode(other)
    assert same(echo.encode(one), alone)


def test_streams_with_state_run_once_each_window(echo):
    encoded = echo.encode(wave(6 * BLOCK, 3))
    assert echo.model.n_calls == 3 * 3
    echo.decode(encoded)
    assert echo.model.n_calls == 2 * 3 * 3 and echo.batcher is None


@pytest.mark.parametrize("chunk_blocks", [1, 2, 5])
def test_chunks_change_nothing(echo, chunk_blocks):
    encoded = echo.encode(wave(7 * BLOCK + 13))
    stored = read_file(write_file(encoded, chunk_blocks=chunk_blocks))
    assert same(stored, encoded) and np.array_equal(echo.decode(stored), echo.decode(encoded))


def test_a_lost_block_decodes_to_zeros(echo):
    encoded = echo.encode(wave(5 * BLOCK))
    whole, lost = echo.decode(encoded), encoded.layers.copy()
    lost[2] = 0
    found = echo.decode(dataclasses.replace(encoded, layers=lost))
    assert not found[:, 2 * BLOCK : 3 * BLOCK].any()
    changed = np.flatnonzero((np.abs(found - whole) > 1e-6).any(0))
    assert changed.min() >= 2 * BLOCK and changed.max() < 3 * BLOCK + 2 * HOP
    behind = encoded.codes[:, :, 3 * FRAMES :]
    rest = {"codes": behind, "layers": lost[3:], "n_samples": 2 * BLOCK}
    nothing = {"levels": encoded.levels[:, 3:], "factors": encoded.factors[:, 3:], "block_frames": None}
    alone = echo.decode(dataclasses.replace(encoded, **rest, **nothing))
    assert np.abs(found[:, 3 * BLOCK :] - alone).max() < 1e-6, "state starts anew behind it"


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("n_samples", [0, 1, BLOCK - 1, 5 * BLOCK, 5 * BLOCK + 9])
def test_channels_of_pairs_come_back(channels, n_samples):
    codec = Codec(Pairs(), "pairs")
    audio = np.clip(wave(n_samples, channels) * 0.1 + np.linspace(-0.5, 0.5, channels)[:, None], -1, 1)
    encoded = codec.encode(audio.astype(np.float32))
    signal, n_frames = encoded.signal, 2 * -(-n_samples // (2 * HOP))
    assert encoded.codes.shape == (-(-channels // 2), 2, n_frames) and encoded.levels.shape[0] == 0
    assert (signal.channels_per_stream, signal.levels, signal.rotated) == (2, "none", False)
    decoded = codec.decode(encoded)
    assert decoded.shape == audio.shape and decoded.dtype == np.float32
    frames = n_samples // HOP
    means = audio[:, : frames * HOP].reshape(channels, frames, HOP).mean(-1)
    louder = np.where(np.arange(channels) % 2, 1.1, 1.0)
    louder[-1] = 1.05 if channels % 2 else louder[-1]  # an odd channel is the mean of its two copies
    found = decoded[:, : frames * HOP : HOP]
    assert np.abs(found - means * louder[:, None]).max(initial=0) < 0.6 / 127 * 1.1
    assert np.array_equal(codec.decode(encoded, n_threads=2), decoded)


def test_an_odd_channel_fills_its_pair():
    codec = Codec(Pairs(), "pairs")
    codes = codec.encode(wave(5 * BLOCK, 3) * 0.2).codes
    assert np.array_equal(codes[1, 0], codes[1, 1]) and not np.array_equal(codes[0, 0], codes[0, 1])


def test_blocks_of_pairs_may_begin_anywhere():
    codec = Codec(Pairs(), "pairs")
    audio = wave(6 * BLOCK + 3, 3) * 0.2
    encoded, whole = codec.encode(audio), codec.decode(codec.encode(audio))
    pieces = [
        restore_block(streams, block, codec.traits, 3)
        for block, streams in codec.decode_blocks(list(encoded.blocks())[2:], 2, 2, 3)
    ]
    found = np.concatenate(pieces).T
    assert np.array_equal(found[:, : audio.shape[1] - 3 * BLOCK], whole[:, 3 * BLOCK :])


def test_blocks_pass_in_constant_memory():
    """Coding begins before all blocks are there: no more than the windows under way are held."""
    codec, taken = Codec(Echo(), "echo"), []

    def blocks():
        for number in range(40):
            taken.append(number)
            yield wave(BLOCK, 2, number).T

    coded = codec.encode_blocks(level_blocks(blocks(), codec.traits, False), 2, 1, 2)
    next(coded)
    assert len(taken) <= 3 * codec.traits.window_blocks + 1
    assert len(list(coded)) == 39 and len(taken) == 40
