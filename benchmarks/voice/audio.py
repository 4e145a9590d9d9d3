"""Clips as waves: mono, 48 kHz, float32, an original and what was decoded of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

RATE = 48_000
KINDS = ("speech", "music")
SUFFIXES = (".wav", ".flac")

Wave = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """An original: its kind, its name, its file."""

    kind: str
    name: str
    path: Path


def read_wave(path: Path) -> Wave:
    """Return a file's channels as one, float32 [n_samples] at 48 kHz."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(1)
    wave: Wave = mono if rate == RATE else soxr.resample(mono, rate, RATE)
    return wave


def list_clips(folder: Path) -> list[Clip]:
    """Return the clips of FOLDER/speech and FOLDER/music, sorted.

    Raises:
        SystemExit: There are none.
    """
    clips = [Clip(kind, path.stem, path) for kind in KINDS for path in _audio_files(folder / kind)]
    if not clips:
        raise SystemExit(f"{folder} has no {' or '.join(SUFFIXES)} files in speech/ or music/")
    return clips


def decoded_file(system: Path, clip: Clip) -> Path | None:
    """Return the file of a system that has a clip's name, None where there is none."""
    return next((path for path in _audio_files(system / clip.kind) if path.stem == clip.name), None)


def cut_alike(original: Wave, decoded: Wave) -> tuple[Wave, Wave]:
    """Return both, as long as the shorter one."""
    n_samples = min(len(original), len(decoded))
    return original[:n_samples], decoded[:n_samples]


def frames(wave: Wave, size: int, hop: int) -> npt.NDArray[np.float32]:
    """Return the whole frames of a wave, [n_frames, size]."""
    if len(wave) < size:
        return np.zeros((0, size), np.float32)
    return np.lib.stride_tricks.sliding_window_view(wave, size)[::hop]


def _audio_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
