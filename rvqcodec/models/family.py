"""Interface of a model family: `Traits`, plain data about its codes, and `Family`, inference on batches of windows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rvqcodec.errors import ArgumentError, ModelError
from rvqcodec.signal import LEVELS, MAX_FRAMES_PER_BLOCK, MAX_LAYERS, MAX_SAMPLE_RATE, LayerGroup, Signal, violated

if TYPE_CHECKING:
    from torch import Tensor

EDGES = ("network", "symmetric")
MAX_WINDOW_BLOCKS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Properties of a model that engine and format need; no torch.

    Args:
        sample_rate: In Hz.
        hop_length: Samples per frame.
        frames_per_block: Frames per block, the unit of levels, angles and silence: about a second.
        frame_multiple: The number of frames of a file is a multiple of it.
        block_step: Samples from one block to the next; frames_per_block x hop_length unless blocks overlap.
        window_blocks: Blocks per window, the unit of inference.
        groups: The layers, coarsest first.
        default_layers: Layers coded by default.
        channels_per_stream: 1, or 2 if the network codes stereo.
        levels: "none", "rms" (streams are levelled, silence has no codes) or "factor" (one factor per block).
        level_dbfs: RMS level of the encoder's input; None unless `levels` is "rms".
        encoder_context, decoder_context: Receptive field to the left and right, in frames; None for stateful families.
        edges: Extension beyond the ends of a file: "network" (its own padding) or "symmetric" (half-sample symmetric extension).
        scalable: Whether the codes are an embedded (bitrate-scalable) code, so that the first layers alone are a valid, coarser one.

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
        rules = {
            "the sample rate is 1 to 768,000 Hz": 1 <= self.sample_rate <= MAX_SAMPLE_RATE,
            "frames and blocks aren't empty": self.hop_length >= 1
            and 1 <= self.frames_per_block <= MAX_FRAMES_PER_BLOCK,
            "strides divide the frame multiple, and that the block": self.frame_multiple >= 1
            and self.frames_per_block % self.frame_multiple == 0
            and all(self.frame_multiple % group.stride == 0 for group in self.groups),
            "the block step is at most a block": 1 <= self.block_step <= block,
            "a window has 1 to 64 blocks": 1 <= self.window_blocks <= MAX_WINDOW_BLOCKS,
            "there are 1 to 64 layers": 1 <= self.n_layers <= MAX_LAYERS,
            "the default is 1 to all layers": 1 <= self.default_layers <= self.n_layers,
            "a stream has 1 or 2 channels": self.channels_per_stream in (1, 2),
            "only streams of one channel are levelled": self.levels != "rms" or self.channels_per_stream == 1,
            "levels are of a known kind": self.levels in LEVELS
            and (self.levels == "rms") == (self.level_dbfs is not None),
            "contexts are shorter than a window": all(
                0 <= n <= self.window_blocks * self.frames_per_block for n in contexts
            ),
            "edges are of a known kind": self.edges in EDGES,
        }
        if rule := violated(rules):
            raise ModelError(f"the model's traits are invalid; required: {rule}")

    @property
    def n_layers(self) -> int:
        """Number of layers."""
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
        """Whether the model carries state from window to window."""
        return self.encoder_context is None

    def needed_blocks(self, first: int, stop: int) -> tuple[int, int]:
        """Return the range of blocks, first and stop, that decoding the blocks `first` to `stop` - 1 depends on."""
        size = self.window_blocks
        if self.decoder_context is None:
            return 0, -(-stop // size) * size
        left, right = (-(-n // self.frames_per_block) for n in self.decoder_context)
        return max(0, first // size * size - left), -(-stop // size) * size + right

    def layers_for_bitrate(self, kbps: float, channels: int) -> int:
        """Return the number of layers whose nominal bitrate, over all channels, is closest to `kbps`."""
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
            fingerprint: Of the model.
            sample_rate: Of the source, Hz.
            channels: Of the source.
            n_layers: Layers coded.
            sample_format: Of the source, as in an .rvq header; 0: unknown.

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
    """Parse a configuration, a dataclass of integers, floats and tuples of integers, from JSON.

    Args:
        kind: The dataclass.
        text: A JSON object; unknown keys are errors.

    Raises:
        ModelError: The text isn't a JSON object of known keys and valid values.
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
    """Return the fingerprint of a model, which identifies the meaning of its codes: 16 hex digits of a SHA-256.

    Args:
        geometry: Signal geometry of the configuration.
        codebooks: Little-endian float32, C order.
    """
    return hashlib.sha256(geometry + codebooks).hexdigest()[:16]


class Config(Protocol):
    """The configuration of a model: its sizes as plain data; no torch."""

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        ...

    def traits(self) -> Traits:
        """Return the properties that engine and format need."""
        ...


class Family(Protocol):
    """A model in evaluation mode. All windows of a batch have one shape."""

    @property
    def traits(self) -> Traits:
        """Properties that engine and format need."""
        ...

    @property
    def config(self) -> Config:
        """Its sizes."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifies the meaning of its codes: 16 hex digits."""
        ...

    def encode(
        self, waves: Tensor, n_layers: int, beam_width: int, context: tuple[int, int] = (0, 0), state: Any = None
    ) -> Tensor:
        """Return the codes, int64 [batch, n_layers, frames], of the frames without the context.

        Args:
            waves: float32 [batch, channels_per_stream, n_samples]. If n_samples isn't a whole number of frames, the audio ends there.
            n_layers: Layers to code, 1 to all; in scalable families the codes are embedded in those of more layers.
            beam_width: Of the quantizer search, at least 1; ignored by families whose reference search is greedy.
            context: Frames of context at the left and right end of the waves.
            state: From `start`, updated in place; None in windowed families.
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
        """Return the waves, float32 [batch, channels_per_stream, frames * hop_length], of the frames without the context.

        Args:
            codes: int64 [batch, layers, frames], at the finest rate.
            n_layers: Layers to decode in each frame, int64 [batch, frames].
            active: False for frames without codes, which decode to zeros, bool [batch, frames].
            frame_index: Absolute index of each item's first frame, offset by stream, int64 [batch]; seeds the noise.
            context: As for `encode`.
            state: As for `encode`.
        """
        ...

    def start(self) -> Any:
        """Return the initial state of a stream; None in windowed families."""
        ...
