"""The promise of a model family: plain data about its codes, and what a model of it does with batches of windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rvqcodec.encoded import MAX_FRAMES_PER_BLOCK, MAX_LAYERS, MAX_SAMPLE_RATE, LayerGroup
from rvqcodec.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

LEVELS = ("none", "rms", "factor")
EDGES = ("network", "symmetric")
MAX_WINDOW_BLOCKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the engine and the format have to know of a model; no torch.

    Args:
        sample_rate: Of the waves, Hz.
        hop_length: Samples per frame.
        frames_per_block: Frames of a block, the unit of levels, angles and silence: about a second.
        frame_multiple: A file's frames are a multiple of it.
        block_step: Samples from one block to the next; frames_per_block x hop_length unless blocks overlap.
        window_blocks: Blocks of a window, the unit of work.
        groups: The layers, coarsest first.
        default_layers: Layers coded unless the user says otherwise.
        channels_per_stream: 1, or 2 where the network codes stereo.
        levels: "none", "rms" (streams are levelled, silence has no codes) or "factor" (a factor a block).
        level_dbfs: RMS that the encoder expects; None unless `levels` is "rms".
        encoder_context, decoder_context: Frames to the left and right that a frame depends on; None where state is carried instead.
        edges: What stands beyond the ends of a file: "network" (its own padding) or "symmetric" (the file, mirrored).
        scalable: Whether the codes of fewer layers are a valid, coarser code.

    Raises:
        ModelError: The traits contradict each other or are out of range.
    """

    sample_rate: int
    hop_length: int
    frames_per_block: int
    frame_multiple: int = 1
    block_step: int
    window_blocks: int
    groups: tuple[LayerGroup, ...]
    default_layers: int
    channels_per_stream: int = 1
    levels: str = "none"
    level_dbfs: float | None = None
    encoder_context: tuple[int, int] | None = None
    decoder_context: tuple[int, int] | None = None
    edges: str = "network"
    scalable: bool = True

    def __post_init__(self) -> None:
        block = self.frames_per_block * self.hop_length
        contexts = [n for context in (self.encoder_context, self.decoder_context) for n in context or ()]
        checks = {
            "the sample rate is possible": 1 <= self.sample_rate <= MAX_SAMPLE_RATE,
            "frames and blocks have a size": self.hop_length >= 1
            and 1 <= self.frames_per_block <= MAX_FRAMES_PER_BLOCK,
            "strides divide the frame multiple, and that the block": self.frame_multiple >= 1
            and self.frames_per_block % self.frame_multiple == 0
            and all(self.frame_multiple % group.stride == 0 for group in self.groups),
            "the block step is at most a block": 1 <= self.block_step <= block,
            "a window has 1 to 64 blocks": 1 <= self.window_blocks <= MAX_WINDOW_BLOCKS,
            "there are 1 to 64 layers": 1 <= self.n_layers <= MAX_LAYERS,
            "the default is a number of layers": 1 <= self.default_layers <= self.n_layers,
            "a stream has 1 or 2 channels": self.channels_per_stream in (1, 2),
            "levels are of a known kind": self.levels in LEVELS
            and (self.levels == "rms") == (self.level_dbfs is not None),
            "contexts are shorter than a window": all(
                0 <= n <= self.window_blocks * self.frames_per_block for n in contexts
            ),
            "edges are of a known kind": self.edges in EDGES,
        }
        broken = [rule for rule, holds in checks.items() if not holds]
        if broken:
            raise ModelError(f"the model's traits break a rule: {broken[0]}")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return sum(group.n_layers for group in self.groups)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def block_size(self) -> int:
        """Samples of a block."""
        return self.frames_per_block * self.hop_length


class Config(Protocol):
    """The configuration of a model: its shape as plain data; no torch."""

    def to_json(self) -> str:
        """Return the configuration as canonical JSON; the family's `from_json` reads it strictly."""
        ...

    def traits(self) -> Traits:
        """Return what engine and format have to know."""
        ...


class Family(Protocol):
    """A model, ready to run; windows of one batch have one shape."""

    traits: Traits
    config: Config
    fingerprint: str

    def encode(self, waves: Tensor, n_layers: int, beam_width: int, state: Any = None) -> Tensor:
        """Return the codes, int64 [batch, n_layers, frames].

        Args:
            waves: Float32 [batch, channels_per_stream, n_samples]. Where n_samples is no whole number of frames the audio ends there.
            n_layers: Layers to code; codes of fewer are the first of those of more.
            beam_width: Of the quantizer's search; families whose codes a reference decides search greedily.
            state: What `start` or the call before gave, changed in place; None where windows bring their context.
        """
        ...

    def decode(self, codes: Tensor, n_layers: Tensor, active: Tensor, frame_index: Tensor, state: Any = None) -> Tensor:
        """Return the waves, float32 [batch, channels_per_stream, frames * hop_length].

        Args:
            codes: Int64 [batch, layers, frames], at the finest rate.
            n_layers: Layers of each frame that count, int64 [batch, frames].
            active: False for frames without codes, which decode to zeros, bool [batch, frames].
            frame_index: Number of each item's first frame in the file and of its stream, int64 [batch]; noise depends on it.
            state: As for `encode`.
        """
        ...

    def start(self) -> Any:
        """Return the state at the start of a stream, for families that carry it."""
        ...

    def to(self, device: torch.device) -> Family:
        """Return the model on a device."""
        ...
