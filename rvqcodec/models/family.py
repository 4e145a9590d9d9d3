"""The promise of a model family: plain data about its codes, and what a model of it does with batches of windows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rvqcodec.encoded import LEVELS, MAX_FRAMES_PER_BLOCK, MAX_LAYERS, MAX_SAMPLE_RATE, LayerGroup, Signal
from rvqcodec.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    from torch import Tensor

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
            "levels of stereo streams aren't measured": self.levels != "rms" or self.channels_per_stream == 1,
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

    @property
    def stateful(self) -> bool:
        """Whether a stream is coded in one go, with state from window to window."""
        return self.encoder_context is None

    def needed_blocks(self, first: int, stop: int) -> tuple[int, int]:
        """Return the first block and the one after the last that it takes to decode the blocks `first` to `stop` - 1."""
        size = self.window_blocks
        if self.decoder_context is None:
            return 0, -(-stop // size) * size
        left, right = (-(-n // self.frames_per_block) for n in self.decoder_context)
        return max(0, first // size * size - left), -(-stop // size) * size + right

    def layers_for_bitrate(self, kbps: float, channels: int) -> int:
        """Return how many layers give the nominal bitrate nearest to `kbps`, all channels together."""
        rates = [
            self.signal("", "", self.sample_rate, channels, n).nominal_bitrate for n in range(1, self.n_layers + 1)
        ]
        return 1 + min(range(len(rates)), key=lambda index: abs(rates[index] - 1000 * kbps))

    def signal(
        self, model: str, fingerprint: str, sample_rate: int, channels: int, n_layers: int, sample_format: int = 0
    ) -> Signal:
        """Return the description of audio coded by a model with these traits.

        Args:
            model: The model's name.
            fingerprint: What its codes mean.
            sample_rate: Of the source, Hz.
            channels: Of the source.
            n_layers: Layers coded.
            sample_format: Of the source, as in an .rvq header; 0 is unknown.

        Raises:
            ValueError: `n_layers` is out of range.
        """
        if not 1 <= n_layers <= self.n_layers:
            raise ArgumentError(f"the model {model} has 1 to {self.n_layers} layers", {"n_layers": n_layers})
        whole = Signal(
            model=model,
            fingerprint=fingerprint,
            sample_rate=sample_rate,
            channels=channels,
            channels_per_stream=self.channels_per_stream,
            sample_format=sample_format,
            rotated=self.levels == "rms" and channels == 2,
            groups=self.groups,
            model_sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_block=self.frames_per_block,
            frame_multiple=self.frame_multiple,
            block_step=self.block_step,
            levels=self.levels,
            scalable=self.scalable,
        )
        return whole.with_layers(n_layers)


Read = TypeVar("Read")


def read_json(kind: type[Read], text: str) -> Read:
    """Return a configuration, a dataclass of integers, floats, texts and tuples of integers, from JSON.

    Raises:
        ModelError: The text isn't a JSON object with exactly known keys of the right types, or breaks a rule.
    """
    types = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise TypeError("not an object")
        unknown = sorted(set(values) - set(types))
        if unknown:
            raise ModelError(f"the model's configuration has an unknown key: {unknown[0]}")
        return kind(**{key: _typed(key, value, types[key]) for key, value in values.items()})
    except (ValueError, TypeError, IndexError, RecursionError, ZeroDivisionError) as error:
        raise ModelError("the model's configuration can't be read") from error


def _typed(key: str, value: object, kind: str) -> object:
    if kind == "int" and type(value) is int:
        return value
    if kind == "float" and type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    if kind.startswith("tuple") and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    raise ModelError(f"the model's configuration has a bad value for {key}")


def fingerprint(geometry: bytes, codebooks: bytes) -> str:
    """Return the name of a model by what its codes mean: 16 hex digits.

    Args:
        geometry: Signal geometry as the family's configuration gives it.
        codebooks: The codebooks as little-endian float32, C order.
    """
    return hashlib.sha256(geometry + codebooks).hexdigest()[:16]


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

    @property
    def traits(self) -> Traits:
        """What engine and format have to know."""
        ...

    @property
    def config(self) -> Config:
        """Its shape."""
        ...

    @property
    def fingerprint(self) -> str:
        """What its codes mean, as 16 hex digits."""
        ...

    def encode(
        self, waves: Tensor, n_layers: int, beam_width: int, context: tuple[int, int] = (0, 0), state: Any = None
    ) -> Tensor:
        """Return the codes, int64 [batch, n_layers, frames], of the frames between the context.

        Args:
            waves: Float32 [batch, channels_per_stream, n_samples]. Where n_samples is no whole number of frames the audio ends there.
            n_layers: Layers to code; codes of fewer are the first of those of more.
            beam_width: Of the quantizer's search; families whose codes a reference decides search greedily.
            context: Frames at the left and right end of the waves that are there as context alone.
            state: What `start` or the call before gave, changed in place; None where windows bring their context.
        """
        ...

    def decode(
        self,
        codes: Tensor,
        n_layers: Tensor,
        active: Tensor,
        frame_index: Tensor,
        context: tuple[int, int] = (0, 0),
        state: Any = None,
    ) -> Tensor:
        """Return the waves, float32 [batch, channels_per_stream, frames * hop_length], of the frames between the context.

        Args:
            codes: Int64 [batch, layers, frames], at the finest rate.
            n_layers: Layers of each frame that count, int64 [batch, frames].
            active: False for frames without codes, which decode to zeros, bool [batch, frames].
            frame_index: Number of each item's first frame in the file and of its stream, int64 [batch]; noise depends on it.
            context: As for `encode`.
            state: As for `encode`.
        """
        ...

    def start(self) -> Any:
        """Return the state at the start of a stream, for families that carry it."""
        ...
