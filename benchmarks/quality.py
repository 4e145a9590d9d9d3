"""Prints size, speed and quality of recordings at several numbers of layers, through the installed command.

    python benchmarks/quality.py speech.wav music.wav [--layers 3 6 12 24] [--seconds 60] [--command rvq]

Needs the extra `eval`. Quality is the median over pieces of 10 s: ViSQOL (audio mode, 48 kHz) for all, PESQ-WB (16 kHz) for what has
an utterance. "saving" is what entropy coding takes off the raw indices, header and checks included. Times are of the whole process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rvqcodec.training.measure.evaluation import pesq_wideband, visqol

PIECE_S = 10
RATE = 48_000


def timed(command: list[str]) -> float:
    """Run a command and return its wall-clock seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def mono(path: Path) -> np.ndarray:
    """Return a recording as mono float32 at 48 kHz."""
    samples, rate = soundfile.read(path, always_2d=True, dtype="float32")
    return soxr.resample(samples.mean(1), rate, RATE)


def quality(reference: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """Return the medians of ViSQOL and PESQ-WB over pieces."""
    size = PIECE_S * RATE
    starts = range(0, max(1, len(reference) - size + 1), size)
    pairs = [(reference[start : start + size], decoded[start : start + size]) for start in starts]
    found = [(visqol(*pair), pesq_wideband(*pair)) for pair in pairs]
    return tuple(float(np.nanmedian(values)) for values in zip(*found, strict=True))


def row(wav: Path, n_layers: int, command: str, folder: Path) -> str:
    """Encode and decode a recording and return a row of the table."""
    rvq, back = folder / "a.rvq", folder / "a.wav"
    seconds = soundfile.info(wav).duration
    encode = timed([command, "encode", str(wav), str(rvq), "-f", "--layers", str(n_layers)])
    decode = timed([command, "decode", str(rvq), str(back), "-f"])
    about = json.loads(subprocess.run([command, "info", str(rvq), "--json"], check=True, capture_output=True).stdout)
    saving = 100 * (1 - about["actual_kbps"] / about["nominal_kbps"])
    visqol_median, pesq_median = quality(mono(wav), mono(back))
    return (
        f"| {wav.stem} | {n_layers} | {about['size_bytes']} | {about['nominal_kbps']:.1f} | {about['actual_kbps']:.2f} | {saving:.1f} % "
        f"| {seconds / encode:.1f} | {seconds / decode:.1f} | {visqol_median:.2f} | {pesq_median:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 6, 12, 24])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--command", default="rvq")
    options = parser.parse_args()
    print(
        "| file | layers | bytes | nominal kbps | kbps on disk | saving | encode x | decode x | ViSQOL | PESQ-WB |\n"
        + "|---" * 10
        + "|"
    )
    with tempfile.TemporaryDirectory() as name:
        for path in options.files:
            samples, rate = soundfile.read(path, frames=int(options.seconds * soundfile.info(path).samplerate))
            cut = Path(name) / f"{path.stem}.wav"
            soundfile.write(cut, samples, rate)
            for n_layers in options.layers:
                print(row(cut, n_layers, options.command, Path(name)), flush=True)


if __name__ == "__main__":
    main()
