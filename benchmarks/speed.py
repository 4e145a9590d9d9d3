"""Prints how fast the installed command is: the whole process, start-up included.

    python -m benchmarks.speed [--music FILE] [--speech FILE] [--runs 3] [--layers 12] [--command rvq]

Without recordings of your own, three minutes of a synthetic signal are used; the codec's speed doesn't depend on the sound,
only silence is faster. x real time is the median over the runs. Needs the installed command alone, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

SECONDS = 180
RATE = 44_100


def synthetic(path: Path, channels: int) -> Path:
    """Write a gliding harmonic tone over coloured noise, decorrelated between the channels."""
    generator = np.random.default_rng(0)
    t = np.arange(SECONDS * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t)) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 13)) * 0.1
    noise = generator.standard_normal((len(t), channels)) * 0.02
    soundfile.write(path, (tone[:, None] + noise).astype(np.float32), RATE, "PCM_16")
    return path


def three_minutes(path: Path, folder: Path) -> Path:
    """Return the first three minutes of a recording, repeated where it is shorter."""
    samples, rate = soundfile.read(path, always_2d=True, dtype="float32")
    n_samples = SECONDS * rate
    cut = folder / f"{path.stem}.wav"
    soundfile.write(cut, np.tile(samples, (1 + n_samples // len(samples), 1))[:n_samples], rate, "PCM_16")
    return cut


def seconds_of(command: list[str], runs: int) -> float:
    """Return the median wall-clock seconds of a command."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--music", type=Path)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--effort", default="default")
    parser.add_argument("--command", default="rvq")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, channels, given in (("stereo music", 2, options.music), ("mono speech", 1, options.speech)):
            wav = three_minutes(given, folder) if given else synthetic(folder / f"{channels}.wav", channels)
            rvq, back = wav.with_suffix(".rvq"), wav.with_suffix(".back.wav")
            layers = ["--layers", str(options.layers), "--effort", options.effort]
            encode = seconds_of([options.command, "encode", str(wav), str(rvq), "-f", *layers], options.runs)
            decode = seconds_of([options.command, "decode", str(rvq), str(back), "-f"], options.runs)
            kbps = rvq.stat().st_size * 8 / SECONDS / 1000
            print(
                f"{kind}, {SECONDS} s, {options.layers} layers, {kbps:.2f} kbps on disk: "
                f"encode {SECONDS / encode:.1f} x, decode {SECONDS / decode:.1f} x real time"
            )


if __name__ == "__main__":
    main()
