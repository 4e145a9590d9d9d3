"""The decoder: quantized latent to wave, told how many layers it was quantized with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.layers.convnext import convnext
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.models.rvq48.enhance.decorrelation import BuzzFilter
from rvqcodec.models.rvq48.enhance.noise_substitution import Finish
from rvqcodec.models.rvq48.enhance.postfilter import PostFilter
from rvqcodec.models.rvq48.enhance.smoothing import NoiseTexture
from rvqcodec.models.rvq48.pitch import PitchFilter, Repeats
from rvqcodec.models.rvq48.sinusoids import MISSING, mix_tones, tone_hertz, tone_wave
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies, expand


class Decoder(nn.Module):
    """A linear path and a ConvNeXt branch give the shape of the spectrum, the coded band energies its loudness."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        kernel, expansion = config.kernel_size, config.expansion
        fine, coarse = config.decoder_fine_width, config.decoder_coarse_width
        self.mdct = MDCT(config.mdct_size)
        self.energies = BandEnergies(config.band_edges, config.merge)
        self.finish = Finish(config)
        self.pitch = PitchFilter(config)
        self.texture = NoiseTexture(config)
        self.buzz = BuzzFilter(config)
        self.postfilter = PostFilter(config) if config.postfilter else None
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
        self.tone_loudness = (
            nn.Linear(config.latent_dim + config.n_bands, config.n_bands) if config.tone_layers else None
        )
        for zero in (self.layers_scale.weight, self.layers_shift.weight, *self.energies_head.parameters()):
            nn.init.zeros_(zero)
        for zero in (*self.head.parameters(), *(self.tone_loudness.parameters() if self.tone_loudness else ())):
            nn.init.zeros_(zero)

    def forward(
        self,
        latent: Tensor,
        n_layers: Tensor,
        sounding: Tensor | None = None,
        position: Tensor | None = None,
        tones: Tensor | None = None,
    ) -> Tensor:
        """Return the wave [batch, frames * hop_length] of a quantized latent.

        Args:
            latent: Sums of codebook entries, [batch, frames, latent_dim].
            n_layers: Layers of vectors that each frame was quantized with, int64 [batch, frames], 0 .. n_codebooks.
            sounding: False for frames that are silent and decode to zeros, bool [batch, frames]; all sound when absent.
            position: Number of each item's first frame, int64 [batch], for the noise of `finish`; nothing is finished when absent.
            tones: Codes of the tone layers, int64 [batch, tone layers, frames]; they need a position.
        """
        coefficients, envelope = self.spectrum(latent, n_layers, position)
        if position is None:
            return self._wave(coefficients, sounding)
        change: Tensor | float = 0.0
        if self.pitch.calibrated:
            wave = self._wave(coefficients, sounding)
            repeats = self.pitch(wave)
            if self.texture.calibrated:
                coefficients = self.finished(coefficients, repeats, latent, n_layers, position)
                coefficients = self._filtered(coefficients, repeats, envelope, n_layers)
            if self.postfilter is None:
                change = self.pitch.change(repeats, n_layers, sounding)
        if tones is not None and self.tone_loudness is not None:
            missing = self.tone_loudness(self.tone_inputs(latent, envelope)).clamp(*MISSING)
            coefficients = self._with_tones(coefficients, (envelope, envelope + missing), tones, n_layers, position)
        return self._wave(coefficients, sounding) + change

    def spectrum(self, latent: Tensor, n_layers: Tensor, position: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return coefficients [batch, frames * merge, mdct_size] and their log band energies [batch, frames, bands]; as `forward` does."""
        companded, correction = self.branch(latent, n_layers)
        companded = companded + self._linear(latent)
        envelope = latent[..., self.config.waveform_dim :] / self.energies.scale + self.energies.mean + correction
        coefficients = expand(companded.clamp(-8.0, 8.0))
        if position is not None:
            coefficients = self.finish(coefficients, n_layers, position)
            envelope = envelope + self.finish.gain(n_layers)
        return self.energies.rescale(coefficients, envelope), envelope

    def finished(
        self, coefficients: Tensor, repeats: Repeats, latent: Tensor, n_layers: Tensor, position: Tensor
    ) -> Tensor:
        """Return what `spectrum` gave with its noise evened out and its buzz broken; where its wave repeats itself is known by now."""
        even: Tensor = self.texture(coefficients, repeats.correlation, n_layers)
        if not self.buzz.calibrated:
            return even
        linear = expand(self._linear(latent)[..., self.buzz.bins].clamp(-8.0, 8.0))
        calm: Tensor = self.buzz(even, linear, repeats.correlation, n_layers, position)
        return calm

    def _filtered(self, coefficients: Tensor, repeats: Repeats, envelope: Tensor, n_layers: Tensor) -> Tensor:
        """Return what `finished` gave, corrected by the postfilter where there is one, with its bands at their loudness."""
        if self.postfilter is not None:
            low, high = coefficients.tensor_split([self.postfilter.n_low], -1)
            before, after = (self.mdct(near, self.postfilter.n_low) for near in self.pitch.neighbours(repeats))
            low = self.postfilter(low, (before, after), repeats, envelope, n_layers)
            coefficients = torch.cat([low, high], -1)
        return self.energies.rescale(coefficients, envelope)

    def tone_inputs(self, latent: Tensor, envelope: Tensor) -> Tensor:
        """Return what the loudness of a tone is estimated from, [batch, frames, numbers]."""
        return torch.cat([latent, envelope], -1)

    def _with_tones(
        self,
        coefficients: Tensor,
        envelopes: tuple[Tensor, Tensor],
        tones: Tensor,
        n_layers: Tensor,
        position: Tensor,
    ) -> Tensor:
        """Return coefficients with the tones in them that lie where the latent doesn't know the wave.

        Args:
            coefficients: [batch, frames * merge, mdct_size].
            envelopes: Log energies that bands have, and that they should have where they hold a tone.
            tones: Codes.
            n_layers: Of vectors.
            position: As for `forward`.
        """
        hertz = tone_hertz(tones).transpose(0, 1)
        if not hertz.any():
            return coefficients
        lowest = self.finish.first_noise[n_layers] * (self.config.sample_rate / 2 / self.config.mdct_size)
        hop, rate = self.config.hop_length, self.config.sample_rate
        spectra = torch.stack([self.mdct(tone_wave(tone, position, hop, rate)) for tone in hertz])
        return mix_tones(coefficients, spectra, envelopes, (hertz > 0) & (hertz >= lowest), self.energies)

    def _linear(self, latent: Tensor) -> Tensor:
        """Return the companded coefficients of the linear path, [batch, frames * merge, mdct_size]."""
        frames: Tensor = self.linear(latent[..., : self.config.waveform_dim])
        return frames.unflatten(-1, (self.config.merge, -1)).flatten(1, 2)

    def _wave(self, coefficients: Tensor, sounding: Tensor | None) -> Tensor:
        """Return the wave of coefficients, zeros for frames that are silent."""
        if sounding is not None:
            silent = ~sounding.repeat_interleave(self.config.merge, 1)
            coefficients = coefficients.masked_fill(silent[..., None], 0.0)
        return self.mdct.inverse(coefficients)

    def branch(self, latent: Tensor, n_layers: Tensor) -> tuple[Tensor, Tensor]:
        """Return companded coefficients [batch, frames * merge, mdct_size] and a correction [batch, frames, bands]."""
        x = self.latent_in(latent.transpose(1, 2)).transpose(1, 2).contiguous()
        x = self.coarse(x * (1 + self.layers_scale(n_layers)) + self.layers_shift(n_layers))
        correction = self.energies_head(x)
        x = self.fine(self.split(x).unflatten(-1, (self.config.merge, -1)).flatten(1, 2))
        return self.head(self.norm(x)), correction
