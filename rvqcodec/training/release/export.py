"""Release of a trained model: calibration, weights, static entropy tables and model card."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.errors import OutputError
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.corpus.corpus import Corpus, Recording, open_corpus
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.measure.evaluation import Measurement, measure, select_clips
from rvqcodec.training.release.calibration import calibrate
from rvqcodec.training.release.sinusoid_loudness import fit_sinusoid_loudness
from rvqcodec.training.release.tables import bits_per_code, count_codes, frequencies
from rvqcodec.training.train.checkpoint import load_checkpoint
from rvqcodec.training.train.session import load_start
from rvqcodec.weights.load import load_model, save_model
from rvqcodec.weights.registry import read_model_file
from rvqcodec.weights.tables import write_tables

LAYER_COUNTS = (3, 6, 12, 24)
TABLE_SEED = 1
CALIBRATION_SEED = 2
CALIBRATION_S = 160
SINUSOID_CROPS, CROPS_AT_ONCE = 1_600, 16
BEAM_WIDTH = 4
CROP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A request.

    Args:
        source: A checkpoint (.pt, its averaged weights), weights file or model's name.
        corpus: The corpus folder, for tables, measurements and the licences in the card.
        folder: Output folder.
        name: The model's name, and that of its files.
        minutes: Time for counting codes.
        clips: Held-out clips of each kind to measure, 0: none.
        before: Provenance of the initial weights, a sentence for the card.
    """

    source: str
    corpus: Path
    folder: Path
    name: str
    minutes: float = 10.0
    clips: int = 4
    before: str = ""


def export(request: Export) -> tuple[Path, Path, Path]:
    """Write weights, tables and card, and return their paths.

    Tables are counted with the stored weights, in half precision.

    Raises:
        ModelError: The source can't be read.
        OutputError: A file can't be written.
    """
    codec, _ = load_start(request.source)
    codec.eval().requires_grad_(False).set_silence()
    corpus = open_corpus(request.corpus)
    calibrate(codec, _crops(codec, corpus, CALIBRATION_S))
    if codec.config.sinusoid_layers:
        fit_sinusoid_loudness(codec, _crops(codec, corpus, SINUSOID_CROPS).split(CROPS_AT_ONCE))
    weights = request.folder / f"{request.name}.safetensors"
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
        save_model(codec, request.name, weights)
        model = read_model_file(weights)
        codec = load_model(model, "cpu")
        counts = _count(codec, corpus, request.minutes)
        table = frequencies(counts, codec.config)
        write_tables(model.tables_path, table, request.name, codec.fingerprint)
        rows = measure(codec, select_clips(corpus, request.clips), LAYER_COUNTS, BEAM_WIDTH) if request.clips else []
        model.card_path.write_text(
            card(codec, request.name, corpus, _history(request), counts, table, rows), encoding="utf-8"
        )
    except OSError as error:
        raise OutputError(f"cannot write {request.folder}: {error}") from error
    return weights, model.tables_path, model.card_path


def _crops(codec: Rvq48, corpus: Corpus, n_crops: int) -> torch.Tensor:
    """Return one-second crops for the calibration, [n_crops, n_samples]."""
    crops = Crops(corpus, codec.traits.block_size, CALIBRATION_SEED)
    return torch.from_numpy(crops.batch(0, 0, n_crops)).to(codec.silence.device)


def _count(codec: Rvq48, corpus: Corpus, minutes: float) -> npt.NDArray[np.int64]:
    config = codec.config
    crops = Crops(corpus, round(CROP_S * config.frame_rate) * config.hop_length, TABLE_SEED)
    return count_codes(codec, crops, 1 << 20, minutes, BEAM_WIDTH)


def _history(request: Export) -> dict[str, Any]:
    """Return the training history of a model: "before", and "settings" and "progress" of a checkpoint."""
    if not request.source.endswith(".pt"):
        return {"before": request.before}
    state = load_checkpoint(Path(request.source))
    return {"before": request.before, "settings": state["settings"], "progress": state["progress"]}


def card(
    codec: Rvq48,
    name: str,
    corpus: Corpus,
    history: dict[str, Any],
    counts: npt.NDArray[np.int64],
    table: Sequence[npt.NDArray[np.uint32]],
    rows: Sequence[Measurement],
) -> str:
    """Return the model card as Markdown.

    Args:
        codec: The exported codec.
        name: The model's name.
        corpus: Training corpus.
        history: "before", a sentence, and "settings" and "progress" of the run, if any.
        counts: Counts of codes, [layers, largest codebook_size].
        table: Static frequencies of each layer.
        rows: Measurements on held-out clips.
    """
    config = codec.config
    n_parameters = sum(parameter.numel() for parameter in codec.parameters()) / 1e6
    bits = bits_per_code(counts, table)
    sections = [
        f"# {name}",
        f"Fingerprint `{codec.fingerprint}`. {config.sample_rate // 1000} kHz, one stream per channel, "
        f"{config.frame_rate} frames per second, {config.n_vector_layers(config.n_layers)} vector layers of {config.codebook_size} entries"
        f"{f' and {len(config.sinusoid_layers)} sinusoid layers' if config.sinusoid_layers else ''}, "
        f"{n_parameters:.1f} M parameters.",
        "## Training",
        _training(history),
        "## Data",
        "Debian main (bookworm); split by file, about 2 % of the files and whole packages held out.",
        _data(corpus.recordings),
        "## Quality",
        _quality(rows),
        f"Static tables: {bits.mean():.2f} bits per code over all layers, {bits[: len(bits) // 2].mean():.2f} over the "
        f"lower half, against {math.log2(config.codebook_size):.0f} uncoded; counted on "
        f"{counts[0].sum() / config.frame_rate:.0f} s of training audio.",
        "## Known weaknesses",
        WEAKNESSES,
    ]
    return "\n\n".join(sections) + "\n"


WEAKNESSES = """\
- Speech at few layers: the waveform below 4 kHz is coarse, which affects PESQ and listeners more than ViSQOL.
- About two thirds of the speech is band-limited (16 and 22.05 kHz), and most of it is from few speakers.
- Music is mostly game soundtracks decoded from Vorbis; full-band lossless music is rare in the training data.
- Trained for hours on two CPU cores, orders of magnitude less than published codecs.
- A pure tone in digital silence is decoded 1 to 50 dB too quiet; with noise at -40 dB or more relative to it, within 5 dB.
- Above 2.6 kHz (1 kHz with few layers) only band energies are coded every 20 ms, 13 of them above 2.6 kHz, plus one sinusoid from 2 to
  3 kHz and one from 3 to 15 kHz. Further tones, and tones that glide by more than 8 % in 20 ms, such as bird song, become
  noise as wide as their band.
- Spectral lines at multiples of 50 Hz below 2.6 kHz are 10 to 16 dB above the density of white noise.
- A transient is smeared over about 20 ms (pre-echo)."""


def _training(history: dict[str, Any]) -> str:
    if "settings" not in history:
        return history["before"] or "Converted from other weights."
    settings, progress = history["settings"], history["progress"]
    chosen = ("stage", "batch", "crop_s", "rate", "mel", "stft", "energies", "commitment")
    amounts = f"{progress['step']} steps, {progress['audio_seconds']:.0f} s of audio, {progress['minutes']:.0f} minutes"
    return f"{history['before']} Last run: {amounts}. Settings: {', '.join(f'{name} {settings[name]}' for name in chosen)}.".strip()


def _data(recordings: Iterable[Recording]) -> str:
    packages: dict[tuple[str, str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for recording in recordings:
        if recording.split == "train":
            packages[recording.package, recording.version, recording.licence][recording.kind] += recording.seconds
    lines = ["| package | version | hours | licences |", "|---|---|---|---|"]
    for (package, version, licence), kinds in sorted(packages.items()):
        hours = ", ".join(f"{kind} {seconds / 3600:.2f}" for kind, seconds in sorted(kinds.items()))
        lines.append(f"| {package} | {version} | {hours} | {licence.replace('|', '/')} |")
    return "\n".join(lines)


def _quality(rows: Sequence[Measurement]) -> str:
    if not rows:
        return "Not measured."
    lines = [
        f"Medians over held-out clips; beam width {BEAM_WIDTH}.",
        "",
        "| kind | clips | layers | PESQ-WB | ViSQOL | mel distance |",
    ]
    lines.append("|---|---|---|---|---|---|")
    for kind, n_layers in sorted({(row.kind, row.n_layers) for row in rows}):
        chosen = [row for row in rows if (row.kind, row.n_layers) == (kind, n_layers)]
        pesqs = [row.pesq for row in chosen if not math.isnan(row.pesq)]
        pesq = f"{median(pesqs):.2f}" if pesqs else "-"
        visqol, mel = median(row.visqol for row in chosen), median(row.mel for row in chosen)
        lines.append(f"| {kind} | {len(chosen)} | {n_layers} | {pesq} | {visqol:.2f} | {mel:.3f} |")
    return "\n".join(lines)
