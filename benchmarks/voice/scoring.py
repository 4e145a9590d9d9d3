"""All measures of one clip, with the networks that they need loaded once."""

from __future__ import annotations

from pathlib import Path

from benchmarks.voice.audio import Wave
from benchmarks.voice.fidelity import Speaker, fidelity_scores, speech_scores
from benchmarks.voice.harmonics import depths, find_pitch, fit_pitch
from benchmarks.voice.naturalness import Dnsmos, Nisqa
from benchmarks.voice.rows import COMB_COLUMNS, OWN_COMB_COLUMNS
from benchmarks.voice.texture import flatness_db

ORIGINAL = "original"


class Scorer:
    """Scores originals and decoded clips."""

    def __init__(self, nisqa: Path | None) -> None:
        """Load the networks; NISQA's are left out where no folder is given."""
        self._nisqa = Nisqa.load(nisqa) if nisqa else None
        self._dnsmos = Dnsmos.load()
        self._speaker = Speaker.load()

    def original(self, kind: str, wave: Wave) -> dict[str, float]:
        """Return what an original has by itself: the ceiling of every system. Flatness is its own, not a difference."""
        scores = {"flatness": flatness_db(wave)}
        return scores | (self._natural(wave) | _combs(wave, wave) if kind == "speech" else {})

    def decoded(self, kind: str, name: str, original: Wave, wave: Wave) -> dict[str, float]:
        """Return all measures of a decoded clip. Flatness is above 0 where it is noisier than the original."""
        scores = fidelity_scores(original, wave) | {"flatness": flatness_db(wave) - flatness_db(original)}
        if kind == "speech":
            scores |= speech_scores(name, original, wave, self._speaker)
            scores |= self._natural(wave) | _combs(original, wave)
        return scores

    def _natural(self, wave: Wave) -> dict[str, float]:
        return (self._nisqa.scores(wave) if self._nisqa else {}) | self._dnsmos.scores(wave)


def _combs(original: Wave, wave: Wave) -> dict[str, float]:
    """Return the depth of the partials at the original's pitch and at the wave's own."""
    theirs = depths(wave, fit_pitch(original, find_pitch(original)))
    own = depths(wave, fit_pitch(wave, find_pitch(wave)))
    return dict(zip((*COMB_COLUMNS, *OWN_COMB_COLUMNS), (*theirs.tolist(), *own.tolist()), strict=True))
