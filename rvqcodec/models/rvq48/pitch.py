"""Pitch analysis: where a wave repeats itself, and what lies one period away; the encoder and the decoder's chain share it.

The period of each 5 ms is that of the best normalised correlation of neighbouring periods, at 8 kHz below 1 kHz, halves, thirds and
quarters of it preferred where they are about as good.

Source: Chen and Gersho 1995 (adaptive postfilters); Medan, Yair and Chazan 1991 (normalised correlation of neighbouring periods).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import PITCH_PIECES as PIECES
from rvqcodec.models.rvq48.config import PITCH_RATE as RATE
from rvqcodec.models.rvq48.config import Rvq48Config

CUTOFF_HZ, SIDE_TAPS = 3_000.0, 8
VOICE_HZ, VOICE_TAPS = (60.0, 1_000.0), 129
SHORTEST, LONGEST = RATE // 400, RATE // 65
PERIODS = range(SHORTEST, LONGEST + 1)
WINDOW = RATE * 30 // 1000
FRACTION_TAPS = 8
TRUSTED = 0.5
"""Correlation from which on the wave counts as repeating itself."""
AS_GOOD = 0.85
"""Share of the best correlation that a half, a third or a quarter of its period needs to be preferred."""


@dataclass(frozen=True, slots=True)
class PitchAnalysis:
    """Where a wave repeats itself.

    Args:
        low: The wave at 8 kHz, [batch, n].
        period: Samples of it, [batch, pieces].
        correlation: Of what lies a period apart, [batch, pieces].
    """

    low: Tensor
    period: Tensor
    correlation: Tensor

    @property
    def trust(self) -> Tensor:
        """How far the wave counts as repeating itself, 0 to 1, [batch, pieces]."""
        return ((self.correlation - TRUSTED) / (1 - TRUSTED)).clamp(0.0, 1.0)


class PitchAnalyser(nn.Module):
    """Finds the pitch of waves [batch, frames * hop_length]; it has nothing to learn."""

    low_pass: Tensor
    voice: Tensor
    spread: Tensor
    fade: Tensor

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
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

    def forward(self, wave: Tensor) -> PitchAnalysis:
        """Return the pitch analysis of waves [batch, frames * hop_length]."""
        side = self.low_pass.shape[-1] // 2
        low = functional.conv1d(functional.pad(wave, (side, side))[:, None], self.low_pass, stride=self.factor)[:, 0]
        return PitchAnalysis(low, *self.periods(low))

    def neighbours(self, analysis: PitchAnalysis) -> tuple[Tensor, Tensor]:
        """Return what lies one period before and one after each place of a decoded wave, below 3 kHz; two waves of its shape."""
        before, after = (self._spread_out(self._pieces(analysis, periods)) for periods in (-1, 1))
        return before, after

    def periods(self, low: Tensor) -> tuple[Tensor, Tensor]:
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
        padded, blocks = functional.pad(voice, (pad, pad)), WINDOW // self.hop
        power = self._power(padded)
        firsts = [pad + self.hop // 2 - period // 2 - WINDOW // 2 for period in PERIODS]
        length, sums = (n_pieces - 1 + blocks) * self.hop, []
        for first, period in zip(firsts, PERIODS, strict=True):
            products = padded[:, first : first + length] * padded[:, first + period : first + period + length]
            sums.append(products.unflatten(1, (-1, self.hop)).sum(-1))
        hops = torch.stack(sums, 1)
        shared = torch.stack([hops[..., k : n_pieces + k] for k in range(blocks)]).sum(0) / WINDOW
        places = torch.tensor(firsts, device=voice.device)[:, None]
        starts = places + torch.arange(n_pieces, device=voice.device) * self.hop
        others = starts + torch.tensor(PERIODS, device=voice.device)[:, None]
        return shared * torch.rsqrt(power[:, starts] * power[:, others])

    def _power(self, wave: Tensor) -> Tensor:
        """Return the mean square of the 30 ms from each sample of a wave [batch, n] on, in two steps, which is five times faster."""
        hops = functional.avg_pool1d(wave.square()[:, None], self.hop, 1)[:, 0]
        n = wave.shape[1] - WINDOW + 1
        return torch.stack([hops[:, k : n + k] for k in range(0, WINDOW, self.hop)]).mean(0) + 1e-9

    def _pieces(self, analysis: PitchAnalysis, periods: int) -> Tensor:
        """Return pieces [batch, pieces, 2 hop] at 8 kHz of what lies so many periods away."""
        pad, shift = LONGEST + 2 * self.hop + FRACTION_TAPS, periods * analysis.period
        starts = pad + torch.arange(shift.shape[1], device=shift.device) * self.hop - self.hop // 2
        return _segments(functional.pad(analysis.low, (pad, pad)), starts.expand(shift.shape), shift, 2 * self.hop)

    def _spread_out(self, pieces: Tensor) -> Tensor:
        """Return the wave at the model's rate of pieces that overlap by half."""
        early, late = (pieces * self.fade).split(self.hop, -1)
        whole = functional.pad(early, (0, 0, 0, 1)) + functional.pad(late, (0, 0, 1, 0))
        low = whole.flatten(1)[:, self.hop // 2 :][:, : pieces.shape[1] * self.hop]
        return functional.conv1d(low[:, None], self.spread, padding=SIDE_TAPS).transpose(1, 2).flatten(1)


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
