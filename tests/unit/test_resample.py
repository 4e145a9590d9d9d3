"""Sample rate conversion in blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvqcodec.formats.audio.resample import PREROLL_S, reblock, resample

RATES = [(48000, 44100), (44100, 48000), (48000, 8000), (11025, 48000), (1000, 768000), (22050, 16000)]


def noise(n_samples, channels=2):
    return np.random.default_rng(0).standard_normal((n_samples, channels)).astype(np.float32) * np.float32(0.2)


def cut(samples, size):
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def join(blocks, channels=2):
    return np.concatenate([np.zeros((0, channels), np.float32), *blocks])


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("n_samples", [0, 1, 2, 7, 320, 1001])
def test_length_is_the_ceiling(source, target, n_samples):
    found = join(resample(cut(noise(n_samples), 100), source, target, 2))
    assert len(found) == -(-n_samples * target // source) and found.dtype == np.float32


@pytest.mark.parametrize(("source", "target"), [(48000, 44100), (44100, 48000), (48000, 11025)])
def test_block_sizes_change_nothing(source, target):
    samples = noise(source + 123)
    whole = join(resample([samples], source, target, 2))
    for size in (source // 10, 7777):
        assert np.array_equal(join(resample(cut(samples, size), source, target, 2)), whole)


@pytest.mark.parametrize(("source", "target"), [(48000, 44100), (48000, 22050), (48000, 192000), (44100, 11025)])
def test_a_window_with_its_preroll_equals_the_whole(source, target):
    samples = noise(source * 3, 1)
    whole = join(resample([samples], source, target, 1), 1)
    start = 2
    window = join(resample([samples[(start - PREROLL_S) * source :]], source, target, 1), 1)[PREROLL_S * target :]
    assert np.abs(window - whole[start * target :]).max() <= 1e-6


def test_equal_rates_are_left_alone():
    blocks = cut(noise(100), 33)
    assert all(a is b for a, b in zip(resample(blocks, 8000, 8000, 2), blocks, strict=True))


def test_a_tone_stays_in_its_place():
    time = np.arange(48000) / 48000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)[:, None]
    found = join(resample([tone], 48000, 44100, 1), 1)[:, 0]
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100)
    assert np.abs(found - expected)[2000:-2000].max() < 1e-5


@given(sizes=st.lists(st.integers(0, 50), max_size=20), size=st.integers(1, 70))
def test_reblock_keeps_all_samples(sizes, size):
    samples = noise(sum(sizes))
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    found = list(reblock(blocks, size))
    assert all(len(block) == size for block in found[:-1]) and all(0 < len(block) <= size for block in found[-1:])
    assert np.array_equal(join(found), samples)
