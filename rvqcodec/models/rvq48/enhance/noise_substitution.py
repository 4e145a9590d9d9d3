"""Noise substitution and make-up gain: random signs for coefficients of which only band energies are coded, and a gain on all bands.

Above about 2.6 kHz decoded coefficients correlate with the original by less than 0.1 at any number of layers, and the network outputs
similar coefficients in every frame, which adds spectral lines at multiples of the frame rate, 25 to 35 dB above the noise density. Random
signs turn them into noise of the same magnitudes. The signs are a hash of the absolute position, so that windows and repeated decodes
agree.

Source: Schulz 1996, Herre and Schultz 1998 (perceptual noise substitution).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum, hash_bits


class NoiseSubstitution(nn.Module):
    """Replaces coefficients from `first_bin` on by noise of the same magnitudes and applies a make-up gain.

    Attributes:
        first_bin: First noise coefficient by number of vector layers; mdct_size when untrained, [n_codebooks + 1].
        gain: Make-up gain as log10 of an amplitude, by number of vector layers; 0 when untrained, [n_codebooks + 1].
    """

    first_bin: Tensor
    gain: Tensor
    reach = 0

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge, self.size = config.merge, config.mdct_size
        self.register_buffer("first_bin", torch.full((config.n_codebooks + 1,), float(config.mdct_size)))
        self.register_buffer("gain", torch.zeros(config.n_codebooks + 1))

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with substituted noise and make-up gain."""
        coefficients, n_layers = spectrum.coefficients, spectrum.n_layers
        first = self.first_bin[n_layers].repeat_interleave(self.merge, 1)[..., None]
        flipped = hash_bits(spectrum.frame_index * self.merge, coefficients.shape[1], self.size)
        flipped &= torch.arange(self.size, device=first.device) >= first
        gain = self.gain[n_layers][..., None]
        signed = torch.where(flipped, -coefficients, coefficients)
        return spectrum.rescaled(signed, spectrum.envelope + gain)
