"""Prints what each entropy mode saves on recordings, and how fast it is, without the model's own work.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.entropy speech.wav music.wav [--layers 6 12 24] [--seconds 180]

Sizes are of whole files: header, checks, flush and all; the saving is against the raw packing of the codes alone. Speeds
are of 12 layers, best of three: mode 3 by numpy, and by numba where that is installed. Encoding here doesn't look whether
what it wrote decodes, as the tool does. Needs the installed command; numba where its speed is asked for.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from rvqcodec.formats.entropy import fast
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.pipeline.stored import read_encoded
from rvqcodec.pipeline.tables import tables_to_write

MODES = ("raw", "static", "counts", "network", "auto")
SPEED_LAYERS = 12
CHUNK_FRAMES = 500


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


def raw_bytes(path: Path) -> int:
    """Return the bytes of all codes, packed at their full width."""
    with path.open("rb") as file:
        return sum(chunk.head.n_payload_bytes for chunk in RvqReader(file).chunks())


def sizes(wav: Path, layers: list[int], command: str) -> None:
    """Print a row for each number of layers."""
    whole, cut, out = (wav.with_suffix(suffix) for suffix in (".raw.rvq", ".cut.rvq", ".out.rvq"))
    run(command, "encode", wav, whole, "-f", "-n", max(layers), "--entropy", "raw")
    for n_layers in layers:
        run(command, "trim", whole, "-n", n_layers, "-o", cut, "-f")
        packed, found = raw_bytes(cut), []
        for mode in MODES:
            run(command, "transcode", cut, "-o", out, "-f", "--entropy", mode)
            found.append(f"{out.stat().st_size} ({100 * (1 - out.stat().st_size / packed):.1f} %)")
        print(
            f"| {wav.stem} | {soundfile.info(wav).channels} | {n_layers} | {packed} | {' | '.join(found)} |", flush=True
        )


def coder_of(chunk: list[np.ndarray], sizes: list[int], tables: Tables, use_network: bool) -> LayerCoder:
    """Return a coder of a chunk's layers of these sizes."""
    return LayerCoder(tables, sizes, [1] * len(sizes), [codes.shape[1] for codes in chunk], use_network=use_network)


def code(chunks: list[list[np.ndarray]], sizes: list[int], tables: Tables, entropy: str) -> tuple[float, float]:
    """Return the seconds that coding chunks [streams][layers, frames] and decoding them took."""
    started, written = time.perf_counter(), []
    for chunk in chunks:
        coder = coder_of(chunk, sizes, tables, entropy in ("auto", "network"))
        written.append([coder.encode([codes[layer] for codes in chunk], entropy) for layer in range(len(sizes))])
    between = time.perf_counter()
    for chunk, layers in zip(chunks, written, strict=True):
        coder = coder_of(chunk, sizes, tables, any(mode == Mode.NETWORK for layer in layers for mode, _ in layer))
        for number, layer in enumerate(layers):
            found = coder.decode([payload for _, payload in layer], [mode for mode, _ in layer])
            if not all(np.array_equal(row, codes[number]) for row, codes in zip(found, chunk, strict=True)):
                raise SystemExit("not decoded to what was coded")
    return between - started, time.perf_counter() - between


def speeds(wav: Path) -> None:
    """Print x real time of each mode."""
    encoded = read_encoded(wav.with_suffix(".raw.rvq"))
    tables, sizes = tables_to_write(encoded.signal.fingerprint, "auto"), list(encoded.signal.codebook_sizes)
    n_frames = encoded.codes.shape[2]
    n_frames = n_frames // CHUNK_FRAMES * CHUNK_FRAMES or n_frames
    starts = range(0, n_frames, CHUNK_FRAMES)
    chunks = [[codes[:SPEED_LAYERS, start : start + CHUNK_FRAMES] for codes in encoded.codes] for start in starts]
    seconds = n_frames * encoded.signal.hop_length / encoded.signal.model_sample_rate
    for loop, rows in (("numpy", 1 << 60), ("numba", -1)):
        fast.ROWS_BEFORE = rows
        if loop == "numba" and fast.compiled(0) is None:
            continue
        for mode in MODES if loop == "numpy" else ("network", "auto"):
            times = np.array([code(chunks, sizes[:SPEED_LAYERS], tables, mode) for _ in range(3)]).min(0)
            encode, decode = seconds / times
            print(f"| {wav.stem} | {len(chunks[0])} | {mode}, {loop} | {encode:.0f} | {decode:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.entropy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 12, 24])
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--command", default="rvq")
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cuts = []
        for path in options.files:
            samples, rate = soundfile.read(path, frames=int(options.seconds * soundfile.info(path).samplerate))
            cuts.append(Path(name) / f"{path.stem}.wav")
            soundfile.write(cuts[-1], samples, rate)
        print(f"| file | channels | layers | raw codes | {' | '.join(MODES)} |\n" + "|---" * 9 + "|")
        for wav in cuts:
            sizes(wav, options.layers, options.command)
        if not options.no_speed:
            print("\n| file | channels | mode | encode x | decode x |\n" + "|---" * 5 + "|")
            for wav in cuts:
                speeds(wav)


if __name__ == "__main__":
    main()
