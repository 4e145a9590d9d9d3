"""Parametric sinusoids: sinusoids plus noise at high frequencies, where vector layers code band energies only.

Noise substitution turns an isolated tone, such as a bird's call, into noise as wide as its band. Each sinusoid layer has a frequency range
and one code per frame: 0: none, else a step of the range's logarithmic scale. The decoder adds a sinusoid with the energy of its bands and
attenuates their noise accordingly; below the first noise bin, where the waveform is coded, it adds none. Bands that contain little but a
tone are decoded too quiet; a linear regression on latent and envelope corrects their level.

The phase isn't coded. It is the integral of the frequency, adjusted to zero at every 16th frame by a frequency offset of at most 1.6 Hz (at
50 frames per second), so that synthesis depends on no earlier frame and a steady tone stays continuous.

Source: McAulay and Quatieri 1986 (frequency tracks); Purnhagen and Meine 2000 (HILN: sinusoids plus noise).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import N_FREQUENCIES, PHASE_RESET_FRAMES, SINUSOID_RANGES_HZ, Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies

MAX_GLIDE = 0.08
"""Maximum relative difference of frequencies in adjacent frames that are one gliding tone."""
MAX_BAND_POWER = 0.97
"""Maximum fraction of a band's power that a sinusoid gets."""
GAIN_RANGE = (-0.5, 1.0)
"""Range of the level correction, as log10 of an amplitude."""
MIN_BAND_POWER = 0.05
"""Minimum fraction of a sinusoid's power in a band for the band to determine its level."""


class Sinusoids(nn.Module):
    """Adds the coded sinusoids to a spectrum.

    Attributes:
        first_bin: Lowest coefficient at which sinusoids are added, by number of vector layers; mdct_size when untrained, [n_codebooks + 1].
        loudness: Linear regression of the level correction of each band, as log10 of an amplitude.
    """

    first_bin: Tensor
    reach = PHASE_RESET_FRAMES + 3

    def __init__(self, config: Rvq48Config, mdct: MDCT) -> None:
        super().__init__()
        self.config, self.mdct = config, mdct
        self.register_buffer("first_bin", torch.full((config.n_codebooks + 1,), float(config.mdct_size)))
        self.loudness = nn.Linear(config.latent_dim + config.n_bands, config.n_bands)
        for zero in self.loudness.parameters():
            nn.init.zeros_(zero)

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with sinusoids added."""
        hertz = frequencies(spectrum.sinusoids).transpose(0, 1)
        if not hertz.any():
            return spectrum
        config = self.config
        lowest = self.first_bin[spectrum.n_layers] * (config.sample_rate / 2 / config.mdct_size)
        waves = [sinusoid(h, spectrum.frame_index, config.hop_length, config.sample_rate) for h in hertz]
        spectra = torch.stack([self.mdct(wave) for wave in waves])
        gain = self.loudness(self.inputs(spectrum)).clamp(*GAIN_RANGE)
        envelopes = (spectrum.envelope, spectrum.envelope + gain)
        selected = (hertz > 0) & (hertz >= lowest)
        return spectrum.changed(mix(spectrum.coefficients, spectra, envelopes, selected, spectrum.energies))

    def inputs(self, spectrum: Spectrum) -> Tensor:
        """Return the regressors of the level correction, latent and envelope, [batch, frames, latent_dim + bands]."""
        return torch.cat([spectrum.latent, spectrum.envelope], -1)


def frequencies(codes: Tensor) -> Tensor:
    """Return the frequencies in Hz, 0: none, [batch, layers, frames], of codes of the same shape.

    Codes beyond the scale, which no encoder writes, are clamped to its end.
    """
    ranges = torch.tensor(SINUSOID_RANGES_HZ, device=codes.device)[: codes.shape[1]]
    low, high = ranges[:, :1], ranges[:, 1:]
    step = (codes.clamp(1, N_FREQUENCIES) - 0.5) / N_FREQUENCIES
    return torch.where(codes > 0, low * (high / low) ** step, torch.zeros_like(step))


def sinusoid(hertz: Tensor, frame_index: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return sinusoids of amplitude 1, [batch, frames * hop_length].

    Args:
        hertz: Frequency in each frame, [batch, frames]; 0: none, where the output is undefined.
        frame_index: Absolute index of each item's first frame, int64 [batch].
        hop_length: Samples per frame.
        sample_rate: In Hz.
    """
    n_frames, frame_s = hertz.shape[1], hop_length / sample_rate
    left, right = _frequency_tracks(hertz)
    advance = 0.5 * frame_s * (left + right)
    turns = functional.pad((advance % 1.0).cumsum(1), (1, 0)) % 1.0
    frame = torch.arange(n_frames, device=hertz.device)
    since = (frame_index[:, None] + frame) % PHASE_RESET_FRAMES
    first = turns.gather(1, (frame - since).clamp(min=0))
    last = turns.gather(1, (frame - since + PHASE_RESET_FRAMES).clamp(max=n_frames))
    bend = (last - first - (last - first).round()) / PHASE_RESET_FRAMES
    begin = turns[:, :-1] - first - bend * since
    x = torch.arange(hop_length, device=hertz.device) / hop_length
    left, right, bend = left[..., None], right[..., None], bend[..., None]
    within = frame_s * x * (left + 0.5 * (right - left) * x) - bend * x
    return torch.sin(2 * math.pi * ((begin[..., None] + within) % 1.0)).flatten(1)


def mix(
    coefficients: Tensor, spectra: Tensor, envelopes: tuple[Tensor, Tensor], selected: Tensor, energies: BandEnergies
) -> Tensor:
    """Return coefficients with sinusoids added and their bands' noise attenuated, of the same shape.

    Args:
        coefficients: [batch, frames * merge, size].
        spectra: Coefficients of sinusoids of amplitude 1, [sinusoids, batch, frames * merge, size].
        envelopes: Log band energies [batch, frames, bands], as coded, and corrected for bands with a sinusoid.
        selected: Frames that get each sinusoid, bool [sinusoids, batch, frames].
        energies: Band energies of the model.
    """
    coded, corrected = (torch.pow(10.0, 2 * envelope) * energies.widths for envelope in envelopes)
    power_in_band = torch.stack([energies.power(spectrum) * energies.widths for spectrum in spectra])
    relevant = (power_in_band > MIN_BAND_POWER * power_in_band.sum(-1, keepdim=True)) & selected[..., None]
    shared = (corrected / relevant.sum(0).clamp(min=1)).expand_as(power_in_band)
    strongest = power_in_band.argmax(-1, keepdim=True)
    power = (shared * relevant).sum(-1) / (power_in_band * relevant).sum(-1).clamp(min=1e-9)
    power = torch.minimum(
        power, (shared.gather(-1, strongest) / power_in_band.gather(-1, strongest).clamp(min=1e-9))[..., 0]
    )
    power = torch.where(selected, MAX_BAND_POWER * power, torch.zeros_like(power))[..., None]
    noise_gain = (1 - (power * power_in_band).sum(0) / coded.clamp(min=1e-30)).clamp(
        min=1 - MAX_BAND_POWER
    ).sqrt() @ energies.spread
    mixed = coefficients * noise_gain.repeat_interleave(energies.merge, 1)
    return mixed + (spectra * power.sqrt().repeat_interleave(energies.merge, 2)).sum(0)


def _frequency_tracks(hertz: Tensor) -> tuple[Tensor, Tensor]:
    """Return the frequencies at the start and at the end of each frame, [batch, frames]; tones are extended by one frame on both sides."""
    before, after = functional.pad(hertz[:, :-1], (1, 0)), functional.pad(hertz[:, 1:], (0, 1))
    held = torch.where(hertz > 0, hertz, torch.where(after > 0, after, before))
    left, right = held.clone(), held.clone()
    one, other = held[:, :-1], held[:, 1:]
    linked = (one - other).abs() < MAX_GLIDE * torch.minimum(one, other)
    middle = 0.5 * (one + other)
    right[:, :-1] = torch.where(linked, middle, one)
    left[:, 1:] = torch.where(linked, middle, other)
    return left, right
