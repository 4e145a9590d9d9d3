"""What models and files both speak: codes with their levels, angles and factors, as numpy arrays and without torch.

Blocks, of about a second, lie on an absolute grid. Levels (one per stream and block), angles (one per block of a rotated stereo
pair) and factors belong to them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]
Levels = npt.NDArray[np.uint8]
Angles = npt.NDArray[np.uint16]
Factors = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

MAX_CHANNELS = 8
MAX_LAYERS = 64
MAX_CODEBOOK_SIZE = 1 << 16
MAX_FRAMES_PER_BLOCK = 8192
MAX_FRAME_MULTIPLE = 255
KINDS = ("vector", "sinusoid")
LEVELS = ("none", "rms", "factor")
MAX_SAMPLE_RATE = 768_000
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

    Args:
        model: Name of the model.
        fingerprint: What its codes mean: 16 hex digits.
        sample_rate: Of the source, Hz.
        channels: Of the source.
        sample_format: Of the source, as in an .rvq header; 0 is unknown.
        rotated: Whether the two streams are a rotated stereo pair.
        groups: The layers, coarsest first; neighbouring groups differ, strides never rise and each divides the one before.
        model_sample_rate: Hz.
        hop_length: Samples of the model per frame.
        frames_per_block: Frames of a block, a multiple of `frame_multiple`.
        frame_multiple: A file's frames are a multiple of it; all strides divide it.
        block_step: Samples of the model from one block to the next: `frames_per_block` x `hop_length`, or down to half of it where
            blocks overlap; 0 stands for the former.
        channels_per_stream: 1 or 2; an odd channel fills its pair with a copy.
        levels: "none", "rms" (streams are levelled, silence has no codes) or "factor" (a factor a block).
        scalable: Whether the codes of fewer layers are a valid, coarser code.

    Raises:
        ValueError: The fields contradict each other or are out of range.
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
    block_step: int = 0
    channels_per_stream: int = 1
    levels: str = "rms"
    scalable: bool = True

    def __post_init__(self) -> None:
        block = self.frames_per_block * self.hop_length
        if not self.block_step:
            object.__setattr__(self, "block_step", block)
        rates = (self.sample_rate, self.model_sample_rate)
        broken = check_groups(self.groups)
        checks = {
            "sample rates are 1 to 768,000 Hz": all(1 <= rate <= MAX_SAMPLE_RATE for rate in rates),
            "there are 1 to 8 channels": 1 <= self.channels <= MAX_CHANNELS,
            "a stream has 1 or 2 channels": self.channels_per_stream in (1, 2),
            "levels are of a known kind": self.levels in LEVELS,
            "only two levelled streams of one channel can be rotated": not self.rotated
            or (self.channels, self.channels_per_stream, self.levels) == (2, 1, "rms"),
            f"layers: {broken}": not broken,
            "frames have a size": 1 <= self.hop_length < 1 << 16,
            "a block has 1 to 8192 frames": 1 <= self.frames_per_block <= MAX_FRAMES_PER_BLOCK,
            "a block's frames are a multiple of the frame multiple": 1 <= self.frame_multiple <= MAX_FRAME_MULTIPLE
            and self.frames_per_block % self.frame_multiple == 0,
            "every stride divides the frame multiple": bool(broken)
            or all(self.frame_multiple % group.stride == 0 for group in self.groups),
            "blocks overlap by at most half": block <= 2 * self.block_step <= 2 * block,
            "frames and steps are no shorter than a source sample": self.sample_rate
            * min(self.hop_length, self.block_step)
            >= self.model_sample_rate,
        }
        failed = [rule for rule, holds in checks.items() if not holds]
        if failed:
            raise ValueError(f"the signal breaks a rule: {failed[0]}")

    @property
    def n_layers(self) -> int:
        """Layers of all groups."""
        return sum(group.n_layers for group in self.groups)

    @property
    def n_streams(self) -> int:
        """Coded channels or pairs of them; those of a rotated stereo pair are two."""
        return -(-self.channels // self.channels_per_stream)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each layer's codebook."""
        return tuple(group.codebook_size for group in self.groups for _ in range(group.n_layers))

    @property
    def strides(self) -> tuple[int, ...]:
        """Frames that one code of each layer stands for."""
        return tuple(group.stride for group in self.groups for _ in range(group.n_layers))

    @property
    def overlap(self) -> int:
        """Samples of the model that neighbouring blocks share."""
        return self.frames_per_block * self.hop_length - self.block_step

    @property
    def block_s(self) -> float:
        """Seconds from block to block."""
        return self.block_step / self.model_sample_rate

    @property
    def nominal_bitrate(self) -> int:
        """Bits per second of the codes as they are, without entropy coding, all streams together; overlaps aren't counted."""
        coarsest = self.groups[0].stride
        bits = sum(
            group.n_layers * (group.codebook_size - 1).bit_length() * (coarsest // group.stride)
            for group in self.groups
        )
        return self.n_streams * self.model_sample_rate * bits // (self.hop_length * coarsest)

    def with_layers(self, n_layers: int) -> Signal:
        """Return the signal of the first `n_layers` layers.

        Raises:
            ValueError: There are fewer, or `n_layers` is less than 1.
        """
        if not 1 <= n_layers <= self.n_layers:
            raise ValueError(f"{n_layers} layers of {self.n_layers}")
        groups, left = [], n_layers
        for group in self.groups:
            if left > 0:
                groups.append(replace(group, n_layers=min(left, group.n_layers)))
            left -= group.n_layers
        return replace(self, groups=tuple(groups))

    def block_start(self, block: int) -> int:
        """Return the first source sample of a block: a whole second for the default model.

        Rounded down, so that `blocks_until` gives whole blocks back where a block is no whole number of source samples.
        """
        return block * self.block_step * self.sample_rate // self.model_sample_rate

    def scaled(self, n_samples: int, sample_rate: int) -> int:
        """Return how many samples at another rate the first `n_samples` source samples are."""
        return -(-n_samples * sample_rate // self.sample_rate)

    def blocks_until(self, n_samples: int) -> int:
        """Return how many blocks it takes to cover the first `n_samples` source samples."""
        return -(-self.scaled(n_samples, self.model_sample_rate) // self.block_step)

    def frames_of_block(self, block: int, n_samples: int) -> int:
        """Return how many frames a block has in a file of `n_samples` source samples that reaches into it."""
        left = self.scaled(n_samples, self.model_sample_rate) - block * self.block_step
        return min(self.frames_per_block, self.frame_multiple * -(-left // (self.hop_length * self.frame_multiple)))

    def block_frames(self, n_samples: int) -> npt.NDArray[np.uint16]:
        """Return how many frames each block of a file of `n_samples` source samples has: only the last two may have fewer."""
        n_blocks = self.blocks_until(n_samples)
        frames = np.full(n_blocks, self.frames_per_block, np.uint16)
        for block in range(max(0, n_blocks - 2), n_blocks):
            frames[block] = self.frames_of_block(block, n_samples)
        return frames

    def frames_until(self, n_samples: int) -> int:
        """Return how many frames all blocks of a file of `n_samples` source samples have."""
        n_blocks = self.blocks_until(n_samples)
        last = range(max(0, n_blocks - 2), n_blocks)
        return last.start * self.frames_per_block + sum(self.frames_of_block(block, n_samples) for block in last)


def check_groups(groups: tuple[LayerGroup, ...]) -> str:
    """Return which rule of the layers the groups break, or nothing."""
    pairs = list(itertools.pairwise(groups))
    if not 1 <= sum(group.n_layers for group in groups) <= MAX_LAYERS:
        return f"there are 1 to {MAX_LAYERS}"
    if any(replace(one, n_layers=1) == replace(other, n_layers=1) for one, other in pairs):
        return "neighbouring groups differ"
    if any(one.stride % other.stride for one, other in pairs):
        return "each stride divides the one before"
    return ""


def no_levels() -> Factors:
    """Return the factors of streams that have none."""
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedBlock:
    """One block of all streams.

    codes: [streams, layers, frames], coarse ones repeated; zero where a stream is silent.
    n_layers: How many layers hold (fewer after damage); 0 when the block was lost, which decodes to zeros.
    levels: [3, streams], of the block before, of this one and of the one after; SILENT has no codes. [0, streams] without levels.
    angles: [3], in steps of 360/512 degrees; [0] when the streams aren't rotated.
    factors: float32 [streams]; [0] unless the signal's levels are "factor".
    """

    codes: Codes
    n_layers: int
    levels: Levels
    angles: Angles
    factors: Factors = field(default_factory=no_levels)

    @property
    def active(self) -> Bools:
        """Which streams have codes, [streams]: all of them where there are no levels."""
        return self.levels[1] != SILENT if len(self.levels) else np.ones(len(self.codes), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Audio as a codec codes it. Codes alone lose loudness and stereo: levels, angles and factors belong to them.

    codes: [streams, layers, frames], uint16, coarse ones repeated; zero where a stream is silent.
    levels: [streams, blocks], uint8: 0 is silent, else RMS in dBFS = 0.75 level - 96.75; [0, blocks] unless the signal has them.
    angles: [blocks], uint16, in steps of 360/512 degrees; [0] when the streams aren't rotated.
    layers: [blocks], uint8: how many layers hold in each block (fewer only in a file that was recovered).
    n_samples: Source samples per channel.
    factors: [streams, blocks], float32, finite and above 0; [0, blocks] unless the signal has them.
    block_frames: [blocks], uint16: frames of each block. What the grid says when absent; blocks that overlap may have more at a
        recovered file's end.
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
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        for name, dtype in DTYPES.items():
            if getattr(self, name).dtype != dtype:
                raise ValueError(f"{name} is {getattr(self, name).dtype}, not {dtype}")
        limits = {"angles": ANGLE_STEPS, "layers": signal.n_layers + 1}
        for name, limit in limits.items():
            if (getattr(self, name) >= limit).any():
                raise ValueError(f"{name} holds a number that is not below {limit}")
        if not (np.isfinite(self.factors) & (self.factors > 0)).all():
            raise ValueError("factors holds a number that is not finite and above 0")
        if not fits_grid(signal, self.block_frames, self.n_samples):
            raise ValueError("block_frames contradicts the number of samples")
        check_codes(signal, self.codes)

    def blocks(self) -> Iterator[CodedBlock]:
        """Yield the blocks one after the other."""
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
    """Insist that codes [streams, layers, frames] are in their codebooks, and that coarse ones repeat.

    Raises:
        ValueError: They aren't, or don't.
    """
    first = 0
    for group in signal.groups:
        own = codes[:, first : first + group.n_layers]
        first += group.n_layers
        if own.size and int(own.max()) >= group.codebook_size:
            raise ValueError(f"codes holds a number that is not below {group.codebook_size}")
        if group.stride > 1:
            strided = own.reshape(*own.shape[:2], -1, group.stride)
            if (strided != strided[..., :1]).any():
                raise ValueError(f"codes of a layer of stride {group.stride} don't repeat")


def fits_grid(signal: Signal, block_frames: npt.NDArray[np.uint16], n_samples: int) -> bool:
    """Tell whether blocks of so many frames can be a file's of `n_samples` source samples: the grid's, or more where they overlap."""
    needed = signal.block_frames(n_samples)
    if not signal.overlap:
        return np.array_equal(block_frames, needed)
    whole = (block_frames % signal.frame_multiple == 0) & (block_frames <= signal.frames_per_block)
    return bool((whole & (block_frames >= needed)).all())


def gather(signal: Signal, blocks: Iterable[CodedBlock], n_samples: int) -> Encoded:
    """Return blocks that follow one another from the start as one `Encoded`."""
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
