"""Codebook training by exponential moving averages, with layer-wise k-means initialisation and restarts of dead codes.

Source: van den Oord et al. 2017, appendix A.1 (moving averages); Zeghidour et al. 2021 (k-means start, restarts).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rvqcodec.models.layers.quantizer import norms_and_costs
from rvqcodec.training.train.parallel import Group

DEAD_CODE_RATIO = 0.1
RESTARTS_A_LAYER = 32
KMEANS_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Quantized:
    """A batch of quantized latents.

    Args:
        total: Sums of entries, [batch, frames, dim].
        counts: How often each code was chosen, [layers, codebook_size].
        sums: Sums of the vectors assigned to each code, [layers, codebook_size, dim].
        spare: Samples of the input of each layer, [RESTARTS_A_LAYER, dim], for restarts of dead codes.
    """

    total: Tensor
    counts: Tensor
    sums: Tensor
    spare: list[Tensor]


@torch.no_grad()
def quantize(codebooks: Tensor, latent: Tensor, n_layers: Tensor, costs: Tensor | None = None) -> Quantized:
    """Return latents quantized layer by layer, each item with its own number of layers.

    Args:
        codebooks: [layers, codebook_size, dim].
        latent: [batch, frames, dim], float32.
        n_layers: Layers of each item, int64 [batch].
        costs: Rate penalty of entries other than 0, [layers]; 0 when absent.
    """
    costs = torch.zeros(len(codebooks), device=latent.device) if costs is None else costs
    _, frames, dim = latent.shape
    order = torch.argsort(n_layers, descending=True, stable=True)
    residual = latent[order].reshape(-1, dim).clone()
    counts, sums = torch.zeros_like(codebooks[..., 0]), torch.zeros_like(codebooks)
    n_items = (n_layers > torch.arange(len(codebooks), device=latent.device)[:, None]).sum(1).tolist()
    spare = []
    for layer, codebook in enumerate(codebooks):
        n_rows = frames * n_items[layer]
        rows = residual[:n_rows]
        spare.append(rows[:: max(1, n_rows // RESTARTS_A_LAYER)][:RESTARTS_A_LAYER].clone())
        codes = nearest(codebook, rows, costs[layer])
        counts[layer].index_add_(0, codes, torch.ones_like(rows[:, 0]))
        sums[layer].index_add_(0, codes, rows)
        rows -= codebook[codes]
    left = torch.empty_like(latent)
    left[order] = residual.view(latent.shape)
    return Quantized(latent - left, counts, sums, spare)


def nearest(codebook: Tensor, rows: Tensor, cost: Tensor | None = None) -> Tensor:
    """Return the index of the nearest entry of a codebook [entries, dim], all but entry 0 penalised by `cost`, for each row [rows, dim]."""
    norms = codebook.square().sum(-1) if cost is None else norms_and_costs(codebook, cost)
    return torch.addmm(norms, rows, codebook.T, alpha=-2.0).argmin(-1)


class CodebookAverages:
    """Moving averages of counts and sums, whose ratios are the codebooks.

    Args:
        codebooks: [layers, codebook_size, dim]; updated in place.
        counts: Initial counts, [layers, codebook_size]; uniform when absent.
        zero_first: Whether entry 0 of each codebook is fixed to the zero vector.
    """

    def __init__(self, codebooks: Tensor, counts: Tensor | None = None, *, zero_first: bool = False) -> None:
        self.codebooks, self.zero_first = codebooks, zero_first
        self.counts = torch.ones_like(codebooks[..., 0]) if counts is None else counts.to(codebooks.device)
        self.sums = codebooks * self.counts[..., None]

    @torch.no_grad()
    def update(self, quantized: Quantized, decay: float, group: Group) -> None:
        """Update the codebooks with the assignments of a batch."""
        group.sum_all([quantized.counts, quantized.sums])
        self.counts.lerp_(quantized.counts, 1 - decay)
        self.sums.lerp_(quantized.sums, 1 - decay)
        chosen = self.counts > 1e-3
        self.codebooks.copy_(torch.where(chosen[..., None], self.sums / self.counts[..., None], self.codebooks))
        if self.zero_first:
            self.codebooks[:, 0] = 0.0

    @torch.no_grad()
    def restart(self, quantized: Quantized, group: Group) -> int:
        """Reset dead codes, used less than a tenth of the average, to samples of the input; return their number."""
        n_restarted = 0
        for layer, spare in enumerate(quantized.spare):
            average = float(self.counts[layer].mean())
            dead = (self.counts[layer] < DEAD_CODE_RATIO * average).nonzero()[:, 0]
            dead = dead[dead >= int(self.zero_first)][: len(spare)]
            entries = spare[: len(dead)]
            self.codebooks[layer, dead] = entries
            self.counts[layer, dead] = average
            self.sums[layer, dead] = entries * average
            n_restarted += len(dead)
        group.copy_first([self.codebooks, self.counts, self.sums])
        return n_restarted

    def perplexity(self) -> list[float]:
        """Return the perplexity of each layer's codes, 1 to codebook_size."""
        shares = self.counts / self.counts.sum(-1, keepdim=True)
        entropy = -(shares * torch.log(shares.clamp(min=1e-12))).sum(-1)
        return [float(value) for value in entropy.exp()]

    def state_dict(self) -> dict[str, Tensor]:
        """Return counts and sums."""
        return {"counts": self.counts, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load counts and sums; the codebooks are part of the model."""
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])


@torch.no_grad()
def kmeans_start(codebooks: Tensor, latents: Tensor, seed: int) -> Tensor:
    """Initialise the codebooks layer by layer with k-means on the residuals; return the final counts.

    Args:
        codebooks: [layers, codebook_size, dim], filled in place.
        latents: [rows, dim]; 30,000 rows or more for 1024 entries.
        seed: For the choice of initial entries.

    Returns:
        Rows assigned to each entry, [layers, codebook_size].
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    residual = latents.clone()
    counts = torch.zeros_like(codebooks[..., 0])
    for layer, codebook in enumerate(codebooks):
        for _ in range(KMEANS_ROUNDS):
            if not counts[layer].any():
                picks = torch.randint(len(residual), (len(codebook),), generator=generator).to(residual.device)
                codebook.copy_(residual[picks])
            counts[layer] = _kmeans_round(codebook, residual, generator)
        residual -= codebook[nearest(codebook, residual)]
    return counts


def _kmeans_round(codebook: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Do one iteration of Lloyd's algorithm, with empty entries reset to random rows; return the counts."""
    codes = nearest(codebook, rows)
    counts = torch.bincount(codes, minlength=len(codebook)).to(rows.dtype)
    sums = torch.zeros_like(codebook).index_add_(0, codes, rows)
    picks = torch.randint(len(rows), (len(codebook),), generator=generator).to(rows.device)
    codebook.copy_(torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), rows[picks]))
    return counts
