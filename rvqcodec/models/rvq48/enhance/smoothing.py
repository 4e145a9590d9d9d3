"""Spectral smoothing: where decoded sound is noise, a fixed pattern of magnitudes would be heard as stripes and birdies.

Codes tell next to nothing of single coefficients above 4 kHz. There the network answers with much the same magnitudes in each frame, under
random signs. Magnitudes are replaced by their RMS over the 1.3 kHz around them, as far as the wave doesn't repeat itself at a pitch:
harmonics keep their shape. Bands keep their loudness.

Source: Schulz 1996 (noise substitution: noise needs its loudness alone).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum, noise_share

LOWEST_HZ, WIDTH_HZ = 3_750, 1_275


class SpectralSmoothing(nn.Module):
    """Evens noise out.

    Attributes:
        strength: For each number of layers of vectors, 0 when untrained, to 1, [n_codebooks + 1].
    """

    strength: Tensor
    around: Tensor
    reach = 1

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge = config.merge
        self.first = config.edge_from(LOWEST_HZ)
        self.register_buffer("strength", torch.zeros(config.n_codebooks + 1))
        bins = torch.arange(config.mdct_size)
        near = (bins[:, None] - bins[self.first :]).abs() <= config.bins_below(WIDTH_HZ) // 2
        self.register_buffer("around", near / near.sum(0), persistent=False)

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with even noise above 3.75 kHz."""
        coefficients, n_frames = spectrum.coefficients, spectrum.n_layers.shape[1]
        noise = noise_share(spectrum.pitch.correlation, n_frames) * self.strength[spectrum.n_layers]
        even = coefficients.square() @ self.around
        low, high = coefficients.tensor_split([self.first], -1)
        change = torch.copysign(even.sqrt(), high) - high
        changed = high + change * noise.repeat_interleave(self.merge, 1)[..., None]
        return spectrum.rescaled(torch.cat([low, changed], -1))
