"""Training sessions: processes, resumption, checkpoints, logs and periodic evaluation of a run in a folder."""

from __future__ import annotations

import csv
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from rvqcodec.errors import RvqError
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.corpus.corpus import Corpus, open_corpus
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.measure import evaluation
from rvqcodec.training.train.checkpoint import load_checkpoint, save_checkpoint
from rvqcodec.training.train.parallel import Group, join, leave
from rvqcodec.training.train.settings import Settings
from rvqcodec.training.train.start import start_codebooks, start_linear_paths
from rvqcodec.training.train.trainer import Trainer
from rvqcodec.weights.load import load_model, pick_device
from rvqcodec.weights.registry import DEFAULT_MODEL, find_model

CHECKPOINT = "checkpoint.pt"
BEFORE_ADVERSARIAL = "before-adversarial.pt"
LOSSES, PERPLEXITY, EVALUATION = "losses.csv", "perplexity.csv", "evaluation.csv"
LOG_EVERY = 20
START_CROPS = 640
START_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run and its surroundings.

    Args:
        corpus: The corpus folder.
        folder: The run's folder: checkpoint and logs; a checkpoint there is resumed.
        settings: Of a new run; a resumed one keeps its own.
        init: Initial weights of a new run: a checkpoint (.pt), a weights file, a model's name, or "" for none.
        device: auto, cpu, cuda or cuda:N.
        processes: Data-parallel processes; 1 unless on the CPU.
        checkpoint_minutes: Time between checkpoints.
        evaluate_minutes: Time between evaluations; 0 for none.
        clips: Clips of each kind in an evaluation.
        config: Of a new model; the default model's when absent.
    """

    corpus: Path
    folder: Path
    settings: Settings
    init: str = ""
    device: str = "auto"
    processes: int = 1
    checkpoint_minutes: float = 5.0
    evaluate_minutes: float = 15.0
    clips: int = 3
    config: Rvq48Config | None = None


def train(session: Session) -> None:
    """Run or resume a session to its end.

    Raises:
        RvqError: The corpus, the initial weights or the device is missing, or training diverged.
    """
    session.folder.mkdir(parents=True, exist_ok=True)
    if session.processes > 1 and pick_device(session.device).type != "cpu":
        raise RvqError("several processes are supported on the CPU only", hint="--processes 1")
    with tempfile.TemporaryDirectory() as meeting:
        arguments = (session, str(Path(meeting) / "group"))
        if session.processes == 1:
            _work(0, *arguments)
        else:
            spawn(_work, arguments, nprocs=session.processes)


def _work(rank: int, session: Session, meeting_point: str) -> None:
    """Train as one of the session's processes."""
    device = pick_device(session.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    group = join(rank, session.processes, meeting_point)
    corpus = open_corpus(session.corpus)
    trainer = prepare(session, corpus, device, group)
    _loop(session, trainer, corpus)
    leave(group)


def prepare(session: Session, corpus: Corpus, device: torch.device, group: Group) -> Trainer:
    """Return the session's trainer: resumed, initialised from other weights, or new."""
    checkpoint = session.folder / CHECKPOINT
    if checkpoint.exists():
        state = load_checkpoint(checkpoint)
        codec = Rvq48(Rvq48Config.from_json(state["config"])).to(device)
        trainer = Trainer(
            codec, _crops(corpus, codec.config, Settings(**state["settings"])), Settings(**state["settings"]), group
        )
        trainer.load_state_dict(state)
        return trainer
    codec, counts = start(session, corpus, device)
    return Trainer(codec, _crops(corpus, codec.config, session.settings), session.settings, group, counts)


def start(session: Session, corpus: Corpus, device: torch.device) -> tuple[Rvq48, Tensor | None]:
    """Return the initial codec of a new run, and its codebook counts if known."""
    codec, counts = load_start(session.init, session.config)
    codec = codec.to(device)
    crops = _crops(corpus, codec.config, session.settings)

    def waves() -> Iterator[Tensor]:
        for step in range(START_CROPS // START_BATCH):
            yield torch.from_numpy(crops.batch(step, 0, START_BATCH)).to(device)

    if not session.init:
        start_linear_paths(codec, waves())
    if session.settings.stage == "kmeans" or not codec.quantizer.codebooks.any():
        counts = start_codebooks(codec, waves(), session.settings.seed)
    return codec, counts


def load_start(init: str, config: Rvq48Config | None = None) -> tuple[Rvq48, Tensor | None]:
    """Return the codec in a checkpoint (its averaged weights), a weights file or a named model, and the codebook counts of a checkpoint.

    Raises:
        ModelError: It can't be read.
        RvqError: The model is of another family.
    """
    if not init:
        return Rvq48(config or Rvq48Config.from_json(find_model(DEFAULT_MODEL).config)), None
    if init.endswith(".pt"):
        state = load_checkpoint(Path(init))
        codec = Rvq48(Rvq48Config.from_json(state["config"]))
        codec.load_state_dict({**state["codec"], **state["average"]})
        return codec, state["codebooks"]["counts"]
    model = load_model(find_model(init), "cpu")
    if not isinstance(model, Rvq48):
        raise RvqError(f"{init} is of another family: only rvq48 can be trained")
    return model, None


def _crops(corpus: Corpus, config: Rvq48Config, settings: Settings) -> Crops:
    n_frames = round(settings.crop_s * config.frame_rate)
    return Crops(corpus, n_frames * config.hop_length, settings.seed)


def _loop(session: Session, trainer: Trainer, corpus: Corpus) -> None:
    first = trainer.group.rank == 0
    if first and trainer.step_number == 0:
        _describe(session, trainer)
        save_checkpoint(
            trainer.state_dict(), session.folder / (BEFORE_ADVERSARIAL if trainer.adversarial else CHECKPOINT)
        )
    if first:
        _forget_after(session.folder, trainer.step_number)
    if trainer.settings.stage == "kmeans":
        return
    clock = Clock(trainer.minutes)
    saved = evaluated = trainer.minutes
    evaluate = _evaluator(session, trainer, corpus)
    while trainer.progress < 1:
        if _abandoned():
            raise RvqError("the parent process has ended")
        values = trainer.step()
        trainer.minutes = _agreed(clock.minutes(), trainer.group)
        if not first:
            continue
        if trainer.step_number % LOG_EVERY == 0:
            _log(session.folder, trainer, values)
        if session.evaluate_minutes and trainer.minutes - evaluated >= session.evaluate_minutes:
            evaluated = trainer.minutes
            evaluate()
        if trainer.minutes - saved >= session.checkpoint_minutes:
            saved = trainer.minutes
            save_checkpoint(trainer.state_dict(), session.folder / CHECKPOINT)
    if first:
        save_checkpoint(trainer.state_dict(), session.folder / CHECKPOINT)
        if session.evaluate_minutes:
            evaluate()


class Clock:
    """Minutes of training, including those before a resumption."""

    def __init__(self, minutes: float) -> None:
        self.start = time.monotonic() - 60 * minutes

    def minutes(self) -> float:
        """Return the minutes so far."""
        return (time.monotonic() - self.start) / 60


def _abandoned() -> bool:
    """Return whether this is a child process whose parent was killed."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _agreed(minutes: float, group: Group) -> float:
    """Return the first process' clock, which drives the schedule of all."""
    value = torch.tensor([minutes], dtype=torch.float64)
    group.copy_first([value])
    return float(value)


def _evaluator(session: Session, trainer: Trainer, corpus: Corpus) -> Callable[[], None]:
    clips = evaluation.select_clips(corpus, session.clips) if session.evaluate_minutes else ()

    def evaluate() -> None:
        rows = evaluation.measure(trainer.averaged_codec(), clips, evaluation.USUAL_LAYERS)
        path = session.folder / EVALUATION
        for row in rows:
            _append_row(path, {"step": trainer.step_number, "minutes": round(trainer.minutes, 2)} | row.as_dict())

    return evaluate


def _describe(session: Session, trainer: Trainer) -> None:
    described = {
        "corpus": str(session.corpus),
        "init": session.init,
        "device": str(trainer.device),
        "processes": session.processes,
        "settings": trainer.settings.as_dict(),
    }
    (session.folder / "run.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _log(folder: Path, trainer: Trainer, values: dict[str, float]) -> None:
    where = {
        "step": trainer.step_number,
        "minutes": round(trainer.minutes, 3),
        "audio_seconds": round(trainer.audio_seconds),
    }
    _append_row(folder / LOSSES, where | {name: round(value, 5) for name, value in values.items()})
    layers = {f"layer_{layer}": round(value, 1) for layer, value in enumerate(trainer.codebooks.perplexity())}
    _append_row(folder / PERPLEXITY, where | layers)


def _append_row(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _forget_after(folder: Path, step: int) -> None:
    """Drop the log rows of steps that a resumed run will repeat."""
    for path in (folder / name for name in (LOSSES, PERPLEXITY, EVALUATION)):
        if path.exists():
            header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept: Sequence[str] = [row for row in rows if int(row.split(",")[0]) <= step]
            path.write_text("".join([header, *kept]), encoding="utf-8")
