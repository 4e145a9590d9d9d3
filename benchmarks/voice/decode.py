"""Takes clips through the installed command at several numbers of layers, and notes what the files weigh.

    python -m benchmarks.voice.decode CLIPS -o FOLDER [--models rvq48] [--layers 6 12 24] [--command rvq]

CLIPS holds speech/ and music/, as `python -m benchmarks.clips` cuts them. Written is FOLDER/MODEL-LAYERS for each model and number of
layers, with the decoded files under the clips' names and sizes.csv: bytes on disk and kbps of each clip. `python -m benchmarks.voice`
scores such folders. Needs the installed command alone; models that `rvq models list` shows.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import subprocess
import tempfile
from pathlib import Path

import soundfile

from benchmarks.voice.audio import Clip, list_clips

COLUMNS = ("kind", "clip", "seconds", "bytes", "kbps")


def main() -> None:
    options = parsed()
    clips = list_clips(options.clips)
    for model in options.models:
        for n_layers in options.layers:
            system = options.output / f"{model}-{n_layers:02}"
            rows = decode(clips, system, model, n_layers, shlex.split(options.command))
            for kind in dict.fromkeys(row["kind"] for row in rows):
                print(
                    f"{system.name} {kind}: {mean_kbps([row for row in rows if row['kind'] == kind]):.2f} kbps",
                    flush=True,
                )


def decode(clips: list[Clip], system: Path, model: str, n_layers: int, command: list[str]) -> list[dict[str, object]]:
    """Write a system's folder, and return the rows of its sizes.csv."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        coded = Path(name)
        for kind in dict.fromkeys(clip.kind for clip in clips):
            files = [clip.path for clip in clips if clip.kind == kind]
            run(
                *command,
                "encode",
                *files,
                "-o",
                f"{coded / kind}/",
                "-f",
                "-qq",
                "--model",
                model,
                "--layers",
                n_layers,
            )
            run(*command, "decode", coded / kind, "-o", system / kind, "-f", "-qq", "--bits", "float")
            rows += [_row(clip, coded / kind / f"{clip.name}.rvq") for clip in clips if clip.kind == kind]
    with (system / "sizes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def mean_kbps(rows: list[dict[str, object]]) -> float:
    """Return the bits of clips by their seconds."""
    return 8 * sum(float(row["bytes"]) for row in rows) / sum(float(row["seconds"]) for row in rows) / 1000


def run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.voice.decode",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["rvq48"])
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 12, 24])
    parser.add_argument("--command", default="rvq")
    return parser.parse_args()


def _row(clip: Clip, coded: Path) -> dict[str, object]:
    seconds, n_bytes = soundfile.info(clip.path).duration, coded.stat().st_size
    kbps = f"{8 * n_bytes / seconds / 1000:.4f}"
    return {"kind": clip.kind, "clip": clip.name, "seconds": round(seconds, 4), "bytes": n_bytes, "kbps": kbps}


if __name__ == "__main__":
    main()
