"""Full-reference quality measures of a degraded recording: ViSQOL, Zimtohrli, PESQ-WB, STOI, mel distance, SI-SDR."""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from rvqcodec.errors import AudioError, MissingPackageError, RvqError, reason_of
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies
from rvqcodec.pipeline.coding import decode_file
from rvqcodec.training.corpus.corpus import SAMPLE_RATE
from rvqcodec.training.measure.evaluation import PESQ_RATE, Wave, pesq_wideband, visqol
from rvqcodec.training.train.losses import ReconstructionLoss

SHORTEST_S = 1.0
MOST_UNEQUAL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores; NaN where a measure is undefined, such as PESQ of signals without speech.

    Args:
        seconds: Duration compared.
        kbps: Bitrate of the degraded file.
        visqol: ViSQOL in audio mode, 1 to 5.
        zimtohrli: Zimtohrli MOS, 1 to 5.
        pesq_wb: PESQ-WB at 16 kHz, 1 to 4.64.
        stoi: 0 to 1.
        mel_distance: Mean L1 distance of log10 mel spectra over six window lengths.
        si_sdr_db: Scale-invariant signal-to-distortion ratio, dB.
    """

    seconds: float
    kbps: float
    visqol: float
    zimtohrli: float
    pesq_wb: float
    stoi: float
    mel_distance: float
    si_sdr_db: float

    def as_dict(self) -> dict[str, float | None]:
        """Return the scores, None instead of NaN."""
        return {name: None if math.isnan(value) else round(value, 4) for name, value in asdict(self).items()}


def score_pair(reference: Path, degraded: Path) -> Scores:
    """Return the scores of `degraded`, audio or an .rvq file, against `reference`; both as mono at 48 kHz.

    Raises:
        AudioError: A file can't be read or is shorter than a second, or their lengths differ by more than half a second.
        MissingPackageError: A measure isn't installed.
    """
    original, decoded = _mono(reference), _decoded(degraded)
    if min(len(original), len(decoded)) < SHORTEST_S * SAMPLE_RATE:
        raise AudioError("expected at least a second of audio")
    if abs(len(original) - len(decoded)) > MOST_UNEQUAL_S * SAMPLE_RATE:
        raise AudioError("the lengths differ by more than half a second")
    n = min(len(original), len(decoded))
    original, decoded = original[:n], decoded[:n]
    low = [soxr.resample(wave, SAMPLE_RATE, PESQ_RATE) for wave in (original, decoded)]
    return Scores(
        seconds=n / SAMPLE_RATE,
        kbps=8 * degraded.stat().st_size * SAMPLE_RATE / n / 1000,
        visqol=visqol(original, decoded),
        zimtohrli=_zimtohrli(original, decoded),
        pesq_wb=pesq_wideband(original, decoded),
        stoi=_stoi(*low),
        mel_distance=_mel_distance(original, decoded),
        si_sdr_db=si_sdr(original, decoded),
    )


def si_sdr(reference: Wave, degraded: Wave) -> float:
    """Return the scale-invariant SDR in dB of two waves [n_samples] without their means; NaN for a constant reference.

    Source: Le Roux et al. 2019.
    """
    a, b = (wave.astype(np.float64) - wave.mean(dtype=np.float64) for wave in (reference, degraded))
    power = float(a @ a)
    if not power:
        return math.nan
    target = a * (float(a @ b) / power)
    return 10 * math.log10((float(target @ target) + 1e-20) / (float(((b - target) ** 2).sum()) + 1e-20))


def _decoded(path: Path) -> Wave:
    if path.suffix != ".rvq":
        return _mono(path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            decode_file(path, Path(folder) / "decoded.wav")
        except RvqError as error:
            error.message = f"{path}: {error.message}"
            raise
        return _mono(Path(folder) / "decoded.wav")


def _mono(path: Path) -> Wave:
    if path.is_dir():
        raise AudioError(f"{path}: this is a folder, not an audio file")
    if not path.exists():
        raise AudioError(f"{path}: {reason_of(FileNotFoundError())}")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: {_problem(error)}") from error
    wave: Wave = soxr.resample(samples.mean(1), rate, SAMPLE_RATE, quality="VHQ")
    return wave


def _problem(error: Exception) -> str:
    return "this is not audio that can be read" if isinstance(error, soundfile.LibsndfileError) else str(error)


def _zimtohrli(reference: Wave, degraded: Wave) -> float:
    try:
        import zimtohrli
    except ImportError as error:
        raise MissingPackageError("evaluation needs the package zimtohrli", "eval") from error
    return float(zimtohrli.mos_from_signals(reference, degraded))


def _stoi(reference: Wave, degraded: Wave) -> float:
    try:
        import pystoi
    except ImportError as error:
        raise MissingPackageError("evaluation needs the package pystoi", "eval") from error
    return float(pystoi.stoi(reference, degraded, PESQ_RATE))


def _mel_distance(reference: Wave, degraded: Wave) -> float:
    config = Rvq48Config()
    loss = ReconstructionLoss(SAMPLE_RATE, MDCT(config.mdct_size), BandEnergies(config.band_edges, config.merge))
    return float(loss.mel_distance(torch.from_numpy(degraded)[None], torch.from_numpy(reference)[None]))
