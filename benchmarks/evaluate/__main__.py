"""Scores rvq models, Opus and MP3 on the held-out clips: a CSV file, a table and curves.

    python -m benchmarks.evaluate FOLDER -o benchmarks/results/NAME [--models rvq48 other.safetensors] [--layers 3 6 12 24]
        [--opus 6 8 12 16 24 32] [--mp3 32 48 64] [--jobs 2] [--entropy auto] [--clips ID ...]

FOLDER is what `benchmarks.heldout` wrote. Needs the extra `eval`, opusenc, opusdec, lame and ffmpeg. Every clip is encoded to a file,
decoded and scored at every setting; all clips of a kind joined to one file are encoded and decoded too, since a file of a few seconds
consists of header in good part. Rows that OUTPUT/scores.csv has are not computed again: delete it after a clip or a model changed.
Entropy networks and tables are those of embedded models: a model that is only a weights file is coded without.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.evaluate.rows import read_rows, with_long_kbps, write_rows
from benchmarks.evaluate.run import run, still_true, tasks
from benchmarks.evaluate.tables import report
from rvqcodec.weights.registry import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    from benchmarks.evaluate.curves import draw  # matplotlib is slow to start, and --help needs none

    draw(rows, options.output)


if __name__ == "__main__":
    main()
