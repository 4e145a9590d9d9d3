"""Streaming sample rate conversion of PCM by libsoxr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from rvqcodec.formats.audio.pcm import Float32

QUALITY = "VHQ"

PREROLL_S = 1
"""Pre-roll in seconds with which a resampled excerpt equals that part of the whole recording.

Measured with noise at 48 and 44.1 kHz to eight rates: 0.05 s differs by at most 3e-8; a whole second keeps the start on a whole sample at
every pair of rates.
"""


def resample(blocks: Iterable[Float32], source_rate: int, target_rate: int, channels: int) -> Iterator[Float32]:
    """Yield the samples at another sample rate; the result is independent of the block boundaries.

    Args:
        blocks: float32 [n, channels], any n.
        source_rate: In Hz.
        target_rate: In Hz.
        channels: Number of channels.

    Yields:
        float32 [m, channels], any m; in total ceil(samples * target_rate / source_rate) samples.

    Source: libsoxr through python-soxr, recipe VHQ.
    """
    if source_rate == target_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32", quality=QUALITY)
    n_in = n_out = 0
    for block in blocks:
        n_in += len(block)
        resampled = stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        n_out += len(resampled)
        if len(resampled):
            yield resampled
    missing = -(-n_in * target_rate // source_rate) - n_out
    tail = _fit(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True), missing)
    if len(tail):
        yield tail


def _fit(tail: Float32, n_samples: int) -> Float32:
    """Return the last block truncated or zero-padded to `n_samples`: soxr rounds the total length to nearest, here it is rounded up."""
    padding = max(0, n_samples - len(tail))
    return np.pad(tail[: max(0, n_samples)], ((0, padding), (0, 0)))


def reblock(blocks: Iterable[Float32], size: int) -> Iterator[Float32]:
    """Yield the same samples, float32 [n, channels], in blocks of `size`; only the last may be shorter, none is empty."""
    pending: list[Float32] = []
    n_pending = 0
    for whole in blocks:
        block = whole
        while n_pending + len(block) >= size:
            cut = size - n_pending
            yield _join([*pending, block[:cut]])
            pending, n_pending, block = [], 0, block[cut:]
        if len(block):
            pending.append(block)
            n_pending += len(block)
    if pending:
        yield _join(pending)


def _join(pieces: list[Float32]) -> Float32:
    return np.ascontiguousarray(pieces[0] if len(pieces) == 1 else np.concatenate(pieces))
