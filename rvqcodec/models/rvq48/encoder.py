"""Encoder: wave to latent, by MDCT, a linear transform (KLT) and band energies, refined by a ConvNeXt branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.layers.convnext import convnext
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies, compand


class Encoder(nn.Module):
    """A linear path (KLT of companded MDCT coefficients, and band energies) plus a ConvNeXt branch."""

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.config = config
        kernel, expansion = config.kernel_size, config.expansion
        fine, coarse = config.encoder_fine_width, config.encoder_coarse_width
        self.mdct = MDCT(config.mdct_size)
        self.energies = BandEnergies(config.band_edges, config.merge)
        self.linear = nn.Linear(config.merge * config.mdct_size, config.waveform_dim, bias=False)
        self.coefficients_in = nn.Linear(config.mdct_size, fine)
        self.energies_in = nn.Linear(config.n_bands, config.merge * fine, bias=False)
        self.fine = convnext(config.encoder_fine_blocks, fine, kernel, expansion)
        self.merge = nn.Linear(config.merge * fine, coarse)
        self.coarse = convnext(config.encoder_coarse_blocks, coarse, kernel, expansion)
        self.norm = nn.LayerNorm(coarse)
        self.head = nn.Linear(coarse, config.latent_dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the latent [batch, frames, latent_dim] of waves [batch, frames * hop_length] levelled to `level_dbfs`."""
        coefficients = self.mdct(wave)
        companded = compand(coefficients)
        energies = self.energies(coefficients) - self.energies.mean
        waveform = self.linear(companded.unflatten(1, (-1, self.config.merge)).flatten(2))
        path = torch.cat([waveform, self.energies.scale * energies], -1)
        return path + self.branch(companded, energies)

    def branch(self, companded: Tensor, energies: Tensor) -> Tensor:
        """Return the output of the ConvNeXt branch, added to the linear path, [batch, frames, latent_dim]."""
        spread = self.energies_in(energies).unflatten(-1, (self.config.merge, -1)).flatten(1, 2)
        x = self.fine(self.coefficients_in(companded) + spread)
        x = self.merge(x.unflatten(1, (-1, self.config.merge)).flatten(2))
        branch: Tensor = self.head(self.norm(self.coarse(x)))
        return branch
