"""Crops for training: drawn from the corpus, levelled, mixed; decided by seed, step and place in the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from rvqcodec.errors import AudioError
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, SILENCE_DBFS, Corpus, Recording

SHARES = {"speech": 0.43, "music": 0.36, "effects": 0.21}
MIXED = 0.25
SPED = 0.5
LONGEST_S = 300
FULL_BAND_HZ = 32_000
FULL_BAND_WEIGHT = 2.0
LEVEL_DBFS, LEVEL_SPREAD_DB, LEVEL_RANGE_DBFS = -22.0, 3.0, (-32.0, -14.0)
ATTEMPTS = 8

Wave = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Source:
    """The recordings of one kind, to draw from.

    Args:
        recordings: Them.
        cumulative: Running sums of their shares, float64 [recordings], last 1.
    """

    recordings: tuple[Recording, ...]
    cumulative: npt.NDArray[np.float64]


class Crops:
    """Draws batches of crops of one split.

    Kinds have fixed shares; within a kind a recording counts by its length, at most five minutes, twice where it is
    full-band. A quarter of the crops mixes two; half are played 0.9 to 1.1 times as fast.
    """

    def __init__(self, corpus: Corpus, n_samples: int, seed: int, split: str = "train") -> None:
        self.corpus = corpus
        self.n_samples = n_samples
        self.seed = seed
        by_kind = {kind: [r for r in corpus.recordings if (r.kind, r.split) == (kind, split)] for kind in SHARES}
        self.sources = {kind: _source(recordings) for kind, recordings in by_kind.items() if recordings}
        if not self.sources:
            raise AudioError(f"the corpus has no recordings in its split {split}")
        shares = np.array([SHARES[kind] for kind in self.sources])
        self.shares = np.cumsum(shares / shares.sum())

    def batch(self, step: int, first: int, n_crops: int) -> Wave:
        """Return crops `first` to `first + n_crops` of a step's batch, float32 [n_crops, n_samples]."""
        return np.stack([self.crop(step, first + index) for index in range(n_crops)])

    def crop(self, step: int, index: int) -> Wave:
        """Return one crop, float32 [n_samples], its RMS around -22 dBFS."""
        generator = np.random.default_rng([self.seed, step, index])
        wave = self._draw(generator)
        if generator.random() < MIXED:
            other = self._draw(generator)
            wave = _levelled(wave, 0.0) + _levelled(other, generator.uniform(-15.0, 0.0))
        level = np.clip(generator.normal(LEVEL_DBFS, LEVEL_SPREAD_DB), *LEVEL_RANGE_DBFS)
        return _levelled(wave, float(level)) * (1 if generator.random() < 0.5 else -1)

    def _draw(self, generator: np.random.Generator) -> Wave:
        kinds = list(self.sources)
        for _ in range(ATTEMPTS):
            source = self.sources[kinds[int(np.searchsorted(self.shares, generator.random()).clip(0, len(kinds) - 1))]]
            place = int(np.searchsorted(source.cumulative, generator.random()))
            recording = source.recordings[min(place, len(source.recordings) - 1)]
            wave = self._cut(recording, generator)
            if np.mean(np.square(wave)) > 10 ** (SILENCE_DBFS / 10):
                break
        return wave

    def _cut(self, recording: Recording, generator: np.random.Generator) -> Wave:
        """Return a random piece of a recording; a shorter one lies somewhere in silence."""
        speed = generator.uniform(0.9, 1.1) if generator.random() < SPED else 1.0
        wanted = round(self.n_samples * speed)
        samples = self.corpus.samples(recording)
        start = int(generator.integers(0, max(1, len(samples) - wanted + 1)))
        piece = samples[start : start + wanted].astype(np.float32) / 32768.0
        if speed != 1.0:
            piece = soxr.resample(piece, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ")
        piece = piece[: self.n_samples]
        before = int(generator.integers(0, self.n_samples - len(piece) + 1)) if wanted > len(samples) else 0
        return np.pad(piece, (before, self.n_samples - len(piece) - before))


def _source(recordings: list[Recording]) -> Source:
    lengths = np.array([min(r.n_samples, LONGEST_S * SAMPLE_RATE) for r in recordings], dtype=np.float64)
    full = np.array([FULL_BAND_WEIGHT if r.source_rate >= FULL_BAND_HZ else 1.0 for r in recordings])
    cumulative = np.cumsum(lengths * full)
    return Source(tuple(recordings), cumulative / cumulative[-1])


def _levelled(wave: Wave, dbfs: float) -> Wave:
    """Return the wave with its RMS at `dbfs`; silence stays silence."""
    rms = max(float(np.sqrt(np.mean(np.square(wave)))), 1e-4)
    return (wave * np.float32(10 ** (dbfs / 20) / rms)).astype(np.float32)
