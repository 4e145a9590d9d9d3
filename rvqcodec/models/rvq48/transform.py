"""The signal path without learnt parts: MDCT, companding and band energies."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

COMPAND_FLOOR = 1e-4
ENERGY_FLOOR = 1e-9


class MDCT(nn.Module):
    """Modified discrete cosine transform with a sine window, as two products with fixed matrices.

    Frame t covers samples N t - N/2 to N t + 3N/2; N/2 zeros are taken on both sides of the input.
    The first and last N/2 samples are therefore not reconstructed.

    Source: Princen and Bradley 1986; Malvar 1990 (sine window).
    """

    first: Tensor
    second: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        n = torch.arange(2 * size, dtype=torch.float64)
        k = torch.arange(size, dtype=torch.float64)[:, None]
        window = torch.sin(math.pi * (n + 0.5) / (2 * size))
        basis = math.sqrt(2 / size) * window * torch.cos(math.pi / size * (n + 0.5 + size / 2) * (k + 0.5))
        self.register_buffer("first", basis[:, :size].float().contiguous(), persistent=False)
        self.register_buffer("second", basis[:, size:].float().contiguous(), persistent=False)

    def forward(self, wave: Tensor, n_bins: int | None = None) -> Tensor:
        """Return the first `n_bins` coefficients, or all, [batch, frames, n_bins], of `wave` [batch, frames * size]."""
        hops = nn.functional.pad(wave, (self.size // 2, self.size // 2)).unflatten(-1, (-1, self.size))
        return hops[:, :-1] @ self.first[:n_bins].T + hops[:, 1:] @ self.second[:n_bins].T

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Return the wave [batch, frames * size] of `coefficients` [batch, frames, size]."""
        early = nn.functional.pad(coefficients @ self.first, (0, 0, 0, 1))
        late = nn.functional.pad(coefficients @ self.second, (0, 0, 1, 0))
        half = self.size // 2
        return (early + late).flatten(1)[:, half:-half]


def compand(coefficients: Tensor) -> Tensor:
    """Return coefficients with their magnitudes' square roots, smooth around zero."""
    return coefficients * torch.rsqrt(coefficients.abs() + COMPAND_FLOOR)


def expand(companded: Tensor) -> Tensor:
    """Invert `compand` (up to the smoothing around zero)."""
    return companded * (companded.abs() + COMPAND_FLOOR)


class BandEnergies(nn.Module):
    """Spectral envelope: log10 of the RMS per band over the transform frames of a latent frame.

    `mean` [bands] and `scale` [] bring the envelope to the latent's zero mean and variance.
    """

    mean: Tensor
    scale: Tensor
    average: Tensor
    spread: Tensor
    widths: Tensor

    def __init__(self, edges: tuple[int, ...], merge: int) -> None:
        super().__init__()
        self.merge = merge
        widths = torch.tensor([high - low for low, high in pairwise(edges)])
        member = torch.repeat_interleave(torch.eye(len(widths)), widths, dim=1)
        self.register_buffer("mean", torch.zeros(len(widths)))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("average", (member / (widths[:, None] * merge)).T.contiguous(), persistent=False)
        self.register_buffer("spread", member, persistent=False)
        self.register_buffer("widths", widths.float(), persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return log energies [batch, frames, bands] of `coefficients` [batch, frames * merge, size]."""
        return 0.5 * torch.log10(self.power(coefficients) + ENERGY_FLOOR)

    def power(self, coefficients: Tensor) -> Tensor:
        """Return the mean square of each band's coefficients, [batch, frames, bands]."""
        return coefficients.square().unflatten(1, (-1, self.merge)).sum(2) @ self.average

    def rescale(self, coefficients: Tensor, envelope: Tensor) -> Tensor:
        """Give each band of each latent frame of `coefficients` the log energy `envelope` [batch, frames, bands].

        The gain is limited to 10^-3 .. 10^1.5, so that noise is never blown up without bounds.
        """
        gain = torch.pow(10.0, (envelope - self(coefficients)).clamp(-3.0, 1.5)) @ self.spread
        return (coefficients.unflatten(1, (-1, self.merge)) * gain[:, :, None]).flatten(1, 2)
