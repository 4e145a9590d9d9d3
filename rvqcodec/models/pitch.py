"""What is between the harmonics of a decoded voice or tone is mostly quantization noise: a comb filter at the pitch takes some of it away.

Each 5 ms of the decoded wave are averaged with what lies one period before and one after, as far as the wave repeats itself there.
Only below 2.6 kHz, where codes carry the wave itself. No bit says anything of it: pitch and trust are measured on the decoded wave.

Source: Chen and Gersho 1995 (adaptive postfilters); Medan, Yair and Chazan 1991 (normalised correlation of neighbouring periods).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.config import PITCH_PIECES as PIECES
from rvqcodec.models.config import PITCH_RATE as RATE
from rvqcodec.models.config import CodecConfig

CUTOFF_HZ, SIDE_TAPS = 3_000.0, 8
VOICE_HZ, VOICE_TAPS = (60.0, 1_000.0), 129
SHORTEST, LONGEST = RATE // 400, RATE // 65
WINDOW = RATE * 30 // 1000
FRACTION_TAPS = 8
TRUSTED = 0.5
"""Correlation from which on the wave counts as repeating itself."""
AS_GOOD = 0.85
"""Share of the best correlation that a half, a third or a quarter of its period needs to be preferred."""


class PitchFilter(nn.Module):
    """Comb filter of a calibrated model, as strong as its number of layers needs."""

    strength: Tensor
    low_pass: Tensor
    voice: Tensor
    spread: Tensor
    fade: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        strengths = torch.tensor((0, *config.pitch_strengths)) / 100
        self.register_buffer("strength", strengths if config.pitch_strengths else torch.empty(0), persistent=False)
        if not config.pitch_strengths:
            return
        factor = config.sample_rate // RATE
        self.factor, self.hop = factor, config.hop_length // factor // PIECES
        low_pass = windowed_sinc(CUTOFF_HZ / config.sample_rate, 2 * SIDE_TAPS * factor + 1)
        voice = windowed_sinc(VOICE_HZ[1] / RATE, VOICE_TAPS) - windowed_sinc(VOICE_HZ[0] / RATE, VOICE_TAPS)
        phases = functional.pad(low_pass, (factor - 1, 0)).unfold(0, factor, factor)
        self.register_buffer("low_pass", low_pass[None, None], persistent=False)
        shifted = [functional.pad(voice, (place, self.hop - 1 - place)) for place in range(self.hop)]
        self.register_buffer("voice", torch.stack(shifted)[:, None], persistent=False)
        self.register_buffer("spread", factor * phases.flip(1).T[:, None].contiguous(), persistent=False)
        self.register_buffer("fade", torch.hann_window(2 * self.hop), persistent=False)

    @property
    def calibrated(self) -> bool:
        """Whether there is a strength for each number of layers."""
        return len(self.strength) > 0

    def forward(self, wave: Tensor, n_layers: Tensor, sounding: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what to add to a decoded wave for less noise between its harmonics, and how well it repeats itself at its pitch.

        Args:
            wave: [batch, frames * hop_length].
            n_layers: int64 [batch, frames].
            sounding: Frames that aren't silent, bool [batch, frames]; all when absent.

        Returns:
            The change, of the wave's shape, and the mean correlation of neighbouring periods, [batch, frames].
        """
        strength = self.strength[n_layers]
        return self.change(wave, strength if sounding is None else strength * sounding)

    def change(self, wave: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, with a strength of 0 to 1 for each frame, [batch, frames]."""
        side = self.low_pass.shape[-1] // 2
        low = functional.conv1d(functional.pad(wave, (side, side))[:, None], self.low_pass, stride=self.factor)[:, 0]
        period, correlation = self.pitch(low)
        trust = ((correlation - TRUSTED) / (1 - TRUSTED)).clamp(0.0, 1.0)
        change = self._comb(low, period, trust * strength.repeat_interleave(PIECES, 1))
        phases = functional.conv1d(change[:, None], self.spread, padding=SIDE_TAPS)
        return phases.transpose(1, 2).flatten(1), correlation.unflatten(1, (-1, PIECES)).mean(-1)

    def pitch(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """Return the period in samples and the correlation over it, both [batch, pieces], of a wave [batch, n] at 8 kHz."""
        found = self._correlations(self._voice(low))
        best, place = found.max(1, keepdim=True)
        near, places = functional.max_pool1d(found.transpose(1, 2).flatten(0, 1), 3, 1, 1, return_indices=True)
        near, places = (x.unflatten(0, (len(low), -1)).transpose(1, 2) for x in (near, places))
        chosen = place
        for part in (4, 3, 2):
            shorter = torch.round((place + SHORTEST) / part).long() - SHORTEST
            possible, shorter = shorter >= 0, shorter.clamp(min=0)
            better = possible & (near.gather(1, shorter) > AS_GOOD * best)
            chosen = torch.where(better, places.gather(1, shorter), chosen)
        left, middle, right = (found.gather(1, (chosen + d).clamp(0, found.shape[1] - 1)) for d in (-1, 0, 1))
        bend = (left - 2 * middle + right).clamp(max=-1e-6)
        period = chosen + SHORTEST + ((left - right) / (2 * bend)).clamp(-0.5, 0.5)
        return period[:, 0], middle[:, 0]

    def _voice(self, low: Tensor) -> Tensor:
        """Return the part of a wave [batch, n] at 8 kHz where pitches lie; a piece at once, which is ten times faster."""
        side = VOICE_TAPS // 2
        pieces = functional.conv1d(functional.pad(low, (side, side))[:, None], self.voice, stride=self.hop)
        return pieces.transpose(1, 2).flatten(1)

    def _correlations(self, voice: Tensor) -> Tensor:
        """Return the normalised correlation of the 30 ms before and after the middle of each piece, [batch, periods, pieces]."""
        n_pieces, pad = voice.shape[1] // self.hop, WINDOW // 2 + LONGEST
        padded = functional.pad(voice, (pad, pad))
        power = functional.avg_pool1d(padded.square()[:, None], WINDOW, 1)[:, 0] + 1e-9
        blocks = WINDOW // self.hop
        rows = []
        for period in range(SHORTEST, LONGEST + 1):
            first = pad + self.hop // 2 - period // 2 - WINDOW // 2
            last = first + (n_pieces - 1 + blocks) * self.hop
            products = padded[:, first:last] * padded[:, first + period : last + period]
            sums = products.unflatten(1, (-1, self.hop)).sum(-1).unfold(1, blocks, 1).sum(-1) / WINDOW
            starts = slice(first, first + n_pieces * self.hop, self.hop)
            others = slice(first + period, first + period + n_pieces * self.hop, self.hop)
            rows.append(sums * torch.rsqrt(power[:, starts] * power[:, others]))
        return torch.stack(rows, 1)

    def _comb(self, low: Tensor, period: Tensor, gain: Tensor) -> Tensor:
        """Return what to add to a wave [batch, n] at 8 kHz."""
        pad = LONGEST + 2 * self.hop + FRACTION_TAPS
        padded = functional.pad(low, (pad, pad))
        starts = pad + torch.arange(period.shape[1], device=low.device) * self.hop - self.hop // 2
        here = _segments(padded, starts.expand(period.shape), torch.zeros_like(period), 2 * self.hop)
        around = [_segments(padded, starts, shift, 2 * self.hop) for shift in (-period, period)]
        pieces = (0.5 * (around[0] + around[1]) - here) * gain[..., None] * self.fade
        early, late = pieces.split(self.hop, -1)
        whole = functional.pad(early, (0, 0, 0, 1)) + functional.pad(late, (0, 0, 1, 0))
        return whole.flatten(1)[:, self.hop // 2 :][:, : low.shape[1]]


def _segments(padded: Tensor, starts: Tensor, shift: Tensor, size: int) -> Tensor:
    """Return segments [batch, pieces, size] of waves [batch, n] from `starts` plus a `shift` that isn't whole, both [batch, pieces]."""
    whole = shift.floor()
    offset = torch.arange(FRACTION_TAPS, device=padded.device) - (FRACTION_TAPS // 2 - 1)
    distance = offset - (shift - whole)[..., None]
    taps = torch.sinc(distance) * torch.cos(math.pi / 2 * distance / (FRACTION_TAPS // 2)).square()
    first = starts + whole.long() + offset[0]
    places = first[..., None] + torch.arange(size + FRACTION_TAPS - 1, device=padded.device)
    found = padded.gather(1, places.flatten(1)).unflatten(1, (first.shape[1], -1))
    parts = [taps[..., tap, None] * found[..., tap : tap + size] for tap in range(FRACTION_TAPS)]
    return torch.stack(parts).sum(0)


def windowed_sinc(cutoff: float, n_taps: int) -> Tensor:
    """Return a low-pass filter [n_taps] with a Hamming window.

    Args:
        cutoff: Over the sample rate.
        n_taps: An odd number.
    """
    time = torch.arange(n_taps, dtype=torch.float64, device="cpu") - n_taps // 2
    taps = torch.sinc(2 * cutoff * time) * torch.hamming_window(n_taps, False, dtype=torch.float64, device="cpu")
    return (taps / taps.sum()).float()
