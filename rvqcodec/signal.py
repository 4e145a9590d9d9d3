"""Description of a coded signal: its layers, rates and channels, and the grid of blocks and frames; no torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

MAX_CHANNELS = 8
MAX_LAYERS = 64
MAX_CODEBOOK_SIZE = 1 << 16
MAX_FRAMES_PER_BLOCK = 8192
MAX_FRAME_MULTIPLE = 255
MAX_SAMPLE_RATE = 768_000
KINDS = ("vector", "sinusoid")
LEVELS = ("none", "rms", "factor")


def violated(rules: Mapping[str, bool]) -> str:
    """Return the first rule that doesn't hold, or an empty text."""
    return next((rule for rule, holds in rules.items() if not holds), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerGroup:
    """Consecutive layers of one kind.

    Args:
        n_layers: Number of layers, 1 to 64.
        codebook_size: Of each layer, 2 to 65,536.
        stride: Frames per code, 1 to 255.
        kind: "vector" (codebook entries) or "sinusoid" (frequencies of parametric sinusoids).

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
            raise ValueError(f"invalid group of layers: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Description of coded audio and of its codec, as in the header of an .rvq file.

    The number of samples isn't part of it, since a stream carries that at its end.

    Args:
        model: Name of the model.
        fingerprint: Identifies the meaning of codes: 16 hex digits.
        sample_rate: Of the source, 1 to 768,000 Hz.
        channels: Of the source, 1 to 8.
        sample_format: Of the source, as in an .rvq header; 0: unknown.
        rotated: Whether the two streams are a rotated stereo pair.
        groups: The layers, coarsest first; adjacent groups differ, and each stride divides that of the preceding group.
        model_sample_rate: 1 to 768,000 Hz.
        hop_length: Model samples per frame.
        frames_per_block: Frames per block, a multiple of `frame_multiple`.
        frame_multiple: The number of frames of a file is a multiple of it, and it is a multiple of every stride.
        block_step: Model samples from one block to the next: `frames_per_block` x `hop_length`, or down to half of that if blocks
            overlap; 0 means the former.
        channels_per_stream: 1 or 2; an odd channel is duplicated to fill its pair.
        levels: "none", "rms" (streams are levelled, silence has no codes) or "factor" (one factor per block).
        scalable: Whether the code is embedded (bitrate-scalable).

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
        rules = {
            "sample rates are 1 to 768,000 Hz": all(1 <= rate <= MAX_SAMPLE_RATE for rate in rates),
            "there are 1 to 8 channels": 1 <= self.channels <= MAX_CHANNELS,
            "a stream has 1 or 2 channels": self.channels_per_stream in (1, 2),
            "levels are of a known kind": self.levels in LEVELS,
            "only two levelled streams of one channel can be rotated": not self.rotated
            or (self.channels, self.channels_per_stream, self.levels) == (2, 1, "rms"),
            f"layers: {broken}": not broken,
            "a hop has 1 to 65,535 samples": 1 <= self.hop_length < 1 << 16,
            "a block has 1 to 8192 frames": 1 <= self.frames_per_block <= MAX_FRAMES_PER_BLOCK,
            "a block's frames are a multiple of the frame multiple": 1 <= self.frame_multiple <= MAX_FRAME_MULTIPLE
            and self.frames_per_block % self.frame_multiple == 0,
            "every stride divides the frame multiple": bool(broken)
            or all(self.frame_multiple % group.stride == 0 for group in self.groups),
            "blocks overlap by at most half": block <= 2 * self.block_step <= 2 * block,
            "frames and block steps are at least one source sample long": self.sample_rate
            * min(self.hop_length, self.block_step)
            >= self.model_sample_rate,
        }
        if rule := violated(rules):
            raise ValueError(f"the signal is invalid; required: {rule}")

    @property
    def n_layers(self) -> int:
        """Total number of layers."""
        return sum(group.n_layers for group in self.groups)

    @property
    def n_streams(self) -> int:
        """Number of streams: channels, pairs of channels, or the two of a rotated stereo pair."""
        return -(-self.channels // self.channels_per_stream)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codebook size of each layer."""
        return tuple(group.codebook_size for group in self.groups for _ in range(group.n_layers))

    @property
    def strides(self) -> tuple[int, ...]:
        """Frames per code of each layer."""
        return tuple(group.stride for group in self.groups for _ in range(group.n_layers))

    @property
    def overlap(self) -> int:
        """Model samples by which adjacent blocks overlap."""
        return self.frames_per_block * self.hop_length - self.block_step

    @property
    def block_s(self) -> float:
        """Seconds from one block to the next."""
        return self.block_step / self.model_sample_rate

    @property
    def nominal_bitrate(self) -> int:
        """Bits per second over all streams, without entropy coding and overlap (SPEC.md, section 3)."""
        coarsest = self.groups[0].stride
        bits = sum(
            group.n_layers * (group.codebook_size - 1).bit_length() * (coarsest // group.stride)
            for group in self.groups
        )
        return self.n_streams * self.model_sample_rate * bits // (self.hop_length * coarsest)

    def with_layers(self, n_layers: int) -> Signal:
        """Return the signal with its first `n_layers` layers.

        Raises:
            ValueError: There are fewer, or `n_layers` is less than 1.
        """
        if not 1 <= n_layers <= self.n_layers:
            raise ValueError(f"{n_layers} layers: expected 1 to {self.n_layers}")
        groups, left = [], n_layers
        for group in self.groups:
            if left > 0:
                groups.append(replace(group, n_layers=min(left, group.n_layers)))
            left -= group.n_layers
        return replace(self, groups=tuple(groups))

    def block_start(self, block: int) -> int:
        """Return the index of a block's first source sample.

        Rounded down, so that `blocks_until` is its inverse where a block isn't a whole number of source samples.
        """
        return block * self.block_step * self.sample_rate // self.model_sample_rate

    def scaled(self, n_samples: int, sample_rate: int) -> int:
        """Return the number of samples at another rate, rounded up, of `n_samples` source samples."""
        return -(-n_samples * sample_rate // self.sample_rate)

    def blocks_until(self, n_samples: int) -> int:
        """Return the number of blocks that cover `n_samples` source samples."""
        return -(-self.scaled(n_samples, self.model_sample_rate) // self.block_step)

    def frames_of_block(self, block: int, n_samples: int) -> int:
        """Return the number of frames of a block in a file of `n_samples` source samples, the block not beyond its end."""
        left = self.scaled(n_samples, self.model_sample_rate) - block * self.block_step
        return min(self.frames_per_block, self.frame_multiple * -(-left // (self.hop_length * self.frame_multiple)))

    def block_frames(self, n_samples: int) -> npt.NDArray[np.uint16]:
        """Return the frames of each block of a file of `n_samples` source samples, uint16 [blocks]; only the last two may be short."""
        n_blocks = self.blocks_until(n_samples)
        frames = np.full(n_blocks, self.frames_per_block, np.uint16)
        for block in range(max(0, n_blocks - 2), n_blocks):
            frames[block] = self.frames_of_block(block, n_samples)
        return frames

    def frames_until(self, n_samples: int) -> int:
        """Return the total number of frames of a file of `n_samples` source samples."""
        n_blocks = self.blocks_until(n_samples)
        last = range(max(0, n_blocks - 2), n_blocks)
        return last.start * self.frames_per_block + sum(self.frames_of_block(block, n_samples) for block in last)


def check_groups(groups: tuple[LayerGroup, ...]) -> str:
    """Return the rule that groups of layers violate, or an empty text."""
    pairs = list(itertools.pairwise(groups))
    if not 1 <= sum(group.n_layers for group in groups) <= MAX_LAYERS:
        return f"there are 1 to {MAX_LAYERS}"
    if any(replace(one, n_layers=1) == replace(other, n_layers=1) for one, other in pairs):
        return "adjacent groups differ"
    if any(one.stride % other.stride for one, other in pairs):
        return "each stride divides the one before"
    return ""
