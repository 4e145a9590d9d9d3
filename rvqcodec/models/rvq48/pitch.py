"""Pitch analysis: open-loop lag search by normalised cross-correlation, and long-term prediction; shared by encoder and postfilter.

For each subframe of 5 ms the lag maximises the normalised correlation of two adjacent pitch periods of the signal at 8 kHz, band-limited
to 60 to 1000 Hz. A half, third or quarter of the lag is preferred where its correlation is nearly as high, against octave errors.

Source: Chen and Gersho 1995 (adaptive postfilters); Medan, Yair and Chazan 1991 (normalised correlation of neighbouring periods).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import PITCH_RATE as RATE
from rvqcodec.models.rvq48.config import PITCH_SUBFRAMES as SUBFRAMES
from rvqcodec.models.rvq48.config import Rvq48Config

CUTOFF_HZ, SIDE_TAPS = 3_000.0, 8
PITCH_BAND_HZ, PITCH_BAND_TAPS = (60.0, 1_000.0), 129
MIN_LAG, MAX_LAG = RATE // 400, RATE // 65
LAGS = range(MIN_LAG, MAX_LAG + 1)
WINDOW = RATE * 30 // 1000
FRACTION_TAPS = 8
VOICED_ABOVE = 0.5
"""Correlation above which the voicing is positive."""
SUBMULTIPLE_RATIO = 0.85
"""Ratio to the maximum correlation above which a submultiple of its lag is preferred."""


@dataclass(frozen=True, slots=True)
class PitchAnalysis:
    """The pitch of a wave.

    Args:
        low: The wave at 8 kHz, [batch, n].
        lag: Pitch lag in samples at 8 kHz, fractional, [batch, subframes].
        correlation: Normalised correlation of adjacent pitch periods, -1 to 1, [batch, subframes].
    """

    low: Tensor
    lag: Tensor
    correlation: Tensor

    @property
    def voicing(self) -> Tensor:
        """Degree of voicing, 0 to 1, [batch, subframes]."""
        return ((self.correlation - VOICED_ABOVE) / (1 - VOICED_ABOVE)).clamp(0.0, 1.0)


class PitchAnalyser(nn.Module):
    """Estimates the pitch of waves; it has no trainable parameters."""

    low_pass: Tensor
    band_passed: Tensor
    interpolation: Tensor
    window: Tensor

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        factor = config.sample_rate // RATE
        self.factor, self.hop = factor, config.hop_length // factor // SUBFRAMES
        low_pass = windowed_sinc(CUTOFF_HZ / config.sample_rate, 2 * SIDE_TAPS * factor + 1)
        band_passed = windowed_sinc(PITCH_BAND_HZ[1] / RATE, PITCH_BAND_TAPS) - windowed_sinc(
            PITCH_BAND_HZ[0] / RATE, PITCH_BAND_TAPS
        )
        phases = functional.pad(low_pass, (factor - 1, 0)).unfold(0, factor, factor)
        self.register_buffer("low_pass", low_pass[None, None], persistent=False)
        shifted = [functional.pad(band_passed, (index, self.hop - 1 - index)) for index in range(self.hop)]
        self.register_buffer("band_passed", torch.stack(shifted)[:, None], persistent=False)
        self.register_buffer("interpolation", factor * phases.flip(1).T[:, None].contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(2 * self.hop), persistent=False)

    def forward(self, wave: Tensor) -> PitchAnalysis:
        """Return the pitch analysis of waves, float32 [batch, frames * hop_length]."""
        side = self.low_pass.shape[-1] // 2
        low = functional.conv1d(functional.pad(wave, (side, side))[:, None], self.low_pass, stride=self.factor)[:, 0]
        return PitchAnalysis(low, *self.periods(low))

    def long_term_predictions(self, analysis: PitchAnalysis) -> tuple[Tensor, Tensor]:
        """Return the analysed wave delayed and advanced by the local pitch lag, low-passed at 3 kHz, both [batch, frames * hop_length]."""
        before, after = (self._overlap_add(self._shifted_subframes(analysis, periods)) for periods in (-1, 1))
        return before, after

    def periods(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interpolated lag in samples and its correlation, both [batch, subframes], of a wave [batch, n] at 8 kHz."""
        found = self._correlations(self._band_passed(low))
        best, index = found.max(1, keepdim=True)
        near, indices = functional.max_pool1d(found.transpose(1, 2).flatten(0, 1), 3, 1, 1, return_indices=True)
        near, indices = (x.unflatten(0, (len(low), -1)).transpose(1, 2) for x in (near, indices))
        chosen = index
        for part in (4, 3, 2):
            shorter = torch.round((index + MIN_LAG) / part).long() - MIN_LAG
            possible, shorter = shorter >= 0, shorter.clamp(min=0)
            better = possible & (near.gather(1, shorter) > SUBMULTIPLE_RATIO * best)
            chosen = torch.where(better, indices.gather(1, shorter), chosen)
        left, middle, right = (found.gather(1, (chosen + d).clamp(0, found.shape[1] - 1)) for d in (-1, 0, 1))
        bend = (left - 2 * middle + right).clamp(max=-1e-6)
        period = chosen + MIN_LAG + ((left - right) / (2 * bend)).clamp(-0.5, 0.5)
        return period[:, 0], middle[:, 0]

    def _band_passed(self, low: Tensor) -> Tensor:
        """Return a wave [batch, n] at 8 kHz, band-passed to `PITCH_BAND_HZ`; a subframe per step, which is ten times faster."""
        side = PITCH_BAND_TAPS // 2
        subframes = functional.conv1d(functional.pad(low, (side, side))[:, None], self.band_passed, stride=self.hop)
        return subframes.transpose(1, 2).flatten(1)

    def _correlations(self, band_passed: Tensor) -> Tensor:
        """Return the normalised correlation of the 30 ms around each subframe at every lag, [batch, lags, subframes]."""
        n_subframes, pad = band_passed.shape[1] // self.hop, WINDOW // 2 + MAX_LAG
        padded, blocks = functional.pad(band_passed, (pad, pad)), WINDOW // self.hop
        power = self._power(padded)
        firsts = [pad + self.hop // 2 - period // 2 - WINDOW // 2 for period in LAGS]
        length, sums = (n_subframes - 1 + blocks) * self.hop, []
        for first, period in zip(firsts, LAGS, strict=True):
            products = padded[:, first : first + length] * padded[:, first + period : first + period + length]
            sums.append(products.unflatten(1, (-1, self.hop)).sum(-1))
        hops = torch.stack(sums, 1)
        shared = torch.stack([hops[..., k : n_subframes + k] for k in range(blocks)]).sum(0) / WINDOW
        indices = torch.tensor(firsts, device=band_passed.device)[:, None]
        starts = indices + torch.arange(n_subframes, device=band_passed.device) * self.hop
        others = starts + torch.tensor(LAGS, device=band_passed.device)[:, None]
        return shared * torch.rsqrt(power[:, starts] * power[:, others])

    def _power(self, wave: Tensor) -> Tensor:
        """Return the mean square of the 30 ms that start at each sample of a wave [batch, n]; in two steps, which is five times faster."""
        hops = functional.avg_pool1d(wave.square()[:, None], self.hop, 1)[:, 0]
        n = wave.shape[1] - WINDOW + 1
        return torch.stack([hops[:, k : n + k] for k in range(0, WINDOW, self.hop)]).mean(0) + 1e-9

    def _shifted_subframes(self, analysis: PitchAnalysis, periods: int) -> Tensor:
        """Return overlapping subframes of the wave at 8 kHz, shifted by `periods` pitch lags, [batch, subframes, 2 hop]."""
        pad, shift = MAX_LAG + 2 * self.hop + FRACTION_TAPS, periods * analysis.lag
        starts = pad + torch.arange(shift.shape[1], device=shift.device) * self.hop - self.hop // 2
        return _fractionally_delayed(
            functional.pad(analysis.low, (pad, pad)), starts.expand(shift.shape), shift, 2 * self.hop
        )

    def _overlap_add(self, subframes: Tensor) -> Tensor:
        """Return the wave at the model's rate by overlap-add of half-overlapping subframes and interpolation."""
        early, late = (subframes * self.window).split(self.hop, -1)
        whole = functional.pad(early, (0, 0, 0, 1)) + functional.pad(late, (0, 0, 1, 0))
        low = whole.flatten(1)[:, self.hop // 2 :][:, : subframes.shape[1] * self.hop]
        return functional.conv1d(low[:, None], self.interpolation, padding=SIDE_TAPS).transpose(1, 2).flatten(1)


def _fractionally_delayed(padded: Tensor, starts: Tensor, shift: Tensor, size: int) -> Tensor:
    """Return segments [batch, subframes, size] of waves [batch, n] from `starts` + `shift` [batch, subframes] on, a fractional delay."""
    whole = shift.floor()
    offset = torch.arange(FRACTION_TAPS, device=padded.device) - (FRACTION_TAPS // 2 - 1)
    distance = offset - (shift - whole)[..., None]
    taps = torch.sinc(distance) * torch.cos(math.pi / 2 * distance / (FRACTION_TAPS // 2)).square()
    first = starts + whole.long() + offset[0]
    indices = first[..., None] + torch.arange(size + FRACTION_TAPS - 1, device=padded.device)
    found = padded.gather(1, indices.flatten(1)).unflatten(1, (first.shape[1], -1))
    parts = [taps[..., tap, None] * found[..., tap : tap + size] for tap in range(FRACTION_TAPS)]
    return torch.stack(parts).sum(0)


def windowed_sinc(cutoff: float, n_taps: int) -> Tensor:
    """Return a linear-phase low-pass filter, float32 [n_taps], by the window method (Hamming).

    Args:
        cutoff: As a fraction of the sample rate.
        n_taps: Odd.
    """
    time = torch.arange(n_taps, dtype=torch.float64, device="cpu") - n_taps // 2
    taps = torch.sinc(2 * cutoff * time) * torch.hamming_window(n_taps, False, dtype=torch.float64, device="cpu")
    return (taps / taps.sum()).float()
