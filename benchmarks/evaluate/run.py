"""Scores rvq models, Opus and MP3 on the held-out clips: a CSV file, a table and curves.

    python benchmarks/evaluate.py FOLDER -o benchmarks/results/NAME [--models rvq48 other.safetensors] [--layers 3 6 12 24]
        [--opus 6 8 12 16 24 32] [--mp3 32 48 64] [--jobs 2] [--entropy auto] [--clips ID ...]

FOLDER is what `benchmarks/heldout.py` wrote. Needs the extra `eval`, opusenc, opusdec, lame and ffmpeg. Every clip is encoded to a file,
decoded and scored at every setting; all clips of a kind joined to one file are encoded and decoded too, since a file of a few seconds
consists of header in good part. Rows that OUTPUT/scores.csv has are not computed again: delete it after a clip or a model changed.
Entropy networks and tables are those of embedded models: a model that is only a weights file is coded without.
"""

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
from evaluate_coders import RATE, Coding, align, code, warm_up
from evaluate_rows import WHOLE_KIND, Row, append_row, read_rows, with_long_kbps, write_rows
from evaluate_tables import report

from rvqcodec.training.corpus.heldout import held_out
from rvqcodec.weights.registry import DEFAULT_MODEL


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--layers", type=int, nargs="*", default=[3, 6, 12, 24])
    parser.add_argument("--opus", type=int, nargs="*", default=[6, 8, 12, 16, 24, 32])
    parser.add_argument("--mp3", type=int, nargs="*", default=[32, 48, 64])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--entropy", default="auto")
    parser.add_argument("--clips", nargs="*", help="only these")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "scores.csv"
    with tempfile.TemporaryDirectory() as name:
        wanted = list(tasks(options, Path(name)))
        write_rows(path, still_true(read_rows(path), wanted))
        done = {row.key for row in read_rows(path)}
        run([task for task in wanted if task.key not in done], options.jobs, path)
    order = {task.key: place for place, task in enumerate(wanted)}
    rows = sorted(read_rows(path), key=lambda row: order.get(row.key, len(order)))
    rows = with_long_kbps(rows)
    write_rows(path, rows)
    (options.output / "table.md").write_text(report(rows, f"Held-out quality: {options.output.name}"), encoding="utf-8")
    from evaluate_curves import draw

    draw(rows, options.output)


if __name__ == "__main__":
    main()
