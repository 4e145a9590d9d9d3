"""PCM samples as numbers and as little-endian bytes: sample formats, scaling, rounding and dither."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Levels = npt.NDArray[np.generic]


class SampleFormat(enum.IntEnum):
    """How one PCM sample is held; the number stands in .rvq headers too. UNKNOWN: not PCM, as in MP3."""

    UNKNOWN = 0
    U8 = 1
    S16 = 2
    S24 = 3
    S32 = 4
    F32 = 5
    F64 = 6

    @property
    def n_bytes(self) -> int:
        """Bytes per sample; 0 for UNKNOWN."""
        return (0, 1, 2, 3, 4, 4, 8)[self]

    @property
    def is_integer(self) -> bool:
        """Whether samples are integers, so that writing them rounds and clips."""
        return SampleFormat.U8 <= self <= SampleFormat.S32

    @property
    def full_scale(self) -> int:
        """The integer that stands for 1.0, one past the largest."""
        return 1 << (8 * self.n_bytes - 1)


DITHERED = (SampleFormat.U8, SampleFormat.S16)


def unpack_samples(data: bytes, sample_format: SampleFormat, channels: int) -> Float32:
    """Return little-endian interleaved samples as floats of full scale 1, scaled as libsndfile does.

    Args:
        data: A whole number of frames of `channels` samples.
        sample_format: Not UNKNOWN.
        channels: Channels.

    Returns:
        Shape [n, channels]; f64 past the range of float32 becomes infinite.
    """
    if sample_format is SampleFormat.U8:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    elif sample_format is SampleFormat.S16:
        samples = np.frombuffer(data, "<i2").astype(np.float32) * np.float32(2**-15)
    elif sample_format is SampleFormat.S24:
        samples = _widen_24(data).astype(np.float32) * np.float32(2**-31)
    elif sample_format is SampleFormat.S32:
        samples = np.frombuffer(data, "<i4").astype(np.float32) * np.float32(2**-31)
    elif sample_format is SampleFormat.F32:
        samples = np.frombuffer(data, "<f4").astype(np.float32)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            samples = np.frombuffer(data, "<f8").astype(np.float32)
    return samples.reshape(-1, channels)


def _widen_24(data: bytes) -> npt.NDArray[np.int32]:
    """Return 24-bit integers as the upper bytes of 32-bit ones."""
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.view("<i4").reshape(-1)


def pack_levels(levels: Levels, sample_format: SampleFormat) -> bytes:
    """Return what `quantize` gave as little-endian bytes, in the order of WAV."""
    if sample_format is SampleFormat.U8:
        return (levels.astype(np.int16) + 128).astype(np.uint8).tobytes()
    if sample_format is SampleFormat.S24:
        wide = np.ascontiguousarray(levels, "<i4").view(np.uint8).reshape(-1, 4)
        return wide[:, :3].tobytes()
    kind = {SampleFormat.S16: "<i2", SampleFormat.S32: "<i4", SampleFormat.F32: "<f4", SampleFormat.F64: "<f8"}
    return levels.astype(kind[sample_format], copy=False).tobytes()


def quantize(block: Float32, sample_format: SampleFormat, first_sample: int) -> tuple[Levels, int]:
    """Return a block in the levels of a sample format, and how many samples were clipped.

    8 and 16 bits get triangular dither of one step either way, taken from the absolute position, so a window of a
    recording is the same as that part of the whole; samples that are exactly zero stay zero. 24 and 32 bits are
    rounded. Floats are neither rounded nor clipped.

    Args:
        block: Shape [n, channels], full scale 1.
        sample_format: UNKNOWN leaves the samples as they are, and counts what a player would clip.
        first_sample: Absolute position of the block's first sample.

    Returns:
        int16 (8 bits: -128 .. 127; 16 bits), int32 (24 bits: the lower bytes; 32 bits), float32 or float64, of the
        same shape; the number of samples past full scale, 0 for floats.
    """
    if sample_format in (SampleFormat.F32, SampleFormat.F64):
        return (block.astype(np.float64) if sample_format is SampleFormat.F64 else block), 0
    n_clipped = _count_past_full_scale(block)
    if not sample_format.is_integer:
        return block, n_clipped
    scale = sample_format.full_scale
    wide = np.float64 if sample_format is SampleFormat.S32 else np.float32
    levels = np.multiply(block, wide(scale), dtype=wide)
    if sample_format in DITHERED:
        _add_dither(levels, first_sample)
    np.rint(levels, out=levels)
    np.clip(levels, -scale, scale - 1, out=levels)
    return levels.astype(np.int16 if sample_format in DITHERED else np.int32), n_clipped


def _count_past_full_scale(block: Float32) -> int:
    if not len(block) or max(-float(block.min()), float(block.max())) <= 1.0:
        return 0
    return int(np.count_nonzero(np.abs(block) > 1.0))


def _add_dither(levels: npt.NDArray[np.floating], first_sample: int) -> None:
    """Add dither in place, save to exact zeros."""
    noise = dither(first_sample, *levels.shape)
    noise *= levels != 0
    levels += noise


def dither(first_sample: int, n_samples: int, channels: int) -> Float32:
    """Return triangular noise in (-1, 1) that depends on position and channel alone.

    It repeats after 2^32 samples, which is 24 hours at 48 kHz.

    Source: the mixing function is "lowbias32" of Chris Wellons' hash-prospector (public domain).
    """
    starts = (first_sample + np.arange(channels, dtype=np.uint64) * np.uint64(0x9E3779B9)) & np.uint64(0xFFFFFFFF)
    bits = np.arange(n_samples, dtype=np.uint32)[:, None] + starts.astype(np.uint32)[None, :]
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    bits ^= bits >> np.uint32(16)
    halves = bits.view(np.uint16).reshape(n_samples, channels, 2).astype(np.float32)
    noise: Float32 = (halves[..., 0] - halves[..., 1]) * np.float32(2**-16)
    return noise
