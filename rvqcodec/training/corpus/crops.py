"""Random training crops with augmentation (mixing, speed perturbation, level); a function of seed, step and index in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from rvqcodec.errors import AudioError
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, SILENCE_DBFS, Corpus, Recording

PROPORTIONS = {"speech": 0.43, "music": 0.36, "effects": 0.21}
MIXED = 0.25
SPEED_PERTURBED = 0.5
LONGEST_S = 300
FULL_BAND_HZ = 32_000
FULL_BAND_WEIGHT = 2.0
LEVEL_DBFS, LEVEL_SPREAD_DB, LEVEL_RANGE_DBFS = -22.0, 3.0, (-32.0, -14.0)
ATTEMPTS = 8

Wave = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Source:
    """The sampling distribution over the recordings of a kind.

    Args:
        recordings: The recordings.
        cumulative: Their cumulative probabilities, float64 [recordings], the last 1.
    """

    recordings: tuple[Recording, ...]
    cumulative: npt.NDArray[np.float64]


class Crops:
    """Draws batches of crops of one split.

    Kinds have fixed proportions; within a kind, recordings are weighted by their length up to five minutes, doubled if full-band. A quarter
    of the crops are mixtures of two; half are speed-perturbed by 0.9 to 1.1.
    """

    def __init__(self, corpus: Corpus, n_samples: int, seed: int, split: str = "train") -> None:
        self.corpus = corpus
        self.n_samples = n_samples
        self.seed = seed
        by_kind = {kind: [r for r in corpus.recordings if (r.kind, r.split) == (kind, split)] for kind in PROPORTIONS}
        self.sources = {kind: _source(recordings) for kind, recordings in by_kind.items() if recordings}
        if not self.sources:
            raise AudioError(f"the corpus has no recordings in its split {split}")
        proportions = np.array([PROPORTIONS[kind] for kind in self.sources])
        self.cumulative = np.cumsum(proportions / proportions.sum())

    def batch(self, step: int, first: int, n_crops: int) -> Wave:
        """Return crops `first` to `first + n_crops` of a step's batch, float32 [n_crops, n_samples]."""
        return np.stack([self.crop(step, first + index) for index in range(n_crops)])

    def crop(self, step: int, index: int) -> Wave:
        """Return a crop, float32 [n_samples], of RMS around -22 dBFS."""
        generator = np.random.default_rng([self.seed, step, index])
        wave = self._draw(generator)
        if generator.random() < MIXED:
            other = self._draw(generator)
            wave = _normalised(wave, 0.0) + _normalised(other, generator.uniform(-15.0, 0.0))
        level = np.clip(generator.normal(LEVEL_DBFS, LEVEL_SPREAD_DB), *LEVEL_RANGE_DBFS)
        return _normalised(wave, float(level)) * (1 if generator.random() < 0.5 else -1)

    def _draw(self, generator: np.random.Generator) -> Wave:
        kinds = list(self.sources)
        for _ in range(ATTEMPTS):
            source = self.sources[
                kinds[int(np.searchsorted(self.cumulative, generator.random()).clip(0, len(kinds) - 1))]
            ]
            index = int(np.searchsorted(source.cumulative, generator.random()))
            recording = source.recordings[min(index, len(source.recordings) - 1)]
            wave = self._cut(recording, generator)
            if np.mean(np.square(wave)) > 10 ** (SILENCE_DBFS / 10):
                break
        return wave

    def _cut(self, recording: Recording, generator: np.random.Generator) -> Wave:
        """Return a random excerpt of a recording; one that is too short is placed at random in silence."""
        speed = generator.uniform(0.9, 1.1) if generator.random() < SPEED_PERTURBED else 1.0
        length = round(self.n_samples * speed)
        samples = self.corpus.samples(recording)
        start = int(generator.integers(0, max(1, len(samples) - length + 1)))
        piece = samples[start : start + length].astype(np.float32) / 32768.0
        if speed != 1.0:
            piece = soxr.resample(piece, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")
        piece = piece[: self.n_samples]
        before = int(generator.integers(0, self.n_samples - len(piece) + 1)) if length > len(samples) else 0
        return np.pad(piece, (before, self.n_samples - len(piece) - before))


def _source(recordings: list[Recording]) -> Source:
    lengths = np.array([min(r.n_samples, LONGEST_S * SAMPLE_RATE) for r in recordings], dtype=np.float64)
    full = np.array([FULL_BAND_WEIGHT if r.source_rate >= FULL_BAND_HZ else 1.0 for r in recordings])
    cumulative = np.cumsum(lengths * full)
    return Source(tuple(recordings), cumulative / cumulative[-1])


def _normalised(wave: Wave, dbfs: float) -> Wave:
    """Return the wave scaled to an RMS of `dbfs`; silence is unchanged."""
    rms = max(float(np.sqrt(np.mean(np.square(wave)))), 1e-4)
    return (wave * np.float32(10 ** (dbfs / 20) / rms)).astype(np.float32)
