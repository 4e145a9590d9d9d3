"""Coded audio: codes with their levels, angles and factors, as numpy arrays; shared by models and file format, no torch.

Levels (per stream and block), angles (per block of a rotated stereo pair) and factors (per stream and block) belong to blocks of about a
second on an absolute grid (`signal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rvqcodec.signal import Signal

Codes = npt.NDArray[np.uint16]
Levels = npt.NDArray[np.uint8]
Angles = npt.NDArray[np.uint16]
Factors = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SILENT = 0
LEVEL_STEP_DB = 0.75
LEVEL_ZERO_DB = -96.75
ANGLE_STEPS = 512
DTYPES = {
    "codes": "uint16",
    "levels": "uint8",
    "angles": "uint16",
    "factors": "float32",
    "layers": "uint8",
    "block_frames": "uint16",
}


def no_levels() -> Factors:
    """Return an empty array of factors."""
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedBlock:
    """One block of all streams.

    Args:
        codes: uint16 [streams, layers, frames], those of strided layers repeated; zero where a stream is silent.
        n_layers: Valid layers (fewer after damage); 0 for a lost block, which decodes to zeros.
        levels: uint8 [3, streams], of the preceding block, of this one and of the following one; SILENT has no codes. [0, streams]
            without levels.
        angles: uint16 [3], in steps of 360/512 degrees; [0] when the streams aren't rotated.
        factors: float32 [streams]; [0] unless the signal's levels are "factor".
    """

    codes: Codes
    n_layers: int
    levels: Levels
    angles: Angles
    factors: Factors = field(default_factory=no_levels)

    @property
    def active(self) -> Bools:
        """Whether each stream has codes, bool [streams]; always without levels."""
        return self.levels[1] != SILENT if len(self.levels) else np.ones(len(self.codes), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Coded audio. Codes represent normalised signals; levels, angles and factors restore loudness and stereo image.

    Args:
        signal: Description of audio and codec.
        codes: uint16 [streams, layers, frames], those of strided layers repeated; zero where a stream is silent.
        levels: uint8 [streams, blocks]: 0 is silent, else RMS in dBFS = 0.75 level - 96.75; [0, blocks] unless the signal has them.
        angles: uint16 [blocks], in steps of 360/512 degrees; [0] when the streams aren't rotated.
        layers: uint8 [blocks]: valid layers of each block (fewer than all only in a recovered file).
        n_samples: Source samples per channel.
        factors: float32 [streams, blocks], finite and positive; [0, blocks] unless the signal has them.
        block_frames: uint16 [blocks]: frames of each block; those of the grid when absent. Overlapping blocks may have more at the end
            of a recovered file.

    Raises:
        ValueError: A shape, type or value contradicts the signal.
    """

    signal: Signal
    codes: Codes
    levels: Levels
    angles: Angles
    layers: npt.NDArray[np.uint8]
    n_samples: int
    factors: Factors = field(default_factory=no_levels)
    block_frames: npt.NDArray[np.uint16] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        signal = self.signal
        blocks = signal.blocks_until(self.n_samples)
        if self.block_frames is None:
            object.__setattr__(self, "block_frames", signal.block_frames(self.n_samples))
        for name, kind in (("levels", "rms"), ("factors", "factor")):
            if signal.levels != kind and not getattr(self, name).size:
                object.__setattr__(self, name, np.zeros((0, blocks), DTYPES[name]))
        expected = {
            "block_frames": (blocks,),
            "codes": (signal.n_streams, signal.n_layers, int(self.block_frames.sum(dtype=np.int64))),
            "levels": (signal.n_streams if signal.levels == "rms" else 0, blocks),
            "angles": (blocks if signal.rotated else 0,),
            "factors": (signal.n_streams if signal.levels == "factor" else 0, blocks),
            "layers": (blocks,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        for name, dtype in DTYPES.items():
            if getattr(self, name).dtype != dtype:
                raise ValueError(f"{name} is {getattr(self, name).dtype}, expected {dtype}")
        limits = {"angles": ANGLE_STEPS, "layers": signal.n_layers + 1}
        for name, limit in limits.items():
            if (getattr(self, name) >= limit).any():
                raise ValueError(f"{name} has a value that isn't below {limit}")
        if not (np.isfinite(self.factors) & (self.factors > 0)).all():
            raise ValueError("factors has a value that isn't finite and positive")
        if not fits_grid(signal, self.block_frames, self.n_samples):
            raise ValueError("block_frames contradicts the number of samples")
        check_codes(signal, self.codes)

    def blocks(self) -> Iterator[CodedBlock]:
        """Yield the blocks in order."""
        levels = np.pad(self.levels, ((0, 0), (1, 1))).T
        angles = np.pad(self.angles, 1, mode="edge") if self.angles.size else self.angles
        ends = np.cumsum(self.block_frames, dtype=np.int64).tolist()
        for block, (n_layers, end) in enumerate(zip(self.layers, ends, strict=True)):
            yield CodedBlock(
                codes=self.codes[:, :, end - int(self.block_frames[block]) : end],
                n_layers=int(n_layers),
                levels=levels[block : block + 3] if len(self.levels) else np.zeros((0, len(self.codes)), np.uint8),
                angles=angles[block : block + 3],
                factors=self.factors[:, block],
            )


def check_codes(signal: Signal, codes: Codes) -> None:
    """Check that codes, uint16 [streams, layers, frames], are in their codebooks and, in strided layers, constant over each stride.

    Raises:
        ValueError: They aren't.
    """
    first = 0
    for group in signal.groups:
        own = codes[:, first : first + group.n_layers]
        first += group.n_layers
        if own.size and int(own.max()) >= group.codebook_size:
            raise ValueError(f"codes has a value that isn't below {group.codebook_size}")
        if group.stride > 1:
            strided = own.reshape(*own.shape[:2], -1, group.stride)
            if (strided != strided[..., :1]).any():
                raise ValueError(f"codes of a layer of stride {group.stride} aren't constant over each stride")


def fits_grid(signal: Signal, block_frames: npt.NDArray[np.uint16], n_samples: int) -> bool:
    """Return whether `block_frames` [blocks] fit a file of `n_samples` source samples: equal to the grid, or with overlap at least that."""
    needed = signal.block_frames(n_samples)
    if not signal.overlap:
        return np.array_equal(block_frames, needed)
    whole = (block_frames % signal.frame_multiple == 0) & (block_frames <= signal.frames_per_block)
    return bool((whole & (block_frames >= needed)).all())


def gather(signal: Signal, blocks: Iterable[CodedBlock], n_samples: int) -> Encoded:
    """Return consecutive blocks from the start of the audio as one `Encoded`; `n_samples` counts source samples.

    Raises:
        ValueError: The blocks contradict the signal or `n_samples`.
    """
    found = list(blocks)
    n_streams = signal.n_streams
    codes = [block.codes for block in found] or [np.zeros((n_streams, signal.n_layers, 0), np.uint16)]
    levels = [block.levels[1] for block in found if signal.levels == "rms"]
    factors = [block.factors for block in found if signal.levels == "factor"]
    return Encoded(
        signal=signal,
        codes=np.concatenate(codes, 2),
        levels=np.array(levels, np.uint8).reshape(len(levels), n_streams).T.copy(),
        angles=np.array([block.angles[1] for block in found] if signal.rotated else [], np.uint16),
        factors=np.array(factors, np.float32).reshape(len(factors), n_streams).T.copy(),
        layers=np.array([block.n_layers for block in found], np.uint8),
        n_samples=n_samples,
        block_frames=np.array([block.codes.shape[2] for block in found], np.uint16),
    )
