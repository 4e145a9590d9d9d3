"""PCM sample formats: packing, scaling, quantization with TPDF dither.

Source: Lipshitz, Wannamaker and Vanderkooy 1992 (triangular-PDF dither).
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Levels = npt.NDArray[np.generic]
MIN_SAMPLE_RATE = 1000


class SampleFormat(enum.IntEnum):
    """PCM sample formats, numbered as in .rvq headers. UNKNOWN: not PCM, such as MP3."""

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
        """Whether samples are integers, which are rounded and clipped on writing."""
        return SampleFormat.U8 <= self <= SampleFormat.S32

    @property
    def full_scale(self) -> int:
        """The integer that represents 1.0, one more than the largest value."""
        return 1 << (8 * self.n_bytes - 1)


DITHERED = (SampleFormat.U8, SampleFormat.S16)


def unpack_samples(data: bytes, sample_format: SampleFormat, channels: int) -> Float32:
    """Unpack little-endian interleaved samples, scaled as in libsndfile.

    Args:
        data: A whole number of sample frames.
        sample_format: Not UNKNOWN.
        channels: Channels.

    Returns:
        float32 [n, channels], full scale 1; f64 beyond the range of float32 becomes infinite.
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
    """Return the result of `quantize`, [n, channels], as little-endian interleaved bytes, as in WAV."""
    if sample_format is SampleFormat.U8:
        return (levels.astype(np.int16) + 128).astype(np.uint8).tobytes()
    if sample_format is SampleFormat.S24:
        wide = np.ascontiguousarray(levels, "<i4").view(np.uint8).reshape(-1, 4)
        return wide[:, :3].tobytes()
    kind = {SampleFormat.S16: "<i2", SampleFormat.S32: "<i4", SampleFormat.F32: "<f4", SampleFormat.F64: "<f8"}
    return levels.astype(kind[sample_format], copy=False).tobytes()


def quantize(block: Float32, sample_format: SampleFormat, first_sample: int) -> tuple[Levels, int]:
    """Quantize a block to a sample format; return it and the number of clipped samples.

    8 and 16 bits get TPDF dither of +-1 LSB as a function of the absolute position, so that an excerpt equals that part of the whole;
    exact zeros stay zero. 24 and 32 bits are rounded. Floats are neither rounded nor clipped.

    Args:
        block: float32 [n, channels], full scale 1.
        sample_format: UNKNOWN returns the samples unchanged and counts those beyond full scale.
        first_sample: Absolute index of the block's first sample.

    Returns:
        int16 (8 bits: -128 .. 127; 16 bits), int32 (24 bits: the lower bytes; 32 bits), float32 or float64, of the
        same shape; the number of samples beyond full scale, 0 for floats.
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
    """Add dither in place, except to exact zeros."""
    noise = dither(first_sample, *levels.shape)
    noise *= levels != 0
    levels += noise


def dither(first_sample: int, n_samples: int, channels: int) -> Float32:
    """Return noise of triangular density in (-1, 1), float32 [n_samples, channels], a function of absolute position and channel.

    Its period is 2^32 samples, 24 hours at 48 kHz.

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
