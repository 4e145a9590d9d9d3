"""Configuration of a SoundStream model; no torch."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

from rvqcodec.errors import ModelError
from rvqcodec.models.family import MAX_WINDOW_BLOCKS, Traits, read_json
from rvqcodec.signal import MAX_CODEBOOK_SIZE, MAX_LAYERS, MAX_SAMPLE_RATE, LayerGroup, violated

MAX_WEIGHTS = 1 << 26
MAX_ACTIVATIONS = 1 << 24
"""Limit on the activations of one layer for a window, and on the distances that the quantizer computes."""
MAX_STAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStreamConfig:
    """Sizes of the encoder; the decoder mirrors it.

    The encoder downsamples by `strides` in as many strided convolutions of `kernels`, the first from the wave to `widths[0]` channels.
    After each but the last, stage i has one residual unit per dilation at `widths[i]` channels, with `groups[i]` groups in the units'
    last layer and in the following strided convolution. The convolution to the latent has the last number of groups again.

    Args:
        sample_rate: In Hz.
        strides, kernels: Of the strided convolutions, from the wave on.
        widths: Channels after each of them.
        groups: Of each stage: one fewer than widths.
        dilations: Of a stage's units.
        kernel_size: Of the depthwise convolutions and of those next to the latent.
        negative_slope: Of the leaky ReLUs.
        latent_dim: Dimensions of the latent.
        n_layers, codebook_size: Of the quantizer.
        default_layers: Layers coded by default.
        window_blocks: Seconds per window, the unit of inference.

    Raises:
        ModelError: The sizes contradict each other or are out of range.
    """

    sample_rate: int
    strides: tuple[int, ...]
    kernels: tuple[int, ...]
    widths: tuple[int, ...]
    groups: tuple[int, ...]
    dilations: tuple[int, ...]
    kernel_size: int
    negative_slope: float
    latent_dim: int
    n_layers: int
    codebook_size: int
    default_layers: int
    window_blocks: int

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in dataclasses.fields(self) if field.type != "float"]
        sizes = [size for value in values for size in (value if isinstance(value, tuple) else (value,))]
        self._check(
            {
                "sizes are positive": all(type(size) is int and size > 0 for size in sizes),
                "there are 1 to 8 stages and units": all(
                    1 <= len(value) <= MAX_STAGES for value in values if isinstance(value, tuple)
                ),
                "there are as many strides, kernels and widths, and one group fewer": len(self.strides)
                == len(self.kernels)
                == len(self.widths)
                == len(self.groups) + 1,
                "the slope is 0 to 1": 0 <= self.negative_slope < 1,
            }
        )
        self._check(
            {
                "the sample rate is at most 768,000 Hz": self.sample_rate <= MAX_SAMPLE_RATE,
                "there are at most 64 layers": self.n_layers <= MAX_LAYERS,
                "a codebook has 2 to 65,536 entries": 2 <= self.codebook_size <= MAX_CODEBOOK_SIZE,
                "a window has at most 64 blocks": self.window_blocks <= MAX_WINDOW_BLOCKS,
                "a second holds whole frames": self.sample_rate % self.hop_length == 0,
                "kernels are multiples of their strides": all(
                    kernel % stride == 0 for kernel, stride in zip(self.kernels, self.strides, strict=True)
                ),
                "groups divide the channels that they group": all(
                    narrow % groups == wide % groups == 0
                    for narrow, wide, groups in zip(self.widths[:-1], self.widths[1:], self.groups, strict=True)
                )
                and self.latent_dim % self.groups[-1] == 0,
                "the weights are within limits": self._n_weights() <= MAX_WEIGHTS,
                "a window's activations are within limits": self._n_activations() <= MAX_ACTIVATIONS,
            }
        )
        self.traits()

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.strides)

    @property
    def context(self) -> tuple[int, int]:
        """Receptive field to the left and right, in frames, of the encoder and of the decoder, which mirrors it."""
        steps = tuple(accumulate(self.strides, mul))  # samples per step after each strided convolution
        unit = (self.kernel_size - 1) * sum(self.dilations)
        strided = sum((k - s) * step // s for k, s, step in zip(self.kernels, self.strides, steps, strict=True))
        samples = strided + sum(unit * step for step in steps[:-1]) + (self.kernel_size - 1) * steps[-1]
        return -(-samples // self.hop_length), 0

    def traits(self) -> Traits:
        """Return the properties that engine and format need."""
        return Traits(
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_block=self.sample_rate // self.hop_length,
            block_step=self.sample_rate,
            window_blocks=self.window_blocks,
            groups=(LayerGroup(n_layers=self.n_layers, codebook_size=self.codebook_size),),
            default_layers=self.default_layers,
            encoder_context=self.context,
            decoder_context=self.context,
        )

    def geometry(self) -> bytes:
        """Return the signal geometry as bytes: what the meaning of codes depends on besides the codebooks, for the fingerprint."""
        names = ("sample_rate", "hop_length", "latent_dim", "n_layers", "codebook_size")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        return json.dumps(found | {"family": "soundstream"}, sort_keys=True).encode()

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SoundStreamConfig:
        """Parse a configuration.

        Raises:
            ModelError: The text isn't a JSON object of the known keys and valid values.
        """
        return read_json(cls, text)

    def _check(self, rules: dict[str, bool]) -> None:
        if rule := violated(rules):
            raise ModelError(f"the model's configuration is invalid; required: {rule}")

    def _n_weights(self) -> int:
        """Return the number of parameters."""
        stages = zip(self.widths[:-1], self.groups, strict=True)
        unit = [width * (width + width // groups + self.kernel_size + 2) for width, groups in stages]
        pairs = zip(self.widths[:-1], self.widths[1:], self.groups, self.kernels[1:], strict=True)
        strided = sum(narrow * wide // groups * kernel for narrow, wide, groups, kernel in pairs)
        ends = (
            self.widths[0] * self.kernels[0] + self.widths[-1] * self.latent_dim // self.groups[-1] * self.kernel_size
        )
        biases = 2 * sum(self.widths) + self.latent_dim + 1
        codebooks = self.n_layers * self.codebook_size * self.latent_dim
        return 2 * (len(self.dilations) * sum(unit) + strided + ends) + biases + codebooks

    def _n_activations(self) -> int:
        """Return the largest number of activations of a layer for a window and its context."""
        seconds = self.window_blocks + -(-self.context[0] * self.hop_length // self.sample_rate)
        steps = accumulate(self.strides, mul)
        widest = max(width * self.sample_rate // step for width, step in zip(self.widths, steps, strict=True))
        frame = max(self.latent_dim, self.codebook_size)
        return seconds * max(widest, self.sample_rate // self.hop_length * frame)
