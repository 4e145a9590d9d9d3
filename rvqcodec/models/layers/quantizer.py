"""Residual vector quantization with a beam search over the layers.

Source: Zeghidour et al. 2021 (SoundStream) for the cascade; Chen et al. 2010 for searching a cascade with several candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.rvq48.config import CodecConfig


class ResidualQuantizer(nn.Module):
    """A cascade of codebooks, each coding what the layers before it left over."""

    codebooks: Tensor
    costs: Tensor
    gains: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("codebooks", torch.zeros(config.n_codebooks, config.codebook_size, config.latent_dim))
        costs = torch.tensor(config.code_costs or (0,) * config.n_codebooks) / 100
        self.register_buffer("costs", costs, persistent=False)
        sizes = torch.tensor((0, *config.search_stops)).diff()
        gains = torch.tensor(config.pitchless_gains) / 100
        self.register_buffer("gains", gains.repeat_interleave(sizes) if len(gains) else gains, persistent=False)

    def encode(self, latent: Tensor, n_layers: int, n_candidates: int = 1, pitchless: Tensor | None = None) -> Tensor:
        """Return the codes [batch, n_layers, frames], int64, of `latent` [batch, frames, latent_dim].

        The best `n_candidates` partial sums are kept from layer to layer and pruned to one at the fixed search stops.
        The search runs on to the next stop and is cut there, so the codes of fewer layers are a prefix of those of more.

        Args:
            latent: float32.
            n_layers: Layers to keep; all here are of vectors.
            n_candidates: See above.
            pitchless: How far frames have no pitch, so that errors of their envelope count more, 0 to 1, [batch, frames]; not at
                all when absent.
        """
        batch, frames, dim = latent.shape
        depth = self.config.search_depth(n_layers) if n_candidates > 1 else n_layers
        share = pitchless.reshape(-1, 1, 1) if pitchless is not None and len(self.gains) else None
        codes = self._search(latent.reshape(batch * frames, 1, dim).float(), depth, n_candidates, share)
        return codes[:, :n_layers].unflatten(0, (batch, frames)).transpose(1, 2)

    def decode(self, codes: Tensor, n_layers: Tensor | None = None) -> Tensor:
        """Return the sums of codebook entries [batch, frames, latent_dim] of `codes` [batch, layers, frames].

        Args:
            codes: Codebook indices, int64.
            n_layers: How many layers of each frame count, int64 [batch, frames]; all of them when absent.
        """
        total = self.codebooks.new_zeros(codes.shape[0], codes.shape[2], self.config.latent_dim)
        for layer in range(codes.shape[1]):
            entries = self.codebooks[layer][codes[:, layer]]
            total = total + (entries if n_layers is None else entries * (n_layers > layer)[..., None])
        return total

    def _search(self, residual: Tensor, depth: int, n_candidates: int, pitchless: Tensor | None) -> Tensor:
        """Return codes [frames, depth] of `residual` [frames, 1, latent_dim]; `pitchless` is [frames, 1, 1]."""
        rows = torch.arange(len(residual), device=residual.device)[:, None]
        error = residual.square().sum(-1)
        codes = torch.empty(len(residual), 1, 0, dtype=torch.int64, device=residual.device)
        for layer in range(depth):
            keep = 1 if layer + 1 in (*self.config.search_stops, depth) else n_candidates
            codebook = self.codebooks[layer]
            if pitchless is None:
                changes = self._changes(residual, layer)
            else:
                changes = self._weighted_changes(residual, layer, torch.pow(self.gains[layer], pitchless))
            error, best = _smallest((error[..., None] + changes).flatten(1), keep)
            parent, code = best // len(codebook), best % len(codebook)
            codes = torch.cat([codes[rows, parent], code[..., None]], -1)
            residual = residual[rows, parent] - codebook[code]
        return codes[:, 0]

    def _changes(self, residual: Tensor, layer: int) -> Tensor:
        """Return what each entry of a layer adds to squared errors and costs, [frames, candidates, codebook_size]."""
        codebook = self.codebooks[layer]
        norms = norms_and_costs(codebook, self.costs[layer])
        return torch.addmm(norms, residual.flatten(0, 1), codebook.T, alpha=-2.0).unflatten(0, residual.shape[:2])

    def _weighted_changes(self, residual: Tensor, layer: int, gain: Tensor) -> Tensor:
        """Return `_changes` with errors of the envelope counting `gain` times, [frames, 1, 1].

        Gains change at search stops alone, where one candidate is left: what its errors so far were weighted with doesn't matter.
        """
        codebook, cut = self.codebooks[layer], self.config.waveform_dim
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
