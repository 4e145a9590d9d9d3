"""Long-term (pitch) postfilter: a small network below 3 kHz weighs each coefficient against those a pitch period away.

What lies one period before and one after a place has the same harmonics and other quantization noise. A comb filter averages
them with one strength for all frequencies; this network sees the three spectra, how well they agree and the envelope, and chooses for each
coefficient how far to trust which, and what to correct besides. Bands keep the loudness that was coded.

Source: Büthe et al. 2024 (NoLACE: a learnt comb filter after a classic decoder); here on MDCT coefficients, with ConvNeXt blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.layers.convnext import convnext
from rvqcodec.models.rvq48.config import POSTFILTER_EXPANSION, Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum
from rvqcodec.models.rvq48.pitch import PitchAnalyser, PitchAnalysis
from rvqcodec.models.rvq48.transform import MDCT, compand, expand

HIGHEST_HZ = 3_000


class PitchPostfilter(nn.Module):
    """Corrects low coefficients by those of a pitch period before and after.

    Attributes:
        strength: Of the comb filter that it starts from, for each number of layers of vectors; 0 when untrained, [n_codebooks + 1].
    """

    strength: Tensor

    def __init__(self, config: Rvq48Config, mdct: MDCT, pitch: PitchAnalyser) -> None:
        super().__init__()
        width = config.postfilter_width
        self.merge, self.mdct, self.pitch = config.merge, mdct, pitch
        self.reach = config.reach(config.postfilter_blocks, 0)
        self.n_low = config.edge_from(HIGHEST_HZ)
        self.register_buffer("strength", torch.zeros(config.n_codebooks + 1))
        self.inputs = nn.Linear(3 * self.n_low + 1 + config.n_bands, width)
        self.layers_scale = nn.Embedding(config.n_codebooks + 1, width)
        self.layers_shift = nn.Embedding(config.n_codebooks + 1, width)
        self.blocks = convnext(config.postfilter_blocks, width, config.kernel_size, POSTFILTER_EXPANSION)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * self.n_low)
        for zero in (self.layers_scale.weight, self.layers_shift.weight, *self.head.parameters()):
            nn.init.zeros_(zero)

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with corrected coefficients below 3 kHz."""
        low, high = spectrum.coefficients.tensor_split([self.n_low], -1)
        before, after = (self.mdct(near, self.n_low) for near in self.pitch.neighbours(spectrum.pitch))
        low = self.corrected(low, (before, after), spectrum.pitch, spectrum.envelope, spectrum.n_layers)
        return spectrum.rescaled(torch.cat([low, high], -1))

    def corrected(
        self, low: Tensor, neighbours: tuple[Tensor, Tensor], pitch: PitchAnalysis, envelope: Tensor, n_layers: Tensor
    ) -> Tensor:
        """Return corrected coefficients of the shape of `low`; their bands are yet to be brought to their loudness.

        Untrained, it is the comb filter.

        Args:
            low: The first `n_low` coefficients, [batch, frames * merge, n_low], their bands at their loudness.
            neighbours: Those of a period before and of a period after, each of the same shape.
            pitch: The pitch analysis.
            envelope: Log energies of all bands, [batch, frames, bands].
            n_layers: int64 [batch, frames].
        """
        before, after = neighbours
        n_pieces, n_frames = pitch.correlation.shape[1], low.shape[1]
        piece = ((torch.arange(n_frames, device=low.device) + 0.5) * n_pieces / n_frames).long()
        layers = n_layers.repeat_interleave(self.merge, 1)
        agreement = pitch.correlation[:, piece, None]
        spectra = (compand(low), compand(before), compand(after))
        x = self.inputs(torch.cat([*spectra, agreement, envelope.repeat_interleave(self.merge, 1)], -1))
        x = self.blocks(x * (1 + self.layers_scale(layers)) + self.layers_shift(layers))
        gain, trust, more = self.head(self.norm(x)).chunk(3, -1)
        trust = trust + (pitch.trust[:, piece] * self.strength[layers])[..., None]
        mixed = low * (1 + gain) + trust * (0.5 * (before + after) - low)
        return expand(compand(mixed) + more)
