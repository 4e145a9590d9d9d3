"""A small network that a decoded spectrum goes through last, below 3 kHz: it weighs each coefficient against its neighbours in pitch.

What lies one period before and one after a place has the same harmonics and other quantization noise. The comb filter (`pitch`) averages
them with one strength for all frequencies; this network sees the three spectra, how well they agree and the envelope, and chooses for each
coefficient how far to trust which, and what to correct besides. Bands keep the loudness that was coded. It is trained on the output of a
frozen decoder (`training.postfilter`), so that no bit changes and files that exist sound better.

Source: Büthe et al. 2024 (NoLACE: a learnt comb filter after a classic decoder); here on MDCT coefficients, with ConvNeXt blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.layers.convnext import convnext
from rvqcodec.models.rvq48.config import POSTFILTER_EXPANSION, CodecConfig
from rvqcodec.models.rvq48.pitch import Repeats
from rvqcodec.models.rvq48.transform import compand, expand

HIGHEST_HZ = 3_000


class PostFilter(nn.Module):
    """Corrects the low coefficients of a decoded spectrum.

    Args:
        config: The model's shape; its `postfilter` holds width and blocks.
    """

    strength: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width, n_blocks = config.postfilter
        self.merge = config.merge
        self.n_low = config.edge_from(HIGHEST_HZ)
        strengths = torch.tensor((0, *config.pitch_strengths)) / 100
        self.register_buffer("strength", strengths, persistent=False)
        self.inputs = nn.Linear(3 * self.n_low + 1 + config.n_bands, width)
        self.layers_scale = nn.Embedding(config.n_codebooks + 1, width)
        self.layers_shift = nn.Embedding(config.n_codebooks + 1, width)
        self.blocks = convnext(n_blocks, width, config.kernel_size, POSTFILTER_EXPANSION)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * self.n_low)
        for zero in (self.layers_scale.weight, self.layers_shift.weight, *self.head.parameters()):
            nn.init.zeros_(zero)

    def forward(
        self, low: Tensor, neighbours: tuple[Tensor, Tensor], repeats: Repeats, envelope: Tensor, n_layers: Tensor
    ) -> Tensor:
        """Return corrected coefficients of the shape of `low`; their bands are yet to be brought to their loudness.

        Untrained, it is the comb filter.

        Args:
            low: The first `n_low` coefficients, [batch, frames * merge, n_low], their bands at their loudness.
            neighbours: Those of a period before and of a period after, each of the same shape.
            repeats: Where the wave repeats itself.
            envelope: Log energies of all bands, [batch, frames, bands].
            n_layers: int64 [batch, frames].
        """
        before, after = neighbours
        n_pieces, n_frames = repeats.correlation.shape[1], low.shape[1]
        piece = ((torch.arange(n_frames, device=low.device) + 0.5) * n_pieces / n_frames).long()
        layers = n_layers.repeat_interleave(self.merge, 1)
        agreement = repeats.correlation[:, piece, None]
        spectra = (compand(low), compand(before), compand(after))
        x = self.inputs(torch.cat([*spectra, agreement, envelope.repeat_interleave(self.merge, 1)], -1))
        x = self.blocks(x * (1 + self.layers_scale(layers)) + self.layers_shift(layers))
        gain, trust, more = self.head(self.norm(x)).chunk(3, -1)
        trust = trust + (repeats.trust[:, piece] * self.strength[layers])[..., None]
        mixed = low * (1 + gain) + trust * (0.5 * (before + after) - low)
        return expand(compand(mixed) + more)
