"""Rebuilds the held-out clips from Debian packages: FOLDER/ID.wav, mono, 48 kHz, 16 bit, -22 dBFS RMS.

    python -m benchmarks.heldout FOLDER --debs DEBS [--table benchmarks/heldout.md]

The list is training/corpus/heldout.json; packages that aren't in DEBS are downloaded with apt-get (Debian bookworm main). Every file's
SHA-256 is checked, so another version of a package does as long as the files are the same. Parts that are joined are faded in and out over
5 ms and stand 0.2 s apart; where -22 dBFS would clip, the clip is as loud as it can be. Needs ffmpeg for G.722.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from pathlib import Path

import numpy as np
import soundfile

from rvqcodec.errors import AudioError
from rvqcodec.training.corpus.archives import read_package
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, decode, find_package
from rvqcodec.training.corpus.heldout import HeldOut, HeldOutClip, held_out
from rvqcodec.training.measure.evaluation import LEVEL_DBFS

GAP_S, FADE_S = 0.2, 0.005
PEAK = 0.99


def read_files(deb: Path, wanted: dict[str, str]) -> dict[str, np.ndarray]:
    """Return wanted files of a package by path, decoded: float32 [n_samples], 48 kHz.

    Args:
        deb: The package.
        wanted: Paths and their SHA-256.

    Raises:
        AudioError: A file is absent or has other bytes.
    """
    found = {}
    for path, data in read_package(deb):
        if path in wanted and hashlib.sha256(data).hexdigest() == wanted[path]:
            found[path] = decode(path, data)[0].astype(np.float32) / 32768
    if missing := wanted.keys() - found.keys():
        raise AudioError(f"{deb.name} lacks {min(missing)} with the listed SHA-256")
    return found


def faded(wave: np.ndarray) -> np.ndarray:
    """Return a wave that rises from and falls to nothing."""
    ramp = np.linspace(0, 1, round(FADE_S * SAMPLE_RATE), dtype=np.float32)
    wave = wave.copy()
    wave[: len(ramp)] *= ramp
    wave[-len(ramp) :] *= ramp[::-1]
    return wave


def join(parts: list[np.ndarray]) -> np.ndarray:
    """Return the only part, or all parts with silence between."""
    if len(parts) == 1:
        return parts[0]
    gap = np.zeros(round(GAP_S * SAMPLE_RATE), np.float32)
    return np.concatenate([piece for part in parts for piece in (faded(part), gap)][:-1])


def levelled(wave: np.ndarray) -> np.ndarray:
    """Return a wave at the usual level, or at the highest that doesn't clip."""
    gain = 10 ** (LEVEL_DBFS / 20) / math.sqrt(float(np.mean(np.square(wave))))
    return wave * min(gain, PEAK / float(np.abs(wave).max()))


def assemble(clip: HeldOutClip, files: dict[str, np.ndarray]) -> np.ndarray:
    """Return a clip's wave, float32 [n_samples]."""
    starts = [round(piece.start_s * SAMPLE_RATE) for piece in clip.pieces]
    lengths = [round(piece.seconds * SAMPLE_RATE) for piece in clip.pieces]
    spans = zip(clip.pieces, starts, lengths, strict=True)
    return levelled(join([files[piece.path][start : start + length] for piece, start, length in spans]))


def table(listed: HeldOut) -> str:
    """Return the clips and their packages as Markdown."""
    lines = [
        "# Held-out clips",
        "",
        "Made by `python -m benchmarks.heldout --table`. None of these files is ever trained on.",
        "",
        "| clip | kind | what | package | files | s |",
        "|---|---|---|---|---|---|",
    ]
    for clip in listed.clips:
        seconds = sum(piece.seconds for piece in clip.pieces) + GAP_S * (len(clip.pieces) - 1)
        paths = ", ".join(piece.path.rsplit("/", 1)[-1] for piece in clip.pieces)
        lines.append(f"| {clip.id} | {clip.kind} | {clip.what} | {clip.package} | {paths} | {seconds:.1f} |")
    lines += ["", "| package | version | licences that its copyright file names | clips |", "|---|---|---|---|"]
    for name, source in listed.packages.items():
        n_clips = sum(clip.package == name for clip in listed.clips)
        lines.append(f"| {name} | {source.version} | {source.licence} | {n_clips} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.heldout", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--debs", type=Path, default=Path("debs"))
    parser.add_argument("--table", type=Path, help="write the list as Markdown too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    listed = held_out()
    for package in listed.packages:
        clips = [clip for clip in listed.clips if clip.package == package]
        wanted = {piece.path: piece.sha256 for clip in clips for piece in clip.pieces}
        files = read_files(find_package(options.debs, package), wanted)
        for clip in clips:
            soundfile.write(options.folder / f"{clip.id}.wav", assemble(clip, files), SAMPLE_RATE, "PCM_16")
        print(f"{package}: {len(clips)} clips", file=sys.stderr)
    if options.table:
        options.table.write_text(table(listed), encoding="utf-8")


if __name__ == "__main__":
    main()
