"""The search for lone tones, such as bird song, bells, or the partials of a flute: codes of the layers of sinusoids.

A tone is the strongest peak of its layer's range that holds most of the energy around it, goes on for 80 ms and moves slowly: very slowly
where there is a pitch, as the harmonics of a voice gain nothing.

Source: Serra and Smith 1990 (peaks that go on from frame to frame).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from rvqcodec.models.rvq48.config import N_FREQUENCIES, SINUSOID_RANGES_HZ, SINUSOID_RUN

WINDOW_S = 0.0213
"""What a frame is judged by."""
LOWEST_HZ, HIGHEST_HZ = 500.0, 15_600.0
"""Of the energy that tones are compared with."""
NEAR_HZ, AROUND, AROUND_HZ = 70.0, 0.12, 400.0
"""A tone's energy lies that near; around it counts what lies within a share of its frequency, but at least so far."""
SHARE, LEVEL = 0.55, 10**-4.5
"""A tone's least share of the energy around it, and of the energy of its frame."""
SILENCE = 1e-4
MOVE, MOVE_VOICED = 0.08, 0.01
"""How far a tone may move from frame to frame, as logarithm of its frequency; and where there is a pitch."""
UNVOICED = 0.5
"""Unvoiced share below which a frame counts as voiced."""


def find_sinusoids(wave: Tensor, unvoiced: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return the codes of the layers of sinusoids, 0 for none, int64 [batch, layers, frames].

    Args:
        wave: Levelled, [batch, frames * hop_length].
        unvoiced: How far frames are unvoiced, 0 to 1, [batch, frames].
        hop_length: Samples per frame.
        sample_rate: In Hz.
    """
    power, first, hz = _power(wave, hop_length, sample_rate)
    places = torch.arange(first, first + power.shape[-1], device=wave.device)
    sums = functional.pad(power.cumsum(-1), (1, 0))
    near = _within(sums, torch.full_like(places, round(NEAR_HZ / hz)))
    around = _within(sums, (places * AROUND).clamp(min=AROUND_HZ / hz).round().long())
    peak = power >= functional.max_pool1d(power, 3, 1, 1)
    tonal = peak & (near > SHARE * around) & (near > LEVEL * sums[..., -1:]) & (near > SILENCE)
    move = torch.where(unvoiced < UNVOICED, MOVE_VOICED, torch.full_like(power[..., 0], MOVE))
    layers = []
    for low, high in SINUSOID_RANGES_HZ:
        start, end = (math.ceil(edge / hz) - first for edge in (low, high))
        best, place = (near * tonal)[..., start:end].max(-1)
        height = torch.log((first + start + place + _offset(power, start + place)) * hz)
        step = (
            ((height - math.log(low)) * (N_FREQUENCIES / math.log(high / low)))
            .floor()
            .long()
            .clamp(0, N_FREQUENCIES - 1)
        )
        layers.append((1 + step) * _goes_on(height, best > 0, move))
    return torch.stack(layers, 1)


def _power(wave: Tensor, hop_length: int, sample_rate: int) -> tuple[Tensor, int, float]:
    """Return the power spectrum of each frame from LOWEST_HZ to HIGHEST_HZ, [batch, frames, bins], its first bin's number, and Hz a bin."""
    window = round(WINDOW_S * sample_rate) // 2 * 2
    size = 2 ** math.ceil(math.log2(window) + 1)
    before = (window - hop_length) // 2
    frames = functional.pad(wave, (before, window - hop_length - before)).unfold(-1, window, hop_length)
    first, last = (int(edge * size / sample_rate) for edge in (LOWEST_HZ, HIGHEST_HZ))
    spectrum = torch.fft.rfft(frames * torch.hann_window(window, device=wave.device), size)[..., first:last]
    return torch.view_as_real(spectrum).square().sum(-1), first, sample_rate / size


def _within(sums: Tensor, reach: Tensor) -> Tensor:
    """Return the energy up to `reach` [bins] bins away from each bin, from sums over bins [batch, frames, 1 + bins]."""
    n_bins = len(reach)
    places = torch.arange(n_bins, device=sums.device)
    return sums[..., (places + reach + 1).clamp(max=n_bins)] - sums[..., (places - reach).clamp(min=0)]


def _offset(power: Tensor, place: Tensor) -> Tensor:
    """Return how far from the bin `place` [batch, frames] the peak of a parabola through it and its neighbours lies, in bins."""
    left, middle, right = (torch.log(power.gather(-1, (place + d)[..., None])[..., 0] + 1e-20) for d in (-1, 0, 1))
    return ((left - right) / (2 * (left - 2 * middle + right)).clamp(max=-1e-6)).clamp(-0.5, 0.5)


def _goes_on(height: Tensor, sounds: Tensor, move: Tensor) -> Tensor:
    """Return which frames lie in a run of SINUSOID_RUN frames that all sound and move little, bool [batch, frames]."""
    steps = (height[:, 1:] - height[:, :-1]).abs()
    both = sounds[:, 1:] & sounds[:, :-1] & (steps < torch.minimum(move[:, 1:], move[:, :-1]))
    links = functional.pad(both.float(), (SINUSOID_RUN - 1, SINUSOID_RUN - 1))[:, None]
    whole = -functional.max_pool1d(-links, SINUSOID_RUN - 1, 1)
    return functional.max_pool1d(whole, SINUSOID_RUN, 1)[:, 0] > 0
