"""What models and files both speak: codes with their levels and angles, as numpy arrays and without torch.

A block is one second of the absolute grid. Each stream has one level per block, a rotated stereo pair one angle per
block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]
Levels = npt.NDArray[np.uint8]
Angles = npt.NDArray[np.uint16]

MAX_CHANNELS = 8
MAX_LAYERS = 64
MAX_CODEBOOK_SIZE = 1 << 16
MAX_FRAMES_PER_BLOCK = 8192
KINDS = ("vector", "sinusoid")
MAX_SAMPLE_RATE = 768_000
SILENT = 0
LEVEL_STEP_DB = 0.75
LEVEL_ZERO_DB = -96.75
ANGLE_STEPS = 512
DTYPES = {"codes": "uint16", "levels": "uint8", "angles": "uint16", "layers": "uint8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """Consecutive layers of one kind.

    Args:
        n_layers: How many.
        codebook_size: Entries of each.
        stride: Frames that one code stands for.
        kind: "vector" (a codebook's entries) or "sinusoid" (frequencies of parametric sinusoids).

    Raises:
        ValueError: A number is out of range.
    """

    n_layers: int
    codebook_size: int
    stride: int = 1
    kind: str = "vector"

    def __post_init__(self) -> None:
        sizes = 2 <= self.codebook_size <= MAX_CODEBOOK_SIZE and 1 <= self.stride <= 255
        if not sizes or not 1 <= self.n_layers <= MAX_LAYERS or self.kind not in KINDS:
            raise ValueError(f"no group of layers: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What an .rvq file or an `Encoded` says of its audio and of the codec that coded it.

    `n_samples` isn't here: a stream knows it only at its end.
    """

    model: str
    fingerprint: str
    sample_rate: int
    channels: int
    sample_format: int
    rotated: bool
    groups: tuple[LayerGroup, ...]
    model_sample_rate: int
    hop_length: int
    frames_per_block: int
    frame_multiple: int = 1
    block_step: int
    channels_per_stream: int = 1
    levels: str = "rms"
    scalable: bool = True

    @property
    def n_layers(self) -> int:
        """Layers of codes."""
        return sum(group.n_layers for group in self.groups)

    @property
    def codebook_size(self) -> int:
        """Entries of the largest codebook."""
        return max(group.codebook_size for group in self.groups)

    def with_layers(self, n_layers: int) -> Signal:
        """Return the description of the same audio with the first `n_layers` layers."""
        kept, left = [], n_layers
        for group in self.groups:
            if left > 0:
                kept.append(replace(group, n_layers=min(left, group.n_layers)))
            left -= group.n_layers
        return replace(self, groups=tuple(kept))

    @property
    def n_streams(self) -> int:
        """Coded streams: one a channel or a pair of them, the two of a rotated stereo pair included."""
        return -(-self.channels // self.channels_per_stream)

    @property
    def block_s(self) -> float:
        """Seconds of a block."""
        return self.frames_per_block * self.hop_length / self.model_sample_rate

    @property
    def nominal_bitrate(self) -> int:
        """Bits per second of the codes as they are, without entropy coding, all streams together."""
        rate = self.n_streams * self.model_sample_rate
        widths = [(group.n_layers * (group.codebook_size - 1).bit_length(), group.stride) for group in self.groups]
        common = math.lcm(*(stride for _, stride in widths))
        return rate * sum(bits * (common // stride) for bits, stride in widths) // (self.hop_length * common)

    def block_start(self, block: int) -> int:
        """Return the first source sample of a block: a whole second for the default model.

        Rounded down, so that `frames_until` gives whole blocks back where a block is no whole number of source samples.
        """
        return block * self.frames_per_block * self.hop_length * self.sample_rate // self.model_sample_rate

    def scaled(self, n_samples: int, sample_rate: int) -> int:
        """Return how many samples at another rate the first `n_samples` source samples are."""
        return -(-n_samples * sample_rate // self.sample_rate)

    def frames_until(self, n_samples: int) -> int:
        """Return how many frames it takes to cover the first `n_samples` source samples."""
        return -(-n_samples * self.model_sample_rate // (self.sample_rate * self.hop_length))

    def blocks_until(self, n_samples: int) -> int:
        """Return how many blocks it takes to cover the first `n_samples` source samples."""
        return -(-self.frames_until(n_samples) // self.frames_per_block)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedBlock:
    """One block of all streams.

    codes: [streams, layers, frames]; zero where a stream is silent.
    n_layers: How many layers hold (fewer after damage); 0 when the block was lost.
    levels: [3, streams], of the block before, of this one and of the one after; SILENT has no codes.
    angles: [3], in steps of 360/512 degrees; [0] when the streams aren't rotated.
    """

    codes: Codes
    n_layers: int
    levels: Levels
    angles: Angles


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Audio as a codec codes it. Codes alone lose loudness and stereo: levels and angles belong to them.

    codes: [streams, layers, frames], uint16; zero where a stream is silent.
    levels: [streams, blocks], uint8: 0 is silent, else RMS in dBFS = 0.75 level - 96.75.
    angles: [blocks], uint16, in steps of 360/512 degrees; [0] when the streams aren't rotated.
    layers: [blocks], uint8: how many layers hold in each block (fewer only in a file that was recovered).
    n_samples: Source samples per channel.
    """

    signal: Signal
    codes: Codes
    levels: Levels
    angles: Angles
    layers: npt.NDArray[np.uint8]
    n_samples: int

    def __post_init__(self) -> None:
        signal = self.signal
        frames, blocks = signal.frames_until(self.n_samples), signal.blocks_until(self.n_samples)
        expected = {
            "codes": (signal.n_streams, signal.n_layers, frames),
            "levels": (signal.n_streams, blocks),
            "angles": (blocks if signal.rotated else 0,),
            "layers": (blocks,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        for name in ("codes", "levels", "angles", "layers"):
            if getattr(self, name).dtype != DTYPES[name]:
                raise ValueError(f"{name} is {getattr(self, name).dtype}, not {DTYPES[name]}")
        limits = {"codes": signal.codebook_size, "angles": ANGLE_STEPS, "layers": signal.n_layers + 1}
        for name, limit in limits.items():
            if (getattr(self, name) >= limit).any():
                raise ValueError(f"{name} holds a number that is not below {limit}")

    def blocks(self) -> Iterator[CodedBlock]:
        """Yield the blocks one after the other."""
        size = self.signal.frames_per_block
        levels = np.pad(self.levels, ((0, 0), (1, 1))).T
        angles = np.pad(self.angles, 1, mode="edge") if self.angles.size else self.angles
        for block, n_layers in enumerate(self.layers):
            yield CodedBlock(
                codes=self.codes[:, :, block * size : (block + 1) * size],
                n_layers=int(n_layers),
                levels=levels[block : block + 3],
                angles=angles[block : block + 3],
            )


def gather(signal: Signal, blocks: Iterable[CodedBlock], n_samples: int) -> Encoded:
    """Return blocks that follow one another from the start as one `Encoded`."""
    found = list(blocks)
    n_streams = signal.n_streams
    codes = [block.codes for block in found] or [np.zeros((n_streams, signal.n_layers, 0), np.uint16)]
    levels = [block.levels[1] for block in found] or [np.zeros((0, n_streams), np.uint8)]
    return Encoded(
        signal=signal,
        codes=np.concatenate(codes, 2),
        levels=np.stack(levels).reshape(len(found), n_streams).T.copy(),
        angles=np.array([block.angles[1] for block in found] if signal.rotated else [], np.uint16),
        layers=np.array([block.n_layers for block in found], np.uint8),
        n_samples=n_samples,
    )
