"""Spectral smoothing: in aperiodic frames, magnitudes above 3.75 kHz are replaced by their moving RMS over 1.3 kHz.

Codes hardly determine single coefficients there, and the network outputs similar magnitudes in every frame, heard as "birdies" under the
random signs of noise substitution. Smoothing scales with aperiodicity, so that harmonics keep their shape. Band energies are preserved.

Source: Schulz 1996 (noise substitution: noise-like components are represented by their energy alone).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum, aperiodicity

LOWEST_HZ, WIDTH_HZ = 3_750, 1_275


class SpectralSmoothing(nn.Module):
    """Smooths the magnitudes of noise.

    Attributes:
        strength: By number of vector layers, 0 to 1; 0 when untrained, [n_codebooks + 1].
    """

    strength: Tensor
    kernel: Tensor
    reach = 1

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge = config.merge
        self.first = config.edge_from(LOWEST_HZ)
        self.register_buffer("strength", torch.zeros(config.n_codebooks + 1))
        bins = torch.arange(config.mdct_size)
        near = (bins[:, None] - bins[self.first :]).abs() <= config.bins_below(WIDTH_HZ) // 2
        self.register_buffer("kernel", near / near.sum(0), persistent=False)

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with smoothed noise above 3.75 kHz."""
        coefficients, n_frames = spectrum.coefficients, spectrum.n_layers.shape[1]
        noise = aperiodicity(spectrum.pitch.correlation, n_frames) * self.strength[spectrum.n_layers]
        power = coefficients.square() @ self.kernel
        low, high = coefficients.tensor_split([self.first], -1)
        change = torch.copysign(power.sqrt(), high) - high
        changed = high + change * noise.repeat_interleave(self.merge, 1)[..., None]
        return spectrum.rescaled(torch.cat([low, changed], -1))
