"""Residual vector quantization with a beam search over the layers.

Source: Zeghidour et al. 2021 (SoundStream) for the cascade; Chen et al. 2010 for searching a cascade with a beam.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """A cascade of codebooks, each coding what the layers before it left over.

    Args:
        n_codebooks: Layers.
        codebook_size: Entries of a codebook.
        dim: Numbers of a vector.
        search_stops: Layers after which the beam is pruned to one, the last is `n_codebooks`.
        envelope_from: First of the numbers whose errors may count more (`weighting`).

    Attributes:
        codebooks: [n_codebooks, codebook_size, dim].
        costs: Squared error that an entry other than 0 has to save in each layer; 0 when untrained, [n_codebooks].
        weights: How much more errors from `envelope_from` on count in each layer where the weighting is 1; 1 when untrained, [n_codebooks].
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

        The best `beam_width` partial sums are kept from layer to layer and pruned to one at the fixed search stops.
        The search runs on to the next stop and is cut there, so the codes of fewer layers are the first of those of more.

        Args:
            latent: float32.
            n_layers: Layers to keep.
            beam_width: See above.
            weighting: How far errors of a frame are weighted, 0 to 1, [batch, frames]; not at all when absent.
        """
        batch, frames, dim = latent.shape
        depth = next(stop for stop in self.search_stops if stop >= n_layers) if beam_width > 1 else n_layers
        share = None if weighting is None or bool((self.weights == 1).all()) else weighting.reshape(-1, 1, 1)
        codes = self._search(latent.reshape(batch * frames, 1, dim).float(), depth, beam_width, share)
        return codes[:, :n_layers].unflatten(0, (batch, frames)).transpose(1, 2)

    def decode(self, codes: Tensor, n_layers: Tensor | None = None) -> Tensor:
        """Return the sums of codebook entries [batch, frames, dim] of `codes` [batch, layers, frames].

        Args:
            codes: Codebook indices, int64.
            n_layers: How many layers of each frame count, int64 [batch, frames]; all of them when absent.
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
        """Return what each entry of a layer adds to squared errors and costs, [frames, beam_width, codebook_size]."""
        codebook = self.codebooks[layer]
        norms = norms_and_costs(codebook, self.costs[layer])
        return torch.addmm(norms, residual.flatten(0, 1), codebook.T, alpha=-2.0).unflatten(0, residual.shape[:2])

    def _weighted_changes(self, residual: Tensor, layer: int, gain: Tensor) -> Tensor:
        """Return `_changes` with errors of the envelope counting `gain` times, [frames, 1, 1].

        Weights change at search stops alone, where the beam is one wide: what its errors so far were weighted with doesn't matter.
        """
        codebook, cut = self.codebooks[layer], self.envelope_from
        waveform, envelope = residual.tensor_split([cut], -1)
        extra = (gain - 1).expand(-1, residual.shape[1], -1)
        rows = torch.cat([waveform, gain * envelope, extra], -1)
        columns = torch.cat([codebook, -0.5 * codebook[:, cut:].square().sum(-1, keepdim=True)], -1)
        norms = norms_and_costs(codebook, self.costs[layer])
        return torch.addmm(norms, rows.flatten(0, 1), columns.T, alpha=-2.0).unflatten(0, residual.shape[:2])


def norms_and_costs(codebook: Tensor, cost: Tensor) -> Tensor:
    """Return the squared norm of each entry [entries, dim], and the cost [] of all but the first, [entries]."""
    norms = codebook.square().sum(-1)
    norms[1:] += cost
    return norms


def _smallest(errors: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the `n` smallest errors of each row and their indices, [rows, n].

    They lie in the `n` groups with the smallest minima, so only those are sorted: 3 times faster than `topk` over the row.
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
