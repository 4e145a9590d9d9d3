"""Rounding, clipping and dither."""

import numpy as np
import pytest

from rvqcodec.formats.audio.pcm import SampleFormat, dither, pack_levels, quantize, unpack_samples


def noise(n_samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, channels)).astype(np.float32)


@pytest.mark.parametrize("sample_format", [f for f in SampleFormat if f.is_integer])
def test_levels_are_near(sample_format):
    block = noise(5000)
    levels, n_clipped = quantize(block, sample_format, 0)
    back = unpack_samples(pack_levels(levels, sample_format), sample_format, 2)
    step = 1 / sample_format.full_scale
    widest = 1.5 if sample_format.n_bytes < 3 else 0.5
    assert n_clipped == 0 and np.abs(back.astype(np.float64) - block).max() <= widest * step + 2**-24


@pytest.mark.parametrize("sample_format", [f for f in SampleFormat if f.is_integer])
def test_clipping_is_counted_and_limited(sample_format):
    block = np.array([[1.0, -1.0], [1.5, -7.0], [0.0, 1e30]], np.float32)
    levels, n_clipped = quantize(block, sample_format, 0)
    assert n_clipped == 3
    assert levels.max() == sample_format.full_scale - 1 and levels.min() == -sample_format.full_scale


def test_floats_pass():
    block = noise(10) * 3
    for sample_format in (SampleFormat.F32, SampleFormat.F64):
        levels, n_clipped = quantize(block, sample_format, 0)
        assert np.array_equal(levels, block) and n_clipped == 0


@pytest.mark.parametrize("sample_format", [f for f in SampleFormat if f.is_integer])
def test_zeros_stay_zero(sample_format):
    assert not quantize(np.zeros((1000, 2), np.float32), sample_format, 5)[0].any()


def test_windows_agree_with_the_whole():
    block = noise(3000, 3)
    whole, _ = quantize(block, SampleFormat.S16, 10)
    for start, end in ((0, 1), (17, 2999), (2000, 3000)):
        assert np.array_equal(quantize(block[start:end], SampleFormat.S16, 10 + start)[0], whole[start:end])


def test_dither_is_triangular_and_white():
    values = dither(12345, 200_000, 2).astype(np.float64)
    assert np.abs(values).max() < 1 and abs(values.mean()) < 0.003
    assert abs(values.var() - 1 / 6) < 0.002
    assert np.abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.01
    assert np.abs(np.corrcoef(values[1:, 0], values[:-1, 0])[0, 1]) < 0.01


def test_dither_goes_on_past_32_bits():
    around = dither(2**32 - 5, 10, 1)
    assert np.array_equal(around[5:], dither(2**32, 5, 1)) and len(np.unique(around)) == 10


def test_dither_is_fixed():
    assert [round(float(v) * 65536) for v in dither(1000, 2, 2).ravel()] == [6515, 44296, 18672, -31754]


def test_dither_keeps_what_rounding_loses():
    tone = (0.3 * np.sin(np.arange(48000) * 0.05) / 32768).astype(np.float32)[:, None]
    levels = quantize(tone, SampleFormat.S16, 0)[0][:, 0]
    assert np.corrcoef(levels, tone[:, 0])[0, 1] > 0.2
