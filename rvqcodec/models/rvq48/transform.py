"""Fixed transforms: MDCT, power-law companding and band energies.

Source: Princen and Bradley 1986, Malvar 1990 (MDCT with a sine window); Valin et al. 2012 (band energies coded apart, as in Opus CELT).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

COMPAND_FLOOR = 1e-4
ENERGY_FLOOR = 1e-9


class MDCT(nn.Module):
    """Modified discrete cosine transform with a sine window, as two products with fixed matrices.

    Frame t covers samples N t - N/2 to N t + 3N/2; the input is padded with N/2 zeros on both sides.
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
    """Return companded coefficients of any shape: x / sqrt(|x| + 1e-4), the signed square root, smooth around zero."""
    return coefficients * torch.rsqrt(coefficients.abs() + COMPAND_FLOOR)


def expand(companded: Tensor) -> Tensor:
    """Return expanded coefficients, the inverse of `compand` up to its smoothing around zero."""
    return companded * (companded.abs() + COMPAND_FLOOR)


class BandEnergies(nn.Module):
    """Spectral envelope: log10 of the RMS of each band over the transform frames of a latent frame.

    Attributes:
        mean: Subtracted from the envelope in the latent, [bands].
        scale: Of the envelope in the latent, [].
        widths: Coefficients per band, [bands].
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
        """Return coefficients [batch, frames * merge, size] rescaled to the log band energies `envelope` [batch, frames, bands].

        Gains are limited to 10^-3 .. 10^1.5, which bounds the amplification of noise.
        """
        gain = torch.pow(10.0, (envelope - self(coefficients)).clamp(-3.0, 1.5)) @ self.spread
        return (coefficients.unflatten(1, (-1, self.merge)) * gain[:, :, None]).flatten(1, 2)
