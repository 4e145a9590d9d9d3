"""Residual vector quantization (RVQ) with beam search.

Source: Zeghidour et al. 2021 (SoundStream: RVQ in a neural codec); Chen et al. 2010 (beam search in RVQ).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """A cascade of codebooks, each of which quantizes the residual of the layers before it.

    Args:
        n_codebooks: Layers.
        codebook_size: Entries per codebook.
        dim: Dimensions of a vector.
        search_stops: Layers after which the beam is pruned to one; the last is `n_codebooks`.
        envelope_from: First dimension of the envelope, whose errors may be weighted (`weighting`).

    Attributes:
        codebooks: [n_codebooks, codebook_size, dim].
        costs: Rate penalty of entries other than 0 in each layer, as squared error (a Lagrangian); 0 when untrained, [n_codebooks].
        weights: Weight of squared errors of the envelope in each layer where the weighting is 1; 1 when untrained, [n_codebooks].
    """

    codebooks: Tensor
    costs: Tensor
    weights: Tensor

    def __init__(
        self, n_codebooks: int, codebook_size: int, dim: int, search_stops: tuple[int, ...], envelope_from: int
    ) -> None:
        super().__init__()
        self.search_stops, self.envelope_from = search_stops, envelope_from
        self.register_buffer("codebooks", torch.zeros(n_codebooks, codebook_size, dim))
        self.register_buffer("costs", torch.zeros(n_codebooks))
        self.register_buffer("weights", torch.ones(n_codebooks))

    def encode(self, latent: Tensor, n_layers: int, beam_width: int = 1, weighting: Tensor | None = None) -> Tensor:
        """Return the codes [batch, n_layers, frames], int64, of `latent` [batch, frames, dim].

        The best `beam_width` hypotheses survive each layer; at the search stops the beam is pruned to one. The search always runs to the
        next stop and is truncated, so the codes are embedded in those of more layers.

        Args:
            latent: float32.
            n_layers: Layers to code, 1 to n_codebooks.
            beam_width: At least 1; 1 is a greedy search.
            weighting: Degree to which the envelope errors of a frame are weighted, 0 to 1, [batch, frames]; 0 when absent.

        Source: Chen et al. 2010.
        """
        batch, frames, dim = latent.shape
        depth = next(stop for stop in self.search_stops if stop >= n_layers) if beam_width > 1 else n_layers
        degree = None if weighting is None or bool((self.weights == 1).all()) else weighting.reshape(-1, 1, 1)
        codes = self._search(latent.reshape(batch * frames, 1, dim).float(), depth, beam_width, degree)
        return codes[:, :n_layers].unflatten(0, (batch, frames)).transpose(1, 2)

    def decode(self, codes: Tensor, n_layers: Tensor | None = None) -> Tensor:
        """Return the quantized latent, sums of codebook entries, float32 [batch, frames, dim].

        Args:
            codes: Codebook indices, int64 [batch, layers, frames].
            n_layers: Layers to decode in each frame, int64 [batch, frames]; all of them when absent.
        """
        total = self.codebooks.new_zeros(codes.shape[0], codes.shape[2], self.codebooks.shape[2])
        for layer in range(codes.shape[1]):
            entries = self.codebooks[layer][codes[:, layer]]
            total = total + (entries if n_layers is None else entries * (n_layers > layer)[..., None])
        return total

    def _search(self, residual: Tensor, depth: int, beam_width: int, weighting: Tensor | None) -> Tensor:
        """Return codes [frames, depth] of `residual` [frames, 1, dim]; `weighting` is [frames, 1, 1]."""
        rows = torch.arange(len(residual), device=residual.device)[:, None]
        error = residual.square().sum(-1)
        codes = torch.empty(len(residual), 1, 0, dtype=torch.int64, device=residual.device)
        for layer in range(depth):
            keep = 1 if layer + 1 in (*self.search_stops, depth) else beam_width
            codebook = self.codebooks[layer]
            if weighting is None:
                changes = self._changes(residual, layer)
            else:
                changes = self._weighted_changes(residual, layer, torch.pow(self.weights[layer], weighting))
            error, best = _smallest((error[..., None] + changes).flatten(1), keep)
            parent, code = best // len(codebook), best % len(codebook)
            codes = torch.cat([codes[rows, parent], code[..., None]], -1)
            residual = residual[rows, parent] - codebook[code]
        return codes[:, 0]

    def _changes(self, residual: Tensor, layer: int) -> Tensor:
        """Return the change in squared error plus rate penalty by each entry of a layer, [frames, beam_width, codebook_size]."""
        codebook = self.codebooks[layer]
        norms = norms_and_costs(codebook, self.costs[layer])
        return torch.addmm(norms, residual.flatten(0, 1), codebook.T, alpha=-2.0).unflatten(0, residual.shape[:2])

    def _weighted_changes(self, residual: Tensor, layer: int, gain: Tensor) -> Tensor:
        """Return `_changes` with envelope errors weighted by `gain` [frames, 1, 1].

        Weights change only at search stops, where a single hypothesis is left, so earlier weights don't affect the comparison.
        """
        codebook, cut = self.codebooks[layer], self.envelope_from
        waveform, envelope = residual.tensor_split([cut], -1)
        extra = (gain - 1).expand(-1, residual.shape[1], -1)
        rows = torch.cat([waveform, gain * envelope, extra], -1)
        columns = torch.cat([codebook, -0.5 * codebook[:, cut:].square().sum(-1, keepdim=True)], -1)
        norms = norms_and_costs(codebook, self.costs[layer])
        return torch.addmm(norms, rows.flatten(0, 1), columns.T, alpha=-2.0).unflatten(0, residual.shape[:2])


def norms_and_costs(codebook: Tensor, cost: Tensor) -> Tensor:
    """Return squared norms plus the cost [] of all entries but the first, [entries], of a codebook [entries, dim]."""
    norms = codebook.square().sum(-1)
    norms[1:] += cost
    return norms


def _smallest(errors: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the `n` smallest errors of each row and their indices, [rows, n].

    They are in the `n` groups with the smallest minima, so only those are sorted: 3 times faster than `topk` over the row.
    """
    group = 64
    if n == 1:
        smallest, index = errors.min(-1, keepdim=True)
        return smallest, index
    if errors.shape[-1] % group or errors.shape[-1] < group * n:
        few, indices = errors.topk(min(n, errors.shape[-1]), -1, largest=False)
        return few, indices
    groups = errors.unflatten(-1, (-1, group))
    chosen = groups.amin(-1).topk(n, -1, largest=False).indices
    members = groups.gather(1, chosen[..., None].expand(-1, -1, group)).flatten(1)
    values, places = members.topk(n, -1, largest=False)
    return values, chosen.gather(1, places // group) * group + places % group
