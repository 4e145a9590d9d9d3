"""The work of an evaluation: codes every clip at every setting, in processes of one thread each, and scores what comes back."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.evaluate.coders import RATE, Coding, align, code, warm_up
from benchmarks.evaluate.rows import WHOLE_KIND, Row, append_row
from rvqcodec.training.corpus.heldout import held_out


@dataclass(frozen=True, slots=True)
class Task:
    """One row to be: a wave file and how to code it."""

    clip: str
    kind: str
    wav: Path
    coding: Coding

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The key of its row."""
        return self.clip, self.kind, self.coding.codec, self.coding.setting


def codings(options: argparse.Namespace) -> list[Coding]:
    """Return every codec at every setting."""
    rvq = [
        Coding(
            codec=Path(model).stem if model.endswith(".safetensors") else model,
            setting=n,
            model=model,
            entropy=options.entropy,
        )
        for model in options.models
        for n in options.layers
    ]
    others = (("opus", options.opus), ("mp3", options.mp3))
    return rvq + [Coding(codec=name, setting=kbps) for name, settings in others for kbps in settings]


def tasks(options: argparse.Namespace, scratch: Path) -> Iterator[Task]:
    """Yield the joined clips of each kind, written to `scratch`, then the clips."""
    chosen = [clip for clip in held_out().clips if not options.clips or clip.id in options.clips]
    for kind in dict.fromkeys(clip.kind for clip in chosen):
        waves = [
            soundfile.read(options.folder / f"{clip.id}.wav", dtype="int16")[0] for clip in chosen if clip.kind == kind
        ]
        soundfile.write(scratch / f"{kind}.wav", np.concatenate(waves), RATE, "PCM_16")
        yield from (Task(WHOLE_KIND, kind, scratch / f"{kind}.wav", coding) for coding in codings(options))
    for clip in chosen:
        wav = options.folder / f"{clip.id}.wav"
        yield from (Task(clip.id, clip.kind, wav, coding) for coding in codings(options))


def still_true(rows: list[Row], wanted: list[Task]) -> list[Row]:
    """Return rows without those of waves that have another length now, such as the joined clips when there are more."""
    lengths = {(task.clip, task.kind): soundfile.info(task.wav).duration for task in wanted}
    return [row for row in rows if abs(lengths.get((row.clip, row.kind), row.seconds) - row.seconds) < 0.01]


def measure(task: Task) -> Row:
    """Code one clip and score what comes back."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _warm(task.coding)
        decoded = folder / "decoded.wav"
        coded = code(task.coding, task.wav, decoded)
        lag = align(task.wav, decoded, shift=task.coding.codec == "mp3")
        seconds = soundfile.info(task.wav).duration
        return Row(
            clip=task.clip,
            kind=task.kind,
            codec=task.coding.codec,
            setting=task.coding.setting,
            seconds=seconds,
            bytes=coded.n_bytes,
            kbps=8 * coded.n_bytes / seconds / 1000,
            encode_s=coded.encode_s,
            decode_s=coded.decode_s,
            lag=lag,
            **({} if task.clip == WHOLE_KIND else _scores(task, decoded)),
        )


@cache
def _warm(coding: Coding) -> None:
    with tempfile.TemporaryDirectory() as name:
        warm_up(coding, Path(name))


def _scores(task: Task, decoded: Path) -> dict[str, float]:
    """Return the measures; PESQ and STOI of speech alone."""
    from rvqcodec.training.measure.pair import score_pair

    scores = score_pair(task.wav, decoded)
    speech = {"pesq_wb": scores.pesq_wb, "stoi": scores.stoi} if task.kind == "speech" else {}
    return speech | {
        "visqol": scores.visqol,
        "zimtohrli": scores.zimtohrli,
        "mel_distance": scores.mel_distance,
        "si_sdr_db": scores.si_sdr_db,
    }


def run(todo: list[Task], jobs: int, path: Path) -> None:
    """Compute rows in processes of one thread each, and add each to the CSV file when it is there."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    started = time.monotonic()
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for n_done, future in enumerate(as_completed([pool.submit(measure, task) for task in todo]), start=1):
            row = future.result()
            append_row(path, row)
            left = (time.monotonic() - started) / n_done * (len(todo) - n_done)
            print(
                f"{n_done}/{len(todo)} {row.clip} {row.codec} {row.setting}, {left / 60:.0f} min left", file=sys.stderr
            )
