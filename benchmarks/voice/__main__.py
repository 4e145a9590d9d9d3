"""Scores decoded clips beside their originals: does a voice still sound like a voice?

    python -m benchmarks.voice ORIGINALS SYSTEM... -o RESULTS [--nisqa FOLDER] [--compare ONE OTHER]...

ORIGINALS holds speech/ and music/ with .wav or .flac files, as `python -m benchmarks.clips` cuts them; each SYSTEM is a folder with
decoded files of the same names, as `python -m benchmarks.voice.decode` writes them, and is called what its folder is called. A sizes.csv
in it gives the kbps. Written are RESULTS/scores.csv, a row for each clip, and table.md, means and what --compare asks for: differences
paired by clip with bootstrap intervals. Rows that scores.csv has are not computed again: delete it after a clip or a system changed.

Needs the extra `voice` and, for NISQA, what README.md in this folder says; without --nisqa or $RVQ_NISQA its columns stay empty. About 3 s
for each clip and system on one core.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import warnings
from pathlib import Path

import torch

from benchmarks.voice.audio import RATE, Clip, cut_alike, decoded_file, list_clips, read_wave
from benchmarks.voice.rows import Row, append_row, read_rows, write_rows
from benchmarks.voice.scoring import ORIGINAL, Scorer
from benchmarks.voice.tables import report
from benchmarks.voice.texture import comb_pattern, static_comb_db


def main() -> None:
    options = parsed()
    warnings.filterwarnings("ignore")  # of packages that measure
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    systems, clips = named(options), list_clips(options.originals)
    path = options.output / "scores.csv"
    rows = complete(path, systems, clips, options.nisqa)
    order = {name: place for place, name in enumerate(systems)}
    rows.sort(key=lambda row: (order.get(row.system, len(order)), row.system, row.kind, row.clip))
    write_rows(path, rows)
    text = report(rows, static_combs(systems, clips), options.compare)
    (options.output / "table.md").write_text(text, encoding="utf-8")


def named(options: argparse.Namespace) -> dict[str, Path]:
    """Return the folders by what their systems are called, the originals first.

    Raises:
        SystemExit: Two are called alike, or one to compare isn't there.
    """
    systems = {ORIGINAL: options.originals} | {path.resolve().name: path for path in options.systems}
    if len(systems) != 1 + len(options.systems):
        raise SystemExit("two systems have folders of one name")
    if absent := {name for pair in options.compare for name in pair} - systems.keys():
        raise SystemExit(f"no system is called {', '.join(sorted(absent))}")
    return systems


def complete(path: Path, systems: dict[str, Path], clips: list[Clip], nisqa: Path | None) -> list[Row]:
    """Return the rows of a CSV file and those that it lacks, each added to the file when it is there."""
    rows = read_rows(path)
    write_rows(path, rows)
    known = {row.key for row in rows}
    found = [(name, clip, decoded_file(folder, clip)) for clip in clips for name, folder in systems.items()]
    todo = [(name, clip, file) for name, clip, file in found if file and (name, clip.kind, clip.name) not in known]
    scorer = Scorer(nisqa) if todo else None
    for number, (name, clip, file) in enumerate(todo, start=1):
        rows.append(scored(scorer, name, clip, file, sizes(systems[name])))
        append_row(path, rows[-1])
        print(f"{number}/{len(todo)} {name} {clip.kind}/{clip.name}", file=sys.stderr, flush=True)
    return rows


def scored(scorer: Scorer, name: str, clip: Clip, file: Path, n_bytes: dict[tuple[str, str], int]) -> Row:
    """Return the row of a system's file of a clip."""
    original = read_wave(clip.path)
    seconds, size = len(original) / RATE, n_bytes.get((clip.kind, clip.name), math.nan)
    if name == ORIGINAL:
        scores = scorer.original(clip.kind, original)
    else:
        scores = scorer.decoded(clip.kind, clip.name, *cut_alike(original, read_wave(file)))
    return Row(system=name, kind=clip.kind, clip=clip.name, seconds=seconds, bytes=size, scores=scores)


def sizes(system: Path) -> dict[tuple[str, str], int]:
    """Return the bytes of a system's coded files by kind and clip, none where it doesn't say."""
    path = system / "sizes.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(record["kind"], record["clip"]): int(record["bytes"]) for record in csv.DictReader(file)}


def static_combs(systems: dict[str, Path], clips: list[Clip]) -> dict[tuple[str, str], float]:
    """Return the static comb of each kind and system."""
    found = {}
    for name, folder in systems.items():
        for kind in dict.fromkeys(clip.kind for clip in clips):
            files = [decoded_file(folder, clip) for clip in clips if clip.kind == kind]
            patterns = [comb_pattern(read_wave(file)) for file in files if file]
            found[kind, name] = static_comb_db(pattern for pattern in patterns if pattern is not None)
    return found


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.voice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("originals", type=Path)
    parser.add_argument("systems", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    nisqa = os.environ.get("RVQ_NISQA")
    parser.add_argument(
        "--nisqa", type=Path, default=nisqa and Path(nisqa), help="folder of args.json and nisqa.safetensors"
    )
    parser.add_argument("--compare", nargs=2, action="append", default=[], metavar=("ONE", "OTHER"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
