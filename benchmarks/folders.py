"""Prints how a folder of short files compares with one long file, and how much memory thousands of entries take.

    python -m benchmarks.folders AUDIO [--files 500] [--entries 10000] [--runs 2] [--command rvq]

AUDIO is a recording of some minutes; pieces of 2 to 20 s are cut out of it, the same ones in every run. The commands take turns, so that a
noisy machine disturbs all of them; each is told with its best time. Memory is the resident set of all processes of the
run together, read five times a second. Needs the installed command, and Linux' /proc.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

PAGE_MIB = 4096 / 2**20
SHORT_S = 0.3


def cut_pieces(source: Path, folder: Path, n_files: int) -> Path:
    """Write pieces of 2 to 20 s into `folder`/in and all of them as one file; return that."""
    samples, rate = soundfile.read(source, dtype="int16", always_2d=True)
    samples = samples[:, :1]
    generator = np.random.default_rng(0)
    (folder / "in").mkdir()
    pieces = []
    for number in range(n_files):
        n_samples = int(generator.uniform(2, 20) * rate)
        start = int(generator.integers(0, max(1, len(samples) - n_samples)))
        pieces.append(samples[start : start + n_samples])
        soundfile.write(folder / f"in/{number:04}.wav", pieces[-1], rate, "PCM_16")
    long = folder / "long.wav"
    soundfile.write(long, np.concatenate(pieces), rate, "PCM_16")
    print(f"{n_files} files, {sum(map(len, pieces)) / rate:.0f} s of audio")
    return long


def best_times(commands: dict[str, list[str]], runs: int) -> dict[str, float]:
    """Return the best wall-clock seconds of each command; they take turns."""
    times: dict[str, float] = {}
    for _ in range(runs):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name] = min(times.get(name, 1e9), time.perf_counter() - started)
    return times


def compare(command: str, folder: Path, long: Path, runs: int) -> None:
    """Print the times of the folder with 1 and 2 workers and of the long file, both ways."""
    for verb, source, out, one in (
        ("encode", "in", "coded", long),
        ("decode", "coded", "back", long.with_suffix(".rvq")),
    ):
        target = one.with_suffix(".rvq" if verb == "encode" else ".back.wav")
        words = [command, verb, str(folder / source), "-o", str(folder / out), "-f", "-qq"]
        times = best_times(
            {
                "-j 1": [*words, "-j", "1"],
                "-j 2": [*words, "-j", "2"],
                "one file": [command, verb, str(one), str(target), "-f"],
            },
            runs,
        )
        print(
            f"{verb}: -j 1 {times['-j 1']:.1f} s, -j 2 {times['-j 2']:.1f} s, one long file {times['one file']:.1f} s: "
            f"{times['-j 1'] / times['-j 2']:.2f} x one worker, {times['one file'] / times['-j 2']:.2f} x the long file's speed"
        )


def make_entries(source: Path, folder: Path, n_entries: int) -> Path:
    """Write a folder of short files, a hundred different ones and hard links to them."""
    samples, rate = soundfile.read(source, dtype="int16", always_2d=True)
    n_samples = int(SHORT_S * rate)
    many = folder / "many"
    many.mkdir()
    for number in range(n_entries):
        path = many / f"{number:05}.wav"
        if number < 100:
            start = number * n_samples % max(1, len(samples) - n_samples)
            soundfile.write(path, samples[start : start + n_samples, :1], rate, "PCM_16")
        else:
            path.hardlink_to(many / f"{number % 100:05}.wav")
    return many


def resident_mib(root: int) -> tuple[float, float]:
    """Return the resident memory in MiB of a process and its descendants: all together, and the largest."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)], sizes[int(entry.name)] = int(fields[1]), int(fields[21]) * PAGE_MIB
        except OSError:
            continue

    def below(pid: int) -> bool:
        return pid == root or (pid in parents and below(parents[pid]))

    found = [size for pid, size in sizes.items() if below(pid)]
    return sum(found), max(found, default=0.0)


def memory_curve(command: str, many: Path, n_entries: int) -> None:
    """Print the memory of a run over many entries, ten times on the way."""
    out = many.with_name("many-coded")
    words = [command, "encode", str(many), "-o", str(out), "-qq", "-j", "2", "-n", "3", "--effort", "fast"]
    process = subprocess.Popen(words)
    started, told, most, largest = time.perf_counter(), 0, 0.0, 0.0
    while process.poll() is None:
        time.sleep(0.2)
        together, single = resident_mib(process.pid)
        most, largest = max(most, together), max(largest, single)
        n_done = sum(1 for _ in out.glob("*.rvq")) if out.exists() else 0
        if n_done >= told + n_entries // 10:
            told = n_done
            print(
                f"{n_done:6} done after {time.perf_counter() - started:5.0f} s: {together:.0f} MiB together, largest {single:.0f}"
            )
    print(
        f"{n_entries} entries, exit {process.returncode}: at most {most:.0f} MiB together, {largest:.0f} in one process"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.folders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("audio", type=Path)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--command", default="rvq")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.files:
            compare(options.command, folder, cut_pieces(options.audio, folder, options.files), options.runs)
        if options.entries:
            memory_curve(options.command, make_entries(options.audio, folder, options.entries), options.entries)


if __name__ == "__main__":
    main()
