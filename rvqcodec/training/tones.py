"""Whistles made by formula: tones that glide, tremble and come in bursts, as birds, bells and beeps have them, which corpora lack."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]

HERTZ, TOP_HZ = (500.0, 12_000.0), 20_000.0
MOST, LONGEST_S, SHORTEST_S = 3, 1.0, 0.05
OCTAVES_A_SECOND, TREMBLE, TREMBLE_HZ = 3.0, 0.08, (4.0, 50.0)
OVERTONES, OVERTONE_DB = 3, (-40.0, -6.0)
FADE_S = (0.002, 0.05)


def whistles(generator: np.random.Generator, n_samples: int, sample_rate: int) -> Wave:
    """Return one to three tones in a row or at once, float32 [n_samples], each of amplitude 0.1 to 1."""
    wave = np.zeros(n_samples)
    for _ in range(int(generator.integers(1, MOST + 1))):
        length = min(n_samples, round(sample_rate * generator.uniform(SHORTEST_S, LONGEST_S)))
        start = int(generator.integers(0, n_samples - length + 1))
        wave[start : start + length] += generator.uniform(0.1, 1.0) * _whistle(generator, length, sample_rate)
    return wave.astype(np.float32)


def _whistle(generator: np.random.Generator, n_samples: int, sample_rate: int) -> npt.NDArray[np.float64]:
    time = np.arange(n_samples) / sample_rate
    octaves = np.zeros(n_samples)
    if generator.random() < 0.5:
        octaves += time * generator.uniform(-OCTAVES_A_SECOND, OCTAVES_A_SECOND)
    if generator.random() < 0.5:
        rate, depth = generator.uniform(*TREMBLE_HZ), generator.uniform(0.0, TREMBLE)
        octaves += depth * np.sin(2 * np.pi * (rate * time + generator.random()))
    hertz = np.exp(generator.uniform(*np.log(HERTZ))) * 2**octaves
    phase = 2 * np.pi * (np.cumsum(hertz) / sample_rate + generator.random())
    wave = np.sin(phase)
    for overtone in range(2, 2 + int(generator.integers(0, OVERTONES + 1))):
        gain = 10 ** (generator.uniform(*OVERTONE_DB) / 20)
        wave += gain * np.sin(overtone * phase) * (overtone * hertz < TOP_HZ)
    fade = 1 + round(sample_rate * generator.uniform(*FADE_S))
    ramp = np.minimum(1.0, np.minimum(np.arange(1, n_samples + 1), np.arange(n_samples, 0, -1)) / fade)
    faded: npt.NDArray[np.float64] = wave * np.sin(0.5 * np.pi * ramp) ** 2 * (hertz < TOP_HZ)
    return faded
