"""Where a decoded sound is noise, its spectrum gets an even texture: a fixed pattern of magnitudes would be heard as stripes and birdies.

Codes tell next to nothing of single coefficients above 4 kHz. There the network answers with much the same magnitudes in each frame, under
random signs (`finish`). Magnitudes are replaced by their RMS over the 1.3 kHz around them, as far as the wave doesn't repeat itself at a
pitch (`pitch`): harmonics keep their shape. Bands keep their loudness. No bit says anything of it.

Source: Schulz 1996 (noise substitution: noise needs its loudness alone).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import CodecConfig

LOWEST_HZ, WIDTH_HZ = 3_750, 1_275
NOISE, VOICED = 0.4, 0.7
"""Correlations of neighbouring periods up to which a frame counts as noise, and from which on as voiced."""


class NoiseTexture(nn.Module):
    """Evens the noise of a calibrated model out, as strongly as its number of layers needs."""

    strength: Tensor
    around: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        strengths = torch.tensor((0, *config.noise_evenness)) / 100
        self.register_buffer("strength", strengths if config.noise_evenness else torch.empty(0), persistent=False)
        self.merge = config.merge
        self.first = config.edge_from(LOWEST_HZ)
        bins = torch.arange(config.mdct_size)
        near = (bins[:, None] - bins[self.first :]).abs() <= round(
            2 * config.mdct_size * WIDTH_HZ / config.sample_rate
        ) // 2
        self.register_buffer("around", near / near.sum(0), persistent=False)

    @property
    def calibrated(self) -> bool:
        """Whether there is a strength for each number of layers."""
        return len(self.strength) > 0

    def forward(self, coefficients: Tensor, correlation: Tensor, n_layers: Tensor) -> Tensor:
        """Return coefficients of the same shape; their bands are yet to be brought to their loudness.

        Args:
            coefficients: [batch, frames * merge, mdct_size], their bands at their loudness.
            correlation: Of neighbouring periods, [batch, pieces] of any number a frame (`pitch`).
            n_layers: int64 [batch, frames].
        """
        noise = noise_share(correlation, n_layers.shape[1]) * self.strength[n_layers]
        even = coefficients.square() @ self.around
        low, high = coefficients.tensor_split([self.first], -1)
        change = torch.copysign(even.sqrt(), high) - high
        changed = high + change * noise.repeat_interleave(self.merge, 1)[..., None]
        return torch.cat([low, changed], -1)


def noise_share(correlation: Tensor, n_frames: int) -> Tensor:
    """Return how far frames are noise, 0 to 1, [batch, n_frames], of correlations of neighbouring periods [batch, pieces] (`pitch`)."""
    frames = correlation.unflatten(1, (n_frames, -1)).mean(-1)
    return ((VOICED - frames) / (VOICED - NOISE)).clamp(0.0, 1.0)
