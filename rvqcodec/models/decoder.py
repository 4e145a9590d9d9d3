"""The decoder: quantized latent to wave, told how many layers it was quantized with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rvqcodec.models.blocks import convnext
from rvqcodec.models.buzz import BuzzFilter
from rvqcodec.models.config import CodecConfig
from rvqcodec.models.finish import Finish
from rvqcodec.models.pitch import PitchFilter, Repeats
from rvqcodec.models.postfilter import PostFilter
from rvqcodec.models.texture import NoiseTexture
from rvqcodec.models.transform import MDCT, BandEnergies, expand


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
        for zero in (self.layers_scale.weight, self.layers_shift.weight, *self.energies_head.parameters()):
            nn.init.zeros_(zero)
        for zero in self.head.parameters():
            nn.init.zeros_(zero)

    def forward(
        self, latent: Tensor, n_layers: Tensor, sounding: Tensor | None = None, position: Tensor | None = None
    ) -> Tensor:
        """Return the wave [batch, frames * hop_length] of a quantized latent.

        Args:
            latent: Sums of codebook entries, [batch, frames, latent_dim].
            n_layers: Layers that each frame was quantized with, int64 [batch, frames], 0 .. n_codebooks.
            sounding: False for frames that are silent and decode to zeros, bool [batch, frames]; all sound when absent.
            position: Number of each item's first frame, int64 [batch], for the noise of `finish`; nothing is finished when absent.
        """
        coefficients, envelope = self.spectrum(latent, n_layers, position)
        wave = self._wave(coefficients, sounding)
        if position is None or not self.pitch.calibrated:
            return wave
        repeats = self.pitch(wave)
        if not self.texture.calibrated:
            return wave + self.pitch.change(repeats, n_layers, sounding)
        finished = self.finished(coefficients, repeats, latent, n_layers, position)
        if self.postfilter is None:
            wave = self._wave(self.energies.rescale(finished, envelope), sounding)
            return wave + self.pitch.change(repeats, n_layers, sounding)
        low, high = finished.tensor_split([self.postfilter.n_low], -1)
        before, after = (self.mdct(near, self.postfilter.n_low) for near in self.pitch.neighbours(repeats))
        low = self.postfilter(low, (before, after), repeats, envelope, n_layers)
        return self._wave(self.energies.rescale(torch.cat([low, high], -1), envelope), sounding)

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
