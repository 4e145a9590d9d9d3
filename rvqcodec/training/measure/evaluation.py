"""Evaluation on held-out clips: PESQ-WB (speech), ViSQOL (audio mode) and mel distance.

Source: ITU-T P.862.2 (PESQ-WB); Chinen et al. 2020 (ViSQOL v3).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr
import torch

from rvqcodec.errors import MissingPackageError
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, Corpus, Recording
from rvqcodec.training.corpus.packages import KINDS
from rvqcodec.training.train.losses import ReconstructionLoss

USUAL_LAYERS = (6, 12, 24)
CLIP_S, SHORTEST_S = 6.0, 3.0
MOST_OF_A_PACKAGE = 3
LEVEL_DBFS = -22.0
PESQ_RATE = 16_000

Wave = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """A held-out clip.

    Args:
        name: Package and file.
        kind: "speech", "music" or "effects".
        wave: float32 [n_samples], 48 kHz, -22 dBFS.
    """

    name: str
    kind: str
    wave: Wave


@dataclass(frozen=True, slots=True)
class Measurement:
    """Quality of one clip at one number of layers; PESQ is NaN unless the clip is speech."""

    clip: str
    kind: str
    n_layers: int
    pesq: float
    visqol: float
    mel: float

    def as_dict(self) -> dict[str, str | int | float]:
        """Return the fields, rounded for a log."""
        fields = dataclasses.asdict(self)
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in fields.items()}


def select_clips(corpus: Corpus, n_per_kind: int, splits: Sequence[str] = ("eval", "valid")) -> tuple[Clip, ...]:
    """Return fixed clips of held-out recordings, in the order of their hashes, at most three per package.

    Args:
        corpus: Where from.
        n_per_kind: Clips of each kind, or as many as there are.
        splits: Which splits count as held out.
    """
    clips = []
    for kind in KINDS:
        fitting = [r for r in corpus.recordings if r.kind == kind and r.split in splits and r.seconds >= SHORTEST_S]
        taken: dict[str, int] = {}
        for recording in sorted(fitting, key=lambda recording: recording.sha256):
            if taken.get(recording.package, 0) < MOST_OF_A_PACKAGE and sum(taken.values()) < n_per_kind:
                taken[recording.package] = taken.get(recording.package, 0) + 1
                clips.append(_clip(corpus, recording))
    return tuple(clips)


def _clip(corpus: Corpus, recording: Recording) -> Clip:
    """Return the middle of a recording, at the usual level."""
    samples = corpus.samples(recording)
    n = min(len(samples), round(CLIP_S * SAMPLE_RATE)) // 960 * 960
    start = (len(samples) - n) // 2
    wave = samples[start : start + n].astype(np.float32) / 32768
    level = math.sqrt(float(np.mean(np.square(wave)))) or 1.0
    name = f"{recording.package}:{recording.path.rsplit('/', 1)[-1]}"
    return Clip(name, recording.kind, (wave * (10 ** (LEVEL_DBFS / 20) / level)).astype(np.float32))


def measure(codec: Rvq48, clips: Sequence[Clip], layer_counts: Sequence[int], beam_width: int = 1) -> list[Measurement]:
    """Return the quality of each clip at each number of layers.

    Args:
        codec: The codec, in evaluation mode.
        clips: Held-out clips.
        layer_counts: Numbers of layers.
        beam_width: Of the quantizer's search.

    Raises:
        MissingPackageError: A measure isn't installed.
    """
    device = codec.silence.device
    distance = ReconstructionLoss(codec.config.sample_rate, codec.encoder.mdct, codec.encoder.energies).to(device)
    rows = []
    for clip in clips:
        for n_layers, decoded in zip(
            layer_counts, decode_layers(codec, clip.wave, layer_counts, beam_width), strict=True
        ):
            pair = (torch.from_numpy(wave)[None].to(device) for wave in (decoded, clip.wave))
            mel = float(distance.mel_distance(*pair))
            pesq = pesq_wideband(clip.wave, decoded) if clip.kind == "speech" else math.nan
            rows.append(Measurement(clip.name, clip.kind, n_layers, pesq, visqol(clip.wave, decoded), mel))
    return rows


def decode_layers(codec: Rvq48, wave: Wave, layer_counts: Sequence[int], beam_width: int = 1) -> list[Wave]:
    """Return a wave [n_samples] encoded and decoded with each number of layers."""
    device = codec.silence.device
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(wave).to(device)[None, None], max(layer_counts), beam_width)
        active = torch.ones(1, codes.shape[2], dtype=torch.bool, device=device)
        index = torch.zeros(1, dtype=torch.int64, device=device)
        waves = (codec.decode(codes[:, :n], torch.full_like(codes[:, 0], n), active, index) for n in layer_counts)
        return [wave[0, 0].cpu().numpy() for wave in waves]


def pesq_wideband(reference: Wave, decoded: Wave) -> float:
    """Return PESQ-WB (ITU-T P.862.2) of two waves at 48 kHz, float32 [n_samples], NaN if it detects no utterance.

    Raises:
        MissingPackageError: The package pesq isn't installed.
    """
    try:
        import pesq
    except ImportError as error:
        raise MissingPackageError("evaluation needs the package pesq", "eval") from error
    low = [soxr.resample(wave, SAMPLE_RATE, PESQ_RATE, quality="HQ") for wave in (reference, decoded)]
    try:
        return float(pesq.pesq(PESQ_RATE, *low, "wb"))
    except pesq.PesqError:
        return math.nan


def visqol(reference: Wave, decoded: Wave) -> float:
    """Return ViSQOL (audio mode), 1 to 5, of two waves at 48 kHz, float32 [n_samples].

    Raises:
        MissingPackageError: The package visqol-python isn't installed.
    """
    result = _visqol().measure_from_arrays(
        reference.astype(np.float64), decoded.astype(np.float64), sample_rate=SAMPLE_RATE
    )
    return float(result.moslqo)


@cache
def _visqol() -> Any:
    try:
        import visqol
    except ImportError as error:
        raise MissingPackageError("evaluation needs the package visqol-python", "eval") from error
    api = visqol.VisqolApi()
    api.create(mode="audio")
    return api
