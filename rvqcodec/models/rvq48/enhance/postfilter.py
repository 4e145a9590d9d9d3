"""Long-term (pitch) postfilter: an adaptive comb filter whose gains, per coefficient below 3 kHz, are estimated by a small network.

The signal one pitch lag earlier and later has the same harmonics but other quantization noise. A classic comb filter averages them with
one gain for all frequencies; this network gets the three spectra, the pitch correlation and the envelope, and outputs for each
coefficient a gain, a comb gain and a residual. The coded band energies are preserved.

Source: Chen and Gersho 1995 (long-term postfilter); Büthe et al. 2024 (NoLACE: neural adaptive comb filter); here on MDCT coefficients,
with ConvNeXt blocks.
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
    """Comb-filters coefficients below 3 kHz.

    Attributes:
        strength: Comb gain that the network's output adds to, by number of vector layers, 0 to 1; 0 when untrained, [n_codebooks + 1].
    """

    strength: Tensor

    def __init__(self, config: Rvq48Config, mdct: MDCT, pitch: PitchAnalyser) -> None:
        super().__init__()
        width = config.postfilter_width
        self.merge, self.mdct, self.pitch = config.merge, mdct, pitch
        self.reach = config.receptive_field(config.postfilter_blocks, 0)
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
        """Return the postfiltered spectrum."""
        low, high = spectrum.coefficients.tensor_split([self.n_low], -1)
        before, after = (self.mdct(near, self.n_low) for near in self.pitch.long_term_predictions(spectrum.pitch))
        low = self.filtered(low, (before, after), spectrum.pitch, spectrum.envelope, spectrum.n_layers)
        return spectrum.rescaled(torch.cat([low, high], -1))

    def filtered(
        self, low: Tensor, predictions: tuple[Tensor, Tensor], pitch: PitchAnalysis, envelope: Tensor, n_layers: Tensor
    ) -> Tensor:
        """Return postfiltered coefficients of the shape of `low`, before rescaling to their band energies.

        Untrained, it is a comb filter of gain `strength` times the voicing.

        Args:
            low: The first `n_low` coefficients, [batch, frames * merge, n_low].
            predictions: Coefficients of the signal one pitch lag earlier and later, each of the same shape.
            pitch: The pitch analysis.
            envelope: Log energies of all bands, [batch, frames, bands].
            n_layers: Vector layers, int64 [batch, frames].
        """
        before, after = predictions
        n_subframes, n_frames = pitch.correlation.shape[1], low.shape[1]
        subframe = ((torch.arange(n_frames, device=low.device) + 0.5) * n_subframes / n_frames).long()
        layers = n_layers.repeat_interleave(self.merge, 1)
        correlation = pitch.correlation[:, subframe, None]
        spectra = (compand(low), compand(before), compand(after))
        x = self.inputs(torch.cat([*spectra, correlation, envelope.repeat_interleave(self.merge, 1)], -1))
        x = self.blocks(x * (1 + self.layers_scale(layers)) + self.layers_shift(layers))
        gain, comb_gain, residual = self.head(self.norm(x)).chunk(3, -1)
        comb_gain = comb_gain + (pitch.voicing[:, subframe] * self.strength[layers])[..., None]
        mixed = low * (1 + gain) + comb_gain * (0.5 * (before + after) - low)
        return expand(compand(mixed) + residual)
