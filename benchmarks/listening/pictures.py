"""Spectrograms of signals, original and decoded side by side, as PNG files of 16 grays."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.listening.measures import Wave, decibels, spectra
from benchmarks.listening.report import PICTURED_LAYERS, Run, Waves
from benchmarks.listening.signals import Excerpt

PICTURED = (
    "white noise",
    "sines",
    "sweep",
    "clicks",
    "castanets",
    "applause",
    "choir",
    "female voice",
    "glockenspiel",
    "drums",
)
PICTURED_COLUMNS = 320
N_GRAYS, GRAYS_FROM_DB, GRAYS_TO_DB = 16, -110, -30


def write_pictures(folder: Path, signals: list[Excerpt], runs: dict[Run, Waves]) -> list[Path]:
    """Write one picture for each model and pictured signal, and return their paths."""
    written = []
    for model in dict.fromkeys(name for name, _ in runs):
        shown = [runs[model, n_layers] for n_layers in PICTURED_LAYERS if (model, n_layers) in runs]
        for signal in signals:
            if signal.name in PICTURED and shown:
                path = folder / f"{model}-{signal.name.replace(' ', '-')}.png"
                path.write_bytes(png(side_by_side([signal.wave, *(waves[signal.name] for waves in shown)])))
                written.append(path)
    return written


def side_by_side(waves: list[Wave]) -> npt.NDArray[np.uint8]:
    """Return spectrograms beside each other as grays 0 to 15, the loud ones dark, high frequencies at the top."""
    panes = []
    for wave in waves:
        power = spectra(wave, 1024, len(wave) // PICTURED_COLUMNS)[:, :512].reshape(-1, 256, 2).mean(2)
        scaled = (decibels(power) - GRAYS_FROM_DB) / (GRAYS_TO_DB - GRAYS_FROM_DB)
        grays = np.clip((1 - scaled) * N_GRAYS, 0, N_GRAYS - 1).astype(np.uint8).T[::-1]
        marks = np.zeros((256, 6), np.uint8)
        marks[:, 1:] = N_GRAYS - 1
        marks[np.arange(1, 6) * 256 // 6] = 0
        panes += [marks, grays]
    return np.concatenate(panes, axis=1)


def png(grays: npt.NDArray[np.uint8]) -> bytes:
    """Return grays [height, width], each under 16, as a PNG of 4 bits a pixel.

    Source: PNG specification, third edition, sections 5, 7 and 11.
    """
    height, width = grays.shape
    even = np.pad(grays, ((0, 0), (0, width % 2)))
    rows = np.pad(even[:, ::2] << 4 | even[:, 1::2], ((0, 0), (1, 0)))  # a filter byte, 0, before each row

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)) + chunk(b"IEND", b"")
