"""Magnitude compression: low MDCT coefficients are raised to a power below 1, then rescaled to their band energies.

The network estimates companded coefficients (square roots of magnitudes), and expanding them squares their errors too, so decoded
magnitudes have too large a variance. Compression reduces the error by 0.3 dB with 6 and 12 layers and by 0.4 dB with 24; PESQ-WB gains 0.08
to 0.15.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum

LOW_HZ = 2625
FLOOR = 1e-5


class MagnitudeCompression(nn.Module):
    """Compresses magnitudes below 2.6 kHz.

    Attributes:
        exponent: By number of vector layers, 0 to 1; 1 when untrained, [n_codebooks + 1].
    """

    exponent: Tensor
    reach = 0

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge = config.merge
        self.n_low = config.bins_below(LOW_HZ)
        self.register_buffer("exponent", torch.ones(config.n_codebooks + 1))

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with compressed magnitudes below 2.6 kHz."""
        flat = self.compressed(spectrum.coefficients, self.exponent[spectrum.n_layers])
        return spectrum.rescaled(flat)

    def compressed(self, coefficients: Tensor, exponent: Tensor) -> Tensor:
        """Return coefficients [batch, frames * merge, size] with low magnitudes raised to `exponent` [batch, frames], before rescaling."""
        low, high = coefficients.tensor_split([self.n_low], -1)
        power = exponent.repeat_interleave(self.merge, 1)[..., None] - 1
        return torch.cat([low * (low.abs() + FLOOR) ** power, high], -1)
