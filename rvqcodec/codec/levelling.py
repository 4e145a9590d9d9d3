"""Level normalisation, adaptive stereo rotation (KLT) and silence detection per block of the absolute grid; numpy only.

All adaptive parameters belong to a block, about one second, and are interpolated between block centres. They depend on the samples of
neighbouring blocks only, so neither on the length of the file nor on chunks or read sizes.

Source: van der Waal and Veldhuis 1991 (subband coding of stereo by rotation to principal axes).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import ANGLE_STEPS, LEVEL_STEP_DB, LEVEL_ZERO_DB, SILENT, Angles, CodedBlock, Levels

if TYPE_CHECKING:
    from rvqcodec.models.family import Traits

Samples = npt.NDArray[np.float32]
Item = TypeVar("Item")

FLOOR_DBFS = -72.0
MAX_DROP_DB = 15.0
MAX_DROP_STEPS = round(MAX_DROP_DB / LEVEL_STEP_DB)
SILENCE_PEAK = 1e-6
SILENCE_MARGIN = 160
MASKED_POWER_RATIO = 1e-4
ISOTROPIC = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of samples during analysis.

    Args:
        samples: float32 [streams, block_size], contiguous; zeros beyond the end of the audio.
        n_samples: Samples before the end of the audio.
        angle: Of the rotation, in steps of 360/512 degrees; 0 for streams that aren't rotated.
        levels: uint8 [streams]; SILENT has no codes.
    """

    samples: Samples
    n_samples: int
    angle: int = 0
    levels: Levels


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelledBlock:
    """A block with each stream at the level of the encoder's input.

    Args:
        samples: float32 [streams, channels_per_stream, block_size]; zeros beyond the end of the audio.
        n_samples: Samples before the end of the audio.
        levels: uint8 [3, streams], of the preceding block, of this one and of the following one; [0, streams] without levels.
        angles: uint16 [3], of the same blocks; [0] without rotation.
    """

    samples: Samples
    n_samples: int
    levels: Levels
    angles: Angles


def neighbours(items: Iterable[Item]) -> Iterator[tuple[Item | None, Item, Item | None]]:
    """Yield each item with its predecessor and its successor, None beyond the ends."""
    before: Item | None = None
    current: Item | None = None
    for after in items:
        if current is not None:
            yield before, current, after
        before, current = current, after
    if current is not None:
        yield before, current, None


def level_blocks(blocks: Iterable[Samples], traits: Traits, rotated: bool) -> Iterator[LevelledBlock]:
    """Yield blocks rotated to their principal axes and levelled, where the family uses levels.

    Args:
        blocks: float32 [block_size, channels] each; the last may be shorter.
        traits: Of the model.
        rotated: Whether to rotate the two channels.
    """
    padded = _padded(blocks, traits.block_size)
    if traits.level_dbfs is None:
        yield from (_streams(block, traits.channels_per_stream) for block in padded)
        return
    measured = _measure_angles(padded, rotated)
    rotating = (_rotate(*near) if rotated else near[1] for near in neighbours(measured))
    levelled = (_measure_levels(*near) for near in neighbours(rotating))
    limited = (_limit_drop(*near) for near in neighbours(levelled))
    for before, block, after in neighbours(limited):
        yield _apply_levels(before, block, after, rotated, traits.level_dbfs)


def restore_block(samples: Samples, block: CodedBlock, traits: Traits, channels: int) -> Samples:
    """Return a decoded block with levels and rotation undone, float32 [n, channels].

    Args:
        samples: Decoded streams, float32 [streams, channels_per_stream, n].
        block: The coded block.
        traits: Of the model.
        channels: Of the source.
    """
    if traits.level_dbfs is None:
        return np.ascontiguousarray(_channels(samples, channels).T)
    n, size = samples.shape[2], max(traits.block_size, samples.shape[2])
    whole = np.pad(samples[:, 0], ((0, 0), (0, size - n))) if n < size else samples[:, 0]  # curves span whole blocks
    gains = [_gain(levels, size, traits.level_dbfs) for levels in block.levels.T]
    streams = np.stack([wave / gain for wave, gain in zip(whole, gains, strict=True)])
    return np.ascontiguousarray((_rotated(streams, block.angles, -1.0) if block.angles.size else streams).T[:n])


def _streams(block: Block, width: int) -> LevelledBlock:
    """Return a block without levels, `width` channels per stream; an odd channel is duplicated to fill its stream."""
    missing = -len(block.samples) % width
    channels = np.concatenate([block.samples, *[block.samples[-1:]] * missing])
    samples = channels.reshape(-1, width, channels.shape[1])
    none = np.zeros((0, len(samples)), np.uint8)
    return LevelledBlock(samples=samples, n_samples=block.n_samples, levels=none, angles=np.zeros(0, np.uint16))


def _channels(samples: Samples, n_channels: int) -> Samples:
    """Return streams [streams, channels_per_stream, n] as channels [n_channels, n]; the copies of an odd channel are averaged."""
    found = samples.reshape(-1, samples.shape[2])
    if len(found) == n_channels:
        return found
    return np.concatenate([found[: n_channels - 1], found[n_channels - 1 :].mean(0, keepdims=True)])


def _padded(blocks: Iterable[Samples], block_size: int) -> Iterator[Block]:
    for samples in blocks:
        missing = block_size - len(samples)
        streams = np.ascontiguousarray(samples.T)
        padded = np.pad(streams, ((0, 0), (0, missing))) if missing else streams
        yield Block(samples=padded, n_samples=len(samples), levels=np.zeros(len(padded), np.uint8))


def _measure_angles(blocks: Iterable[Block], rotated: bool) -> Iterator[Block]:
    """Estimate each block's principal axis, of the two directions the one closer to the preceding block's."""
    angle = 0
    for block in blocks:
        if rotated:
            left, right = block.samples
            angle = _nearest_axis(_product(left, left), _product(right, right), _product(left, right), angle)
        yield Block(samples=block.samples, n_samples=block.n_samples, angle=angle, levels=block.levels)


def _product(a: Samples, b: Samples) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # floating-point samples may exceed full scale by far
        return float((a * b).sum(dtype=np.float64))


def _nearest_axis(left: float, right: float, product: float, before: int) -> int:
    """Return the principal axis of a 2 x 2 covariance in steps; the preceding one if the covariance is nearly isotropic."""
    anisotropy = np.hypot(left - right, 2 * product)
    if not anisotropy > ISOTROPIC * (left + right):
        return before
    axis = round(float(np.arctan2(2 * product, left - right)) / (4 * np.pi) * ANGLE_STEPS)
    half = ANGLE_STEPS // 2
    turned = (axis - before + half // 2) % half - half // 2
    return (before + turned) % ANGLE_STEPS


def _rotate(before: Block | None, block: Block, after: Block | None) -> Block:
    angles = np.array([(near or block).angle for near in (before, block, after)], np.uint16)
    return Block(
        samples=_rotated(block.samples, angles, 1.0), n_samples=block.n_samples, angle=block.angle, levels=block.levels
    )


def _rotated(samples: Samples, angles: Angles, sign: float) -> Samples:
    """Return samples [2, n] rotated by the interpolated angles; sign -1 is the inverse."""
    left, right = samples
    steps = _interpolated(_unwrapped(angles), samples.shape[1])
    theta = np.multiply(steps, 2 * np.pi / ANGLE_STEPS, dtype=np.float32)
    cosine, sine = np.cos(theta), np.float32(sign) * np.sin(theta)
    return np.stack([cosine * left + sine * right, cosine * right - sine * left])


def _unwrapped(angles: Angles) -> list[float]:
    """Return three angles in steps, the outer two unwrapped to the nearest equivalents of the middle one."""
    own, half = int(angles[1]), ANGLE_STEPS // 2
    return [own + (int(angle) - own + half) % ANGLE_STEPS - half for angle in angles]


def _measure_levels(before: Block | None, block: Block, after: Block | None) -> Block:
    """Measure each stream's level; a stream of zeros, or 40 dB below the other of its pair, is silent."""
    samples = block.samples
    with np.errstate(over="ignore", invalid="ignore"):  # floating-point samples may exceed full scale by far
        power = np.square(samples).sum(1, dtype=np.float64) / block.n_samples
    silent = _peaks(before, block, after) <= SILENCE_PEAK
    if len(samples) == 2:
        silent |= power < MASKED_POWER_RATIO * power.max()
    level = 10 * np.log10(np.maximum(power, 1e-20))
    steps = np.rint((np.maximum(level, FLOOR_DBFS) - LEVEL_ZERO_DB) / LEVEL_STEP_DB)
    levels = np.where(silent, SILENT, np.clip(steps, 1, 255)).astype(np.uint8)
    return Block(samples=samples, n_samples=block.n_samples, angle=block.angle, levels=levels)


def _peaks(before: Block | None, block: Block, after: Block | None) -> npt.NDArray[np.float32]:
    peaks = [np.maximum(block.samples.max(1), -block.samples.min(1))]
    peaks += [np.abs(before.samples[:, -SILENCE_MARGIN:]).max(1)] if before is not None else []
    peaks += [np.abs(after.samples[:, :SILENCE_MARGIN]).max(1)] if after is not None else []
    peak: npt.NDArray[np.float32] = np.maximum.reduce(peaks)
    return peak


def _limit_drop(before: Block | None, block: Block, after: Block | None) -> Block:
    """Limit the drop of a level from its louder neighbours, so that the interpolated curve stays close to both."""
    near = [np.where(other.levels, other.levels, 0).astype(np.int64) for other in (before, after) if other is not None]
    least = np.max([level - MAX_DROP_STEPS for level in near], axis=0) if near else 0
    levels = np.where(block.levels, np.maximum(block.levels, least), SILENT).astype(np.uint8)
    return Block(samples=block.samples, n_samples=block.n_samples, angle=block.angle, levels=levels)


def _apply_levels(
    before: Block | None, block: Block, after: Block | None, rotated: bool, target_dbfs: float
) -> LevelledBlock:
    none = np.zeros_like(block.levels)
    levels = np.stack([none if near is None else near.levels for near in (before, block, after)])
    angles = [(near or block).angle for near in (before, block, after)] if rotated else []
    streams = [
        wave * _gain(levels[:, stream], len(wave), target_dbfs) if levels[1, stream] else np.zeros_like(wave)
        for stream, wave in enumerate(block.samples)
    ]
    return LevelledBlock(
        samples=np.stack(streams)[:, None], n_samples=block.n_samples, levels=levels, angles=np.array(angles, np.uint16)
    )


def _gain(levels: Levels, n_samples: int, target_dbfs: float) -> Samples | np.float32:
    """Return the encoder's gain over a block, [n_samples] or a constant, from a stream's levels [3]; held towards silent neighbours."""
    own = int(levels[1])
    held = [float(level) if level else float(own) for level in levels]
    if held[0] == held[1] == held[2]:
        return np.float32(10 ** ((target_dbfs - LEVEL_ZERO_DB - LEVEL_STEP_DB * own) / 20))
    return _amplitudes(
        np.float32(target_dbfs - LEVEL_ZERO_DB) - np.float32(LEVEL_STEP_DB) * _interpolated(held, n_samples)
    )


def _amplitudes(curve: Samples) -> Samples:
    gain: Samples = np.exp(curve * np.float32(np.log(10) / 20))
    return gain


def _interpolated(values: list[float], n_samples: int) -> Samples:
    """Interpolate three block values linearly between block centres over the middle block, [n_samples]."""
    early, late = _ramps(n_samples)
    before, own, after = (np.float32(value) for value in values)
    return own + early * (before - own) + late * (after - own)


@functools.lru_cache(maxsize=4)
def _ramps(n_samples: int) -> tuple[Samples, Samples]:
    """Return the interpolation weights of the preceding and of the following value, [n_samples]."""
    place = (np.arange(n_samples) + 0.5) / n_samples
    return np.maximum(0.5 - place, 0).astype(np.float32), np.maximum(place - 0.5, 0).astype(np.float32)
