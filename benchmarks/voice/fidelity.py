"""Likeness to the original: PESQ-WB, ESTOI and speaker similarity of speech, Zimtohrli and ViSQOL of everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import soxr

from benchmarks.voice.audio import RATE, Wave
from rvqcodec.training.measure.evaluation import pesq_wideband, visqol

LOW_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Speaker:
    """Speaker embeddings by Resemblyzer (generalised end-to-end loss, Wan et al. 2018); those of originals are kept."""

    encoder: Any
    known: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Speaker:
        """Return the network that comes with the package Resemblyzer."""
        from resemblyzer import VoiceEncoder

        return cls(VoiceEncoder("cpu", verbose=False))

    def similarity(self, name: str, original: Wave, decoded: Wave) -> float:
        """Return the cosine of the embeddings of a clip and what was decoded of it, both at 16 kHz: 1 is the same voice."""
        if name not in self.known:
            self.known[name] = self._embedding(original)
        return float(np.dot(self.known[name], self._embedding(decoded)))

    def _embedding(self, wave: Wave) -> Any:
        from resemblyzer import preprocess_wav

        return self.encoder.embed_utterance(preprocess_wav(wave, LOW_RATE))


def fidelity_scores(original: Wave, decoded: Wave) -> dict[str, float]:
    """Return what can be taken of any sound, at 48 kHz."""
    import zimtohrli

    return {"zimtohrli": float(zimtohrli.mos_from_signals(original, decoded)), "visqol": visqol(original, decoded)}


def speech_scores(name: str, original: Wave, decoded: Wave, speaker: Speaker) -> dict[str, float]:
    """Return what can be taken of speech alone, from waves at 48 kHz."""
    from pystoi import stoi

    low = [soxr.resample(wave, RATE, LOW_RATE) for wave in (original, decoded)]
    return {
        "pesq_wb": pesq_wideband(original, decoded),
        "estoi": float(stoi(*low, LOW_RATE, extended=True)),
        "speaker": speaker.similarity(name, *low),
    }
