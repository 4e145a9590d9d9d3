"""Sinusoidal analysis: peak picking and tracking of isolated sinusoids, such as bird song, bells or a flute's partials.

In each frame and layer the candidate is the strongest spectral peak of the layer's range that contains most of the energy of its
neighbourhood. It is coded if it continues for at least 80 ms with small frequency steps; in voiced frames the steps must be much smaller,
since harmonics of a voice gain nothing from it.

Source: McAulay and Quatieri 1986, Serra and Smith 1990 (peak picking and continuation of partials).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from rvqcodec.models.rvq48.config import MIN_SINUSOID_FRAMES, N_FREQUENCIES, SINUSOID_RANGES_HZ

WINDOW_S = 0.0213
"""Length of the analysis window in seconds."""
MIN_HZ, MAX_HZ = 500.0, 15_600.0
"""Range of the spectrum that is analysed."""
PEAK_HZ, NEIGHBOURHOOD, NEIGHBOURHOOD_HZ = 70.0, 0.12, 400.0
"""Half-width of a peak; half-width of its neighbourhood relative to its frequency, and its minimum."""
MIN_TONALITY, MIN_RELATIVE_ENERGY = 0.55, 10**-4.5
"""Minimum energy of a peak relative to its neighbourhood, and to its frame."""
MIN_ENERGY = 1e-4
MAX_STEP, MAX_STEP_VOICED = 0.08, 0.01
"""Maximum step of the log frequency from frame to frame; the same in voiced frames."""
UNVOICED = 0.5
"""Unvoiced degree below which a frame is voiced."""


def find_sinusoids(wave: Tensor, unvoiced: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Return the codes of the sinusoid layers, 0: none, int64 [batch, layers, frames].

    Args:
        wave: Levelled, float32 [batch, frames * hop_length].
        unvoiced: Degree to which frames are unvoiced, 0 to 1, [batch, frames].
        hop_length: Samples per frame.
        sample_rate: In Hz.
    """
    power, first, hz = _power(wave, hop_length, sample_rate)
    bins = torch.arange(first, first + power.shape[-1], device=wave.device)
    sums = functional.pad(power.cumsum(-1), (1, 0))
    peak_energy = _energy_within(sums, torch.full_like(bins, round(PEAK_HZ / hz)))
    neighbourhood = _energy_within(sums, (bins * NEIGHBOURHOOD).clamp(min=NEIGHBOURHOOD_HZ / hz).round().long())
    peak = power >= functional.max_pool1d(power, 3, 1, 1)
    threshold = torch.maximum(MIN_TONALITY * neighbourhood, MIN_RELATIVE_ENERGY * sums[..., -1:]).clamp(min=MIN_ENERGY)
    tonal = peak & (peak_energy > threshold)
    max_step = torch.where(unvoiced < UNVOICED, MAX_STEP_VOICED, torch.full_like(power[..., 0], MAX_STEP))
    layers = []
    for low, high in SINUSOID_RANGES_HZ:
        start, end = (math.ceil(edge / hz) - first for edge in (low, high))
        best, peak_bin = (peak_energy * tonal)[..., start:end].max(-1)
        log_hz = torch.log((first + start + peak_bin + _parabolic_offset(power, start + peak_bin)) * hz)
        step = (
            ((log_hz - math.log(low)) * (N_FREQUENCIES / math.log(high / low)))
            .floor()
            .long()
            .clamp(0, N_FREQUENCIES - 1)
        )
        layers.append((1 + step) * _tracks(log_hz, best > 0, max_step))
    return torch.stack(layers, 1)


def _power(wave: Tensor, hop_length: int, sample_rate: int) -> tuple[Tensor, int, float]:
    """Return the power spectrum of each frame from MIN_HZ to MAX_HZ, [batch, frames, bins], the index of its first bin, and Hz per bin."""
    window = round(WINDOW_S * sample_rate) // 2 * 2
    size = 2 ** math.ceil(math.log2(window) + 1)
    before = (window - hop_length) // 2
    frames = functional.pad(wave, (before, window - hop_length - before)).unfold(-1, window, hop_length)
    first, last = (int(edge * size / sample_rate) for edge in (MIN_HZ, MAX_HZ))
    spectrum = torch.fft.rfft(frames * torch.hann_window(window, device=wave.device), size)[..., first:last]
    return torch.view_as_real(spectrum).square().sum(-1), first, sample_rate / size


def _energy_within(sums: Tensor, width: Tensor) -> Tensor:
    """Return the energy within `width` [bins] bins of each bin, from cumulative sums over bins, [batch, frames, 1 + bins]."""
    n_bins = len(width)
    bins = torch.arange(n_bins, device=sums.device)
    return sums[..., (bins + width + 1).clamp(max=n_bins)] - sums[..., (bins - width).clamp(min=0)]


def _parabolic_offset(power: Tensor, peak_bin: Tensor) -> Tensor:
    """Return the offset in bins from a peak's bin [batch, frames] to the vertex of a parabola through the log power around it."""
    left, middle, right = (torch.log(power.gather(-1, (peak_bin + d)[..., None])[..., 0] + 1e-20) for d in (-1, 0, 1))
    return ((left - right) / (2 * (left - 2 * middle + right)).clamp(max=-1e-6)).clamp(-0.5, 0.5)


def _tracks(log_hz: Tensor, present: Tensor, max_step: Tensor) -> Tensor:
    """Return whether each frame belongs to a track of at least MIN_SINUSOID_FRAMES frames, bool [batch, frames].

    Args:
        log_hz: Log frequency of the peaks, [batch, frames].
        present: Frames with a peak, bool [batch, frames].
        max_step: Maximum step of the log frequency, [batch, frames].
    """
    steps = (log_hz[:, 1:] - log_hz[:, :-1]).abs()
    linked = present[:, 1:] & present[:, :-1] & (steps < torch.minimum(max_step[:, 1:], max_step[:, :-1]))
    links = functional.pad(linked.float(), (MIN_SINUSOID_FRAMES - 1, MIN_SINUSOID_FRAMES - 1))[:, None]
    runs = -functional.max_pool1d(-links, MIN_SINUSOID_FRAMES - 1, 1)
    return functional.max_pool1d(runs, MIN_SINUSOID_FRAMES, 1)[:, 0] > 0
