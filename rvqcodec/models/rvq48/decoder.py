"""Decoder: quantized latent to wave, by a network, the enhancement chain on its MDCT spectrum, and the inverse MDCT."""

from __future__ import annotations

from torch import Tensor, nn

from rvqcodec.models.layers.convnext import convnext
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.compression import MagnitudeCompression
from rvqcodec.models.rvq48.enhance.decorrelation import Decorrelation
from rvqcodec.models.rvq48.enhance.noise_substitution import NoiseSubstitution
from rvqcodec.models.rvq48.enhance.postfilter import PitchPostfilter
from rvqcodec.models.rvq48.enhance.smoothing import SpectralSmoothing
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum
from rvqcodec.models.rvq48.pitch import PitchAnalyser, PitchAnalysis
from rvqcodec.models.rvq48.sinusoids import Sinusoids
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies, expand


class Decoder(nn.Module):
    """Gain-shape decoder: a linear path and a ConvNeXt branch give the fine structure, the coded band energies the envelope.

    Attributes:
        enhance: The steps of the enhancement chain, in order.
    """

    def __init__(self, config: Rvq48Config, pitch: PitchAnalyser) -> None:
        super().__init__()
        self.config = config
        kernel, expansion = config.kernel_size, config.expansion
        fine, coarse = config.decoder_fine_width, config.decoder_coarse_width
        self.mdct = MDCT(config.mdct_size)
        self.energies = BandEnergies(config.band_edges, config.merge)
        self.pitch = pitch
        self.linear = nn.Linear(config.waveform_dim, config.merge * config.mdct_size, bias=False)
        self.latent_in = nn.Conv1d(config.latent_dim, coarse, kernel, padding=kernel // 2)
        self.layers_scale = nn.Embedding(config.n_codebooks + 1, coarse)
        self.layers_shift = nn.Embedding(config.n_codebooks + 1, coarse)
        self.coarse = convnext(config.decoder_coarse_blocks, coarse, kernel, expansion)
        self.energies_head = nn.Linear(coarse, config.n_bands)
        self.split = nn.Linear(coarse, config.merge * fine)
        self.fine = convnext(config.decoder_fine_blocks, fine, kernel, expansion)
        self.norm = nn.LayerNorm(fine)
        self.head = nn.Linear(fine, config.mdct_size)
        zeros = (self.layers_scale.weight, self.layers_shift.weight)
        for zero in (*zeros, *self.energies_head.parameters(), *self.head.parameters()):
            nn.init.zeros_(zero)
        self.compression = MagnitudeCompression(config)
        self.noise = NoiseSubstitution(config)
        self.smoothing = SpectralSmoothing(config)
        self.decorrelation = Decorrelation(config)
        self.postfilter = PitchPostfilter(config, self.mdct, pitch)
        self.sinusoids = Sinusoids(config, self.mdct)
        self.enhance = (
            self.compression,
            self.noise,
            self.smoothing,
            self.decorrelation,
            self.postfilter,
            self.sinusoids,
        )

    def forward(
        self, latent: Tensor, n_layers: Tensor, active: Tensor, frame_index: Tensor, sinusoids: Tensor
    ) -> Tensor:
        """Return the wave [batch, frames * hop_length] of a quantized latent.

        Args:
            latent: Sums of codebook entries, [batch, frames, latent_dim].
            n_layers: Vector layers that each frame was quantized with, int64 [batch, frames], 0 to n_codebooks.
            active: False for frames that decode to zeros, bool [batch, frames].
            frame_index: Absolute index of each item's first frame, int64 [batch]; seeds the noise.
            sinusoids: Codes of the sinusoid layers, int64 [batch, layers, frames].
        """
        spectrum = self.spectrum(latent, n_layers, active, frame_index, sinusoids)
        for step in self.enhance:
            spectrum = step(spectrum)
        return self.wave(spectrum.coefficients, active)

    def spectrum(
        self, latent: Tensor, n_layers: Tensor, active: Tensor, frame_index: Tensor, sinusoids: Tensor
    ) -> Spectrum:
        """Return the network's spectrum, the input of the enhancement chain; arguments and shapes as in `forward`."""
        coefficients, envelope = self.network(latent, n_layers)
        return Spectrum(
            coefficients=coefficients,
            envelope=envelope,
            linear=self.linear_path(latent),
            latent=latent,
            n_layers=n_layers,
            active=active,
            frame_index=frame_index,
            sinusoids=sinusoids,
            energies=self.energies,
            analyse=self.analyse,
        )

    def network(self, latent: Tensor, n_layers: Tensor) -> tuple[Tensor, Tensor]:
        """Return MDCT coefficients [batch, frames * merge, mdct_size] and their log band energies [batch, frames, bands]."""
        companded, correction = self.branch(latent, n_layers)
        companded = companded + self.linear_path(latent)
        envelope = latent[..., self.config.waveform_dim :] / self.energies.scale + self.energies.mean + correction
        return self.energies.rescale(expand(companded.clamp(-8.0, 8.0)), envelope), envelope

    def linear_path(self, latent: Tensor) -> Tensor:
        """Return the companded coefficients of the linear path, [batch, frames * merge, mdct_size]."""
        frames: Tensor = self.linear(latent[..., : self.config.waveform_dim])
        return frames.unflatten(-1, (self.config.merge, -1)).flatten(1, 2)

    def branch(self, latent: Tensor, n_layers: Tensor) -> tuple[Tensor, Tensor]:
        """Return companded coefficients [batch, frames * merge, mdct_size] and a correction of the envelope [batch, frames, bands]."""
        x = self.latent_in(latent.transpose(1, 2)).transpose(1, 2).contiguous()
        x = self.coarse(x * (1 + self.layers_scale(n_layers)) + self.layers_shift(n_layers))
        correction = self.energies_head(x)
        x = self.fine(self.split(x).unflatten(-1, (self.config.merge, -1)).flatten(1, 2))
        return self.head(self.norm(x)), correction

    def analyse(self, coefficients: Tensor, active: Tensor) -> PitchAnalysis:
        """Return the pitch analysis of the synthesised wave of coefficients [batch, frames * merge, mdct_size]."""
        analysis: PitchAnalysis = self.pitch(self.wave(coefficients, active))
        return analysis

    def wave(self, coefficients: Tensor, active: Tensor) -> Tensor:
        """Return the wave [batch, frames * hop_length] of coefficients, with inactive frames set to zero."""
        silent = ~active.repeat_interleave(self.config.merge, 1)
        return self.mdct.inverse(coefficients.masked_fill(silent[..., None], 0.0))
