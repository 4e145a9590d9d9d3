"""The measures of `listening`: one kind of defect each, pure functions of mono waves at 48 kHz."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RATE = 48_000
OCTAVES_HZ = (63, 125, 250, 500, 1000, 2000, 4000, 8000, 16_000)
FLOOR = 1e-20
EMPTY_DB = -100.0
ATTACK = 0.1

Wave = npt.NDArray[np.float64]


class ToneErrors(NamedTuple):
    """What became of a tone: its level less the original's, and all else relative to it, in dB."""

    level_db: float
    noise_to_tone_db: float


class Lines(NamedTuple):
    """Levels over their surroundings, in dB: the median below 3 kHz, the worst and where that is in Hz, and how many exceed 6 dB."""

    median_db: float
    worst_db: float
    worst_hz: int
    n_heard: int


class PreEcho(NamedTuple):
    """RMS 5 to 20 ms before an attack, in dB: relative to the original's there, and to the attack's first 5 ms."""

    excess_db: float
    to_attack_db: float


def decibels(power: npt.ArrayLike) -> Wave:
    """Return powers in dB, -200 dB at the least."""
    level: Wave = 10 * np.log10(np.asarray(power, dtype=np.float64) + FLOOR)
    return level


def level_db(wave: Wave) -> float:
    """Return the RMS in dB, 0 at 1."""
    return float(decibels(np.mean(np.square(wave))))


def spectra(wave: Wave, size: int, hop: int) -> Wave:
    """Return power spectra [pieces, size // 2 + 1], Hann window; the bins of one add up to its mean square."""
    window = np.hanning(size + 1)[:-1]
    pieces = np.lib.stride_tricks.sliding_window_view(wave, size)[::hop] * window
    power: Wave = np.square(np.abs(np.fft.rfft(pieces))) * (2 / (size * np.square(window).sum()))
    return power


def lines(wave: Wave, multiples_hz: npt.NDArray[np.int64]) -> Lines:
    """Return how far the spectrum at whole frequencies stands over what is 4 to 20 Hz away."""
    power = spectra(wave, RATE, RATE // 2).mean(0)
    aside = np.arange(4, 21)
    around = np.median(power[multiples_hz[:, None] + np.concatenate([-aside, aside])], axis=1)
    over = decibels(power[multiples_hz]) - decibels(around)
    low = np.median(over[multiples_hz < 3000])
    return Lines(float(low), float(over.max()), int(multiples_hz[over.argmax()]), int((over > 6).sum()))


def ripple_db(wave: Wave) -> float:
    """Return the deviation in dB of the mean levels of bins of 75 Hz from the median of 21 of them, 3 to 20 kHz."""
    level = decibels(spectra(wave, 640, 320).mean(0))[3000 // 75 : 20_000 // 75]
    return float(np.std(level[10:-10] - np.median(np.lib.stride_tricks.sliding_window_view(level, 21), axis=1)))


def tone_errors(original: Wave, decoded: Wave, hz: int) -> ToneErrors:
    """Return the errors of a steady sine of at least a second; what is within 10 Hz of it is the tone."""
    powers = [spectra(wave, RATE, RATE // 2).mean(0) for wave in (original, decoded)]
    tones = [power[hz - 10 : hz + 11].sum() for power in powers]
    return _tone_errors(tones[0], tones[1], powers[1].sum())


def sweep_errors(original: Wave, decoded: Wave) -> dict[int, ToneErrors]:
    """Return the medians of a sweep's errors in each octave; what is within 1/8 of its frequency or 100 Hz is the tone."""
    powers = [spectra(wave, 2048, 512) for wave in (original, decoded)]
    hz = np.fft.rfftfreq(2048, 1 / RATE)
    at = hz[powers[0].argmax(1)]
    near = np.abs(hz - at[:, None]) <= np.maximum(at[:, None] / 8, 100)
    tones = [(power * near).sum(1) for power in powers]
    rows = zip(*tones, powers[1].sum(1), strict=True)
    errors = np.array([_tone_errors(*row) for row in rows])
    octaves = {octave: (at >= octave / 2**0.5) & (at < octave * 2**0.5) for octave in OCTAVES_HZ}
    return {
        octave: ToneErrors(*np.median(errors[inside], axis=0)) for octave, inside in octaves.items() if inside.any()
    }


def _tone_errors(original: float, tone: float, everything: float) -> ToneErrors:
    rest = max(everything - tone, 0.0)
    return ToneErrors(float(decibels(tone) - decibels(original)), float(decibels(rest) - decibels(tone)))


def octave_errors(original: Wave, decoded: Wave) -> list[float]:
    """Return the level of each octave less the original's, in dB; not a number where the original has nothing."""
    before, after = (decibels(_octaves(wave)) for wave in (original, decoded))
    return [float(value) for value in np.where(before > EMPTY_DB, after - before, np.nan)]


def _octaves(wave: Wave) -> Wave:
    power, hz = spectra(wave, 8192, 4096).mean(0), np.fft.rfftfreq(8192, 1 / RATE)
    return np.array([power[(hz >= low / 2**0.5) & (hz < low * 2**0.5)].sum() for low in OCTAVES_HZ])


def attacks(wave: Wave) -> list[int]:
    """Return where a wave gets loud: a tenth of its peak, after 50 ms below that."""
    loud = np.flatnonzero(np.abs(wave) > ATTACK * np.abs(wave).max())
    first = np.diff(loud, prepend=-RATE) > 0.05 * RATE
    return [int(place) for place in loud[first] if place > 0.02 * RATE]


def pre_echo(original: Wave, decoded: Wave) -> PreEcho:
    """Return the medians over all attacks; an original under -90 dB counts as -90 dB."""
    found = []
    for attack in attacks(original):
        before = slice(attack - int(0.020 * RATE), attack - int(0.005 * RATE))
        level = level_db(decoded[before])
        loud = level_db(original[attack : attack + int(0.005 * RATE)])
        found.append((level - max(level_db(original[before]), -90.0), level - loud))
    return PreEcho(*(float(value) for value in np.median(found, axis=0)))


def new_peaks(original: Wave, decoded: Wave, above_hz: int = 4000, prominence_db: float = 12) -> float:
    """Return how many isolated spectral peaks a second `decoded` has that `original` lacks.

    A peak stands `prominence_db` over the median of the 40 bins of 23 Hz around it in the mean of five spectra, together 0.13 s,
    and at most half of that in the original. A lasting one counts nine times a second.
    """
    over, peak, loud = _prominence(decoded, above_hz)
    reference, _, _ = _prominence(original, above_hz)
    nearby = np.maximum(reference, np.maximum(np.roll(reference, 1, 1), np.roll(reference, -1, 1)))
    found = peak & loud & (over > prominence_db) & (nearby < prominence_db / 2)
    return float(found.sum() * RATE / len(decoded))


def _prominence(wave: Wave, above_hz: int) -> tuple[Wave, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return dB over the surroundings, whether it is the highest of 7 bins, and whether it is over -100 dB."""
    power = spectra(wave, 2048, 1024)
    power = power[: len(power) // 5 * 5].reshape(-1, 5, power.shape[1]).mean(1)
    level = decibels(power)[:, above_hz * 2048 // RATE - 20 :]
    around = np.lib.stride_tricks.sliding_window_view(level, 41, axis=1)
    centre = level[:, 20:-20]
    highest = around[..., 17:24].max(-1) == centre
    return centre - np.median(around, axis=-1), highest, centre > EMPTY_DB
