"""Parametric sinusoids: above what the other layers know, layers of their own say where lone tones lie.

Up there a latent tells the loudness of bands alone, and decoded they are noise as wide as their band. A bird's call isn't.
Each such layer has a range of frequencies and one code a frame: 0 for none, else a step of the range's logarithmic scale. The decoder
puts a sinusoid there, with the loudness of its bands, and leaves noise what is left of them. Where the other layers know the wave, that is
below the first noise bin, it puts none. Bands that hold little but a tone are decoded too quiet; a linear map tells by how much.

The phase isn't coded. It grows with the frequency and is brought to zero at every 16th frame, which bends the frequency by 1.6 Hz at
most (at 50 frames a second): so it depends on no frame further away, and a steady tone stays one.

Source: McAulay and Quatieri 1986 (sinusoids that glide from frame to frame); Purnhagen and Meine 2000 (HILN: sinusoids beside noise).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import N_FREQUENCIES, SINUSOID_ANCHOR, SINUSOID_RANGES_HZ, Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies

LINKED = 0.08
"""Share by which the frequencies of neighbouring frames may differ and be one tone that glides."""
PURE = 0.97
"""Share of a band's power that a sinusoid gets at most."""
MISSING = (-0.5, 1.0)
"""Least and most that a sinusoid may be louder than its band, as log10 of an amplitude."""
COUNTED = 0.05
"""Share of a sinusoid's power from which on a band's loudness counts for the sinusoid's."""


class Sinusoids(nn.Module):
    """Adds the coded sinusoids to a spectrum.

    Attributes:
        first_bin: First coefficient where sinusoids are added, for each number of layers of vectors; mdct_size when untrained.
    """

    first_bin: Tensor
    reach = SINUSOID_ANCHOR + 3

    def __init__(self, config: Rvq48Config, mdct: MDCT) -> None:
        super().__init__()
        self.config, self.mdct = config, mdct
        self.register_buffer("first_bin", torch.full((config.n_codebooks + 1,), float(config.mdct_size)))
        self.loudness = nn.Linear(config.latent_dim + config.n_bands, config.n_bands)
        for zero in self.loudness.parameters():
            nn.init.zeros_(zero)

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with sinusoids in it."""
        hertz = frequencies(spectrum.sinusoids).transpose(0, 1)
        if not hertz.any():
            return spectrum
        config = self.config
        lowest = self.first_bin[spectrum.n_layers] * (config.sample_rate / 2 / config.mdct_size)
        waves = [sinusoid(h, spectrum.frame_index, config.hop_length, config.sample_rate) for h in hertz]
        spectra = torch.stack([self.mdct(wave) for wave in waves])
        missing = self.loudness(self.inputs(spectrum)).clamp(*MISSING)
        envelopes = (spectrum.envelope, spectrum.envelope + missing)
        chosen = (hertz > 0) & (hertz >= lowest)
        return spectrum.changed(mix(spectrum.coefficients, spectra, envelopes, chosen, spectrum.energies))

    def inputs(self, spectrum: Spectrum) -> Tensor:
        """Return what the loudness is estimated from, [batch, frames, numbers]."""
        return torch.cat([spectrum.latent, spectrum.envelope], -1)


def frequencies(codes: Tensor) -> Tensor:
    """Return frequencies in Hz, 0 for none, of codes [batch, layers, frames].

    Codes past the scale, which no encoder writes, stand for its end.
    """
    ranges = torch.tensor(SINUSOID_RANGES_HZ, device=codes.device)[: codes.shape[1]]
    low, high = ranges[:, :1], ranges[:, 1:]
    step = (codes.clamp(1, N_FREQUENCIES) - 0.5) / N_FREQUENCIES
    return torch.where(codes > 0, low * (high / low) ** step, torch.zeros_like(step))


def sinusoid(hertz: Tensor, frame_index: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return a sinusoid of amplitude 1, [batch, frames * hop_length].

    Args:
        hertz: Frequency in each frame, 0 for none, [batch, frames]; what stands there then doesn't matter.
        frame_index: Number of each item's first frame, int64 [batch].
        hop_length: Samples per frame.
        sample_rate: In Hz.
    """
    n_frames, frame_s = hertz.shape[1], hop_length / sample_rate
    left, right = _glide(hertz)
    advance = 0.5 * frame_s * (left + right)
    turns = functional.pad((advance % 1.0).cumsum(1), (1, 0)) % 1.0
    frame = torch.arange(n_frames, device=hertz.device)
    since = (frame_index[:, None] + frame) % SINUSOID_ANCHOR
    first = turns.gather(1, (frame - since).clamp(min=0))
    last = turns.gather(1, (frame - since + SINUSOID_ANCHOR).clamp(max=n_frames))
    bend = (last - first - (last - first).round()) / SINUSOID_ANCHOR
    begin = turns[:, :-1] - first - bend * since
    x = torch.arange(hop_length, device=hertz.device) / hop_length
    left, right, bend = left[..., None], right[..., None], bend[..., None]
    within = frame_s * x * (left + 0.5 * (right - left) * x) - bend * x
    return torch.sin(2 * math.pi * ((begin[..., None] + within) % 1.0)).flatten(1)


def mix(
    coefficients: Tensor, tones: Tensor, envelopes: tuple[Tensor, Tensor], wanted: Tensor, energies: BandEnergies
) -> Tensor:
    """Return coefficients of the same shape with tones in them, and what was in their bands quieter.

    Args:
        coefficients: [batch, frames * merge, size], their bands at their loudness.
        tones: Those of tones of amplitude 1, [tones, batch, frames * merge, size].
        envelopes: Log energies of the bands, [batch, frames, bands], as they are and as a band with a tone should have them.
        wanted: Frames that get them, bool [tones, batch, frames].
        energies: Of the model.
    """
    had, loudness = (torch.pow(10.0, 2 * envelope) * energies.widths for envelope in envelopes)
    own = torch.stack([energies.power(tone) * energies.widths for tone in tones])
    counted = (own > COUNTED * own.sum(-1, keepdim=True)) & wanted[..., None]
    shared = (loudness / counted.sum(0).clamp(min=1)).expand_as(own)
    nearest = own.argmax(-1, keepdim=True)
    power = (shared * counted).sum(-1) / (own * counted).sum(-1).clamp(min=1e-9)
    power = torch.minimum(power, (shared.gather(-1, nearest) / own.gather(-1, nearest).clamp(min=1e-9))[..., 0])
    power = torch.where(wanted, PURE * power, torch.zeros_like(power))[..., None]
    left = (1 - (power * own).sum(0) / had.clamp(min=1e-30)).clamp(min=1 - PURE).sqrt() @ energies.spread
    mixed = coefficients * left.repeat_interleave(energies.merge, 1)
    return mixed + (tones * power.sqrt().repeat_interleave(energies.merge, 2)).sum(0)


def _glide(hertz: Tensor) -> tuple[Tensor, Tensor]:
    """Return frequencies at the beginning and at the end of each frame, [batch, frames]; a tone's reach one frame past it."""
    before, after = functional.pad(hertz[:, :-1], (1, 0)), functional.pad(hertz[:, 1:], (0, 1))
    held = torch.where(hertz > 0, hertz, torch.where(after > 0, after, before))
    left, right = held.clone(), held.clone()
    one, other = held[:, :-1], held[:, 1:]
    linked = (one - other).abs() < LINKED * torch.minimum(one, other)
    middle = 0.5 * (one + other)
    right[:, :-1] = torch.where(linked, middle, one)
    left[:, 1:] = torch.where(linked, middle, other)
    return left, right
