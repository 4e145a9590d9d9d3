"""Spectral fine structure: flatness against the original, and a comb that stands still in everything that was decoded."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from benchmarks.voice.audio import RATE, Wave, frames

SIZE = 2048
FLATNESS_HZ = (1000, 6000)
FLATNESS_LOUD = 1e-3
COMB_HZ = (7500, 15_000)
COMB_HOP, COMB_SMOOTH = 512, 65
COMB_FLOOR, COMB_QUIET_DB = 1e-4, -50
LEVEL = 0.08
FEWEST_FRAMES, FEWEST_CLIPS = 10, 6

Array = npt.NDArray[np.float64]


def flatness_db(wave: Wave) -> float:
    """Return the spectral flatness from 1 to 6 kHz, geometric by arithmetic mean of powers, dB: 0 flat, lower is more tonal.

    Mean over frames within 30 dB of the loudest one. White noise has about -2.5 dB, since a frame's bins differ.
    """
    powers = np.abs(np.fft.rfft(frames(wave, SIZE, SIZE // 2) * np.hanning(SIZE), axis=1)) ** 2 + 1e-12
    loudness = powers.sum(1)
    inside = powers[loudness > FLATNESS_LOUD * loudness.max(initial=0), _bins(*FLATNESS_HZ)]
    return float((10 * np.log10(np.exp(np.log(inside).mean(1)) / inside.mean(1))).mean()) if len(inside) else np.nan


def comb_pattern(wave: Wave) -> Array | None:
    """Return how levels differ from their surroundings from 7.5 to 15 kHz, dB [n_bins], mean over frames that have sound there.

    None where fewer than ten frames have.
    """
    levelled = wave * (LEVEL / (float(np.sqrt(np.mean(np.square(wave)))) or 1.0))
    framed = frames(np.pad(levelled, SIZE // 2), SIZE, COMB_HOP) * np.hanning(SIZE)
    levels = 20 * np.log10(np.abs(np.fft.rfft(framed, axis=1)) + COMB_FLOOR)
    inside = _bins(*COMB_HZ)
    levels = levels[levels[:, inside].mean(1) > COMB_QUIET_DB]
    if len(levels) < FEWEST_FRAMES:
        return None
    mean = levels.mean(0)
    around = np.convolve(mean, np.ones(COMB_SMOOTH) / COMB_SMOOTH, "same")
    return (mean - around)[inside]


def static_comb_db(patterns: Iterable[Array]) -> float:
    """Return the strength of the pattern that clips have in common, dB rms: many originals have about 0.05, a lattice of lines more.

    Not a number where fewer than six clips have sound there: too much of their own would be left.
    """
    known = list(patterns)
    return float(np.mean(known, axis=0).std()) if len(known) >= FEWEST_CLIPS else np.nan


def _bins(low_hz: float, high_hz: float) -> slice:
    """Return the bins from one frequency to below another."""
    return slice(int(np.ceil(low_hz * SIZE / RATE)), int(np.ceil(high_hz * SIZE / RATE)))
