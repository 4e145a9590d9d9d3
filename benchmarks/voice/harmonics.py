"""Harmonic-to-valley depth: how far the partials of a voice stand out of what lies between them, dB, in voiced frames.

A hoarse or buzzing decoder fills the valleys, which measures of band energies don't hear. At the original's pitch noise gives about 0 dB;
at the decoded wave's own pitch, which forgives one that is slightly off, noise gives a few dB above 1 kHz, since the best of several
candidates is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from benchmarks.voice.audio import RATE, Wave, frames

BANDS_HZ = ((300, 1000), (1000, 2000), (2000, 3000), (3000, 4500))
FRAME_S, HOP_S = 0.05, 0.01
BINS = 16_384
PITCH_RATE = 8000
PITCH_HZ = (70, 400)
PITCH_BAND_HZ = (60, 900)
BAND_ORDER = 4
OCTAVE_FACTOR = 0.9  # a half or a third of the period is taken where its correlation is nearly as high
LEAST_CORRELATION, LEAST_LOUDNESS = 0.85, 0.1
SHIFTS = np.linspace(-0.02, 0.02, 17)
FIT_TO_HZ = 3000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pitch:
    """Pitch of each frame, Hz; not a number where a frame is unvoiced or quiet."""

    hz: Array

    def __len__(self) -> int:
        return len(self.hz)


def find_pitch(wave: Wave) -> Pitch:
    """Return the pitch of frames of 50 ms, 10 ms apart, by normalised autocorrelation below 900 Hz.

    Args:
        wave: float32 [n_samples], 48 kHz.
    """
    low = _band_passed(soxr.resample(wave.astype(np.float64), RATE, PITCH_RATE))
    size, hop = round(FRAME_S * PITCH_RATE), round(HOP_S * PITCH_RATE)
    framed = frames(low, size, hop)
    framed = framed - framed.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(framed, 1024, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, :size]
    correlation = correlation / (correlation[:, :1] + 1e-12) / np.maximum(1 - np.arange(size) / size, 0.1)
    loudness = framed.std(1)
    periods = np.array([_period(row) for row in correlation]).reshape(-1, 2)
    voiced = (periods[:, 1] >= LEAST_CORRELATION) & (loudness >= LEAST_LOUDNESS * loudness.max(initial=0))
    return Pitch(np.where(voiced, PITCH_RATE / periods[:, 0], np.nan))


def fit_pitch(wave: Wave, pitch: Pitch) -> Pitch:
    """Return the pitch within 2 % at which the partials below 3 kHz stand out most."""
    levels = _levels(wave)
    hz = [
        max(hertz * (1 + SHIFTS), key=lambda at: _depth(row, at, range(2, int(FIT_TO_HZ / at))))
        if hertz > 0
        else np.nan
        for row, hertz in zip(levels, pitch.hz, strict=False)
    ]
    return Pitch(np.array(hz))


def depths(wave: Wave, pitch: Pitch) -> Array:
    """Return the mean depth in each band of `BANDS_HZ`, dB; not a number where no frame has two partials there.

    Args:
        wave: float32 [n_samples], 48 kHz.
        pitch: Of this wave or of its original, as `fit_pitch` gives it.
    """
    found: list[list[float]] = [[] for _ in BANDS_HZ]
    for row, hertz in zip(_levels(wave), pitch.hz, strict=False):
        for band, (low, high) in zip(found, BANDS_HZ, strict=True):
            partials = range(int(np.ceil(low / hertz)), int(high / hertz)) if hertz > 0 else range(0)
            if len(partials) > 1:
                band.append(_depth(row, hertz, partials))
    return np.array([np.mean(band) if band else np.nan for band in found])


def _depth(levels: Array, hertz: float, partials: range) -> float:
    """Return the mean level at partials of a pitch, less that midway to the next ones."""
    places = np.array(partials)[:, None] + np.array([0, 0.5])
    bins = np.rint(places * (hertz * BINS / RATE)).astype(int)
    tops, valleys = levels[bins].T
    return float((tops - valleys).mean())


def _levels(wave: Wave) -> Array:
    framed = frames(wave, round(FRAME_S * RATE), round(HOP_S * RATE))
    spectrum = np.abs(np.fft.rfft(framed * np.hanning(framed.shape[1]), BINS, axis=1))
    return 20 * np.log10(spectrum + 1e-7)


def _period(correlation: Array) -> tuple[float, float]:
    """Return the period of a frame in samples, and the correlation there."""
    shortest, longest = PITCH_RATE // PITCH_HZ[1], PITCH_RATE // PITCH_HZ[0]
    best = shortest + int(correlation[shortest:longest].argmax())
    for part in (2, 3):
        near = round(best / part)
        around = correlation[near - 1 : near + 2]
        if near >= shortest and around.max() > OCTAVE_FACTOR * correlation[best]:
            best = near - 1 + int(around.argmax())
    left, middle, right = correlation[best - 1 : best + 2]
    offset = 0.5 * (left - right) / (left - 2 * middle + right + 1e-12)
    return best + float(np.clip(offset, -0.5, 0.5)), float(middle)


def _band_passed(wave: Array) -> Array:
    """Return a wave after a Butterworth band-pass forwards and backwards, so without delay."""
    low, high = PITCH_BAND_HZ
    size = 1 << (len(wave) + PITCH_RATE).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / PITCH_RATE)
    hertz[0] = 1e-3
    distance = (hertz**2 - low * high) / (hertz * (high - low))
    gain = 1 / (1 + distance ** (2 * BAND_ORDER))
    return np.fft.irfft(np.fft.rfft(wave, size) * gain, size)[: len(wave)]
