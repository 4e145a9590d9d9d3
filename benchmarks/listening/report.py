"""Makes critical test signals, takes them through encode and decode, and reports the defects that a listener would hear.

    python benchmarks/listening.py -o benchmarks/results/listening [--models rvq48] [--layers 3 6 14 24] [--debs debs]

Models are names or paths of weights files. Needs fluidsynth and dpkg-deb; two Debian packages, 190 MB, are downloaded to `--debs`
where they aren't there. Writes report.md and spectrograms, original and decoded side by side. What was seen in them is written by
hand to seen.md in the same folder, which becomes the last section of the report.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from listening_measures import (
    OCTAVES_HZ,
    Wave,
    decibels,
    level_db,
    lines,
    new_peaks,
    octave_errors,
    pre_echo,
    ripple_db,
    spectra,
    sweep_errors,
    tone_errors,
)
from listening_signals import RATE, SINE_S, SINES_HZ, Excerpt, excerpts

from rvqcodec.codec.codec import Codec
from rvqcodec.pipeline.coding import EncodeOptions, decode_file, encode_file, load_codec
from rvqcodec.weights.registry import DEFAULT_MODEL

FRAME_HZ, TRANSFORM_HZ = 50, 150
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
PICTURED_LAYERS = (6, 14)
PICTURED_COLUMNS = 320
N_GRAYS, GRAYS_FROM_DB, GRAYS_TO_DB = 16, -110, -30

Run = tuple[str, int]  # model and layers
Waves = dict[str, Wave]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 6, 14, 24])
    parser.add_argument("--debs", type=Path, default=Path("debs"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    signals = excerpts(options.debs)
    runs: dict[Run, Waves] = {}
    for name in options.models:
        codec = load_codec(name)
        for n_layers in options.layers:
            print(f"{name}, {n_layers} layers", flush=True)
            runs[Path(name).stem, n_layers] = {signal.name: coded(signal.wave, codec, n_layers) for signal in signals}
    pictures = write_pictures(options.output, signals, runs)
    seen = options.output / "seen.md"
    text = report(signals, runs, pictures, seen.read_text(encoding="utf-8") if seen.exists() else "Nothing yet.\n")
    (options.output / "report.md").write_text(text, encoding="utf-8")


def coded(wave: Wave, codec: Codec, n_layers: int) -> Wave:
    """Return a wave after encoding and decoding, through files of floats."""
    with tempfile.TemporaryDirectory() as name:
        source, rvq, back = (Path(name) / file for file in ("a.wav", "a.rvq", "b.wav"))
        soundfile.write(source, wave, RATE, "FLOAT")
        encode_file(source, rvq, codec, EncodeOptions(n_layers=n_layers))
        decode_file(rvq, back, codec)
        decoded: Wave = soundfile.read(back)[0]
    return decoded


def report(signals: list[Excerpt], runs: dict[Run, Waves], pictures: list[Path], seen: str) -> str:
    """Return the report as Markdown."""
    originals = {signal.name: signal.wave for signal in signals}
    sections = {
        "Signals": sources(signals),
        "Levels (dBFS, RMS)": levels(originals, runs),
        f"Noise (lines at multiples of {FRAME_HZ} Hz over what is 4 to 20 Hz away, and ripple of 75 Hz, dB)": noise_lines(
            originals, runs
        ),
        "Sines (level error in dB / noise to tone in dB)": sines(originals, runs),
        "Sweep (median level error in dB / noise to tone in dB, by octave)": swept(originals, runs),
        "Pre-echo (dB, RMS 5 to 20 ms before an attack)": pre_echoes(originals, runs),
        "Dullness (level of an octave less the original's, dB)": dullness(originals, runs),
        "Birdies (peaks a second above 4 kHz that the original lacks / peaks of the original that are lost)": birdies(
            originals, runs
        ),
        "Spectrograms": gallery(pictures),
        "What is seen": seen,
    }
    head = "# Listening test without ears\n\nWritten by `python benchmarks/listening.py`; the last section by hand.\n"
    return head + "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in sections.items())


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    names = list(head)
    cells: list[Iterable[object]] = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


def sources(signals: list[Excerpt]) -> str:
    rows = [(signal.name, f"{len(signal.wave) / RATE:.1f}", signal.source) for signal in signals]
    return table(("signal", "seconds", "source and licence"), rows)


def levels(originals: Waves, runs: dict[Run, Waves]) -> str:
    names = ("silence", "quiet noise", "white noise", "pink noise")
    rows = [("original", "", *(f"{level_db(originals[name]):.1f}" for name in names))]
    rows += [(*map(str, run), *(f"{level_db(waves[name]):.1f}" for name in names)) for run, waves in runs.items()]
    return table(("model", "layers", *names), rows)


def noise_lines(originals: Waves, runs: dict[Run, Waves]) -> str:
    multiples = np.arange(FRAME_HZ, 20_000, FRAME_HZ)
    of_transform = multiples % TRANSFORM_HZ == 0
    labelled: dict[tuple[str, str], Waves] = {("original", ""): originals}
    labelled |= {(model, str(n_layers)): waves for (model, n_layers), waves in runs.items()}
    rows = []
    for name in ("white noise", "pink noise", "quiet noise"):
        for label, waves in labelled.items():
            found = [lines(waves[name], multiples[inside]) for inside in (~of_transform, of_transform)]
            cells = [
                f"{line.median_db:.1f}, {line.worst_db:.1f} at {line.worst_hz} Hz, {line.n_heard}" for line in found
            ]
            rows.append((name, *label, *cells, f"{ripple_db(waves[name]):.2f}"))
    heads = (f"{which} {TRANSFORM_HZ} Hz: median below 3 kHz, worst, n over 6 dB" for which in ("not of", "of"))
    return table(("signal", "model", "layers", *heads, "ripple"), rows)


def sines(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for run, waves in runs.items():
        cells = []
        for number, hz in enumerate(SINES_HZ):
            inside = slice(int((number + 1 / 6) * SINE_S * RATE), int((number + 5 / 6) * SINE_S * RATE))
            errors = tone_errors(originals["sines"][inside], waves["sines"][inside], hz)
            cells.append(f"{errors.level_db:+.1f} / {errors.noise_to_tone_db:.0f}")
        rows.append((*run, *cells))
    return table(("model", "layers", *(f"{hz} Hz" for hz in SINES_HZ)), rows)


def swept(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for run, waves in runs.items():
        found = sweep_errors(originals["sweep"], waves["sweep"])
        rows.append((*run, *(f"{errors.level_db:+.1f} / {errors.noise_to_tone_db:.0f}" for errors in found.values())))
    return table(("model", "layers", *(f"{hz} Hz" for hz in OCTAVES_HZ)), rows)


def pre_echoes(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name in ("clicks", "castanets", "drums"):
        for run, waves in runs.items():
            found = pre_echo(originals[name], waves[name])
            rows.append((name, *run, f"{found.excess_db:+.1f}", f"{found.to_attack_db:.1f}"))
    return table(("signal", "model", "layers", "over the original, -90 dBFS at the least", "to the attack"), rows)


def dullness(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name in originals:
        if name == "silence":
            continue
        for run, waves in runs.items():
            found = octave_errors(originals[name], waves[name])
            rows.append((name, *run, *("" if np.isnan(error) else f"{error:+.1f}" for error in found)))
    return table(("signal", "model", "layers", *(f"{hz} Hz" for hz in OCTAVES_HZ)), rows)


def birdies(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name, original in originals.items():
        found = [(new_peaks(original, waves[name]), new_peaks(waves[name], original)) for waves in runs.values()]
        rows.append((name, *(f"{new:.1f} / {lost:.1f}" for new, lost in found)))
    return table(("signal", *(f"{model}, {n_layers}" for model, n_layers in runs)), rows)


def gallery(pictures: list[Path]) -> str:
    panes = ", ".join(f"{n_layers} layers" for n_layers in PICTURED_LAYERS)
    about = f"The whole signal, 0 to 24 kHz with marks each 4 kHz; original, then {panes} where they were asked for."
    return about + "".join(f"\n\n{path.stem}\n\n![{path.stem}]({path.name})" for path in pictures)


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


if __name__ == "__main__":
    main()
