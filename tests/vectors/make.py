"""Makes golden vectors of a model: `python -m tests.vectors.make [NAME]`. Tests never run this; what exists is never changed.

NAME is a model's name (`rvq48`), the path of its weights, or "tiny" (the default), whose weights are made here on the first run, and with
which go the files that must fail (`failures.py`). `make_codes.py` makes vectors of codes alone. Beside the .rvq
files stand `NAME.json` (hashes, and for files that must fail the error) and the decoded waves as NAME-*.npz: int16 `wave`
[channels, samples] times `scale`.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import FormatError
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.formats.rvq.recover import recover
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.weights.load import load_model, save_model
from rvqcodec.weights.registry import find_model, read_model_file
from rvqcodec.weights.tables import read_tables, write_tables
from tests.streams import read_file, write_file
from tests.tiny import tiny_codec
from tests.vectors.failures import make_failures

FOLDER = Path(__file__).parent

SOURCE = Source(n_bytes=123, digest=bytes(range(16)), beam_width=4, encoder="rvqcodec vectors")


def make_tiny():
    path = FOLDER / "tiny.safetensors"
    codec = tiny_codec()
    if not path.exists():
        save_model(codec.model, codec.name, path)
    tables = path.with_name("tiny.static.safetensors")
    if not tables.exists():
        write_tables(tables, counted_tables(codec), codec.name, codec.fingerprint)
    return path


def counted_tables(codec):
    """Return the frequencies of the codes of some waves, one added to each count, uint32 [layers, codebook_size]."""
    codes = codec.encode(make_wave(codec.traits.sample_rate, 40 * codec.traits.sample_rate, 1, seed=7), 4).codes[0]
    counts = np.stack([np.bincount(layer, minlength=codec.traits.groups[0].codebook_size) + 1 for layer in codes])
    frequencies = counts * (TOTAL // counts.sum(1, keepdims=True))
    frequencies[np.arange(len(counts)), counts.argmax(1)] += TOTAL - frequencies.sum(1)
    return frequencies.astype(np.uint32)


def make_wave(rate, n_samples, channels, seed=0):
    """Return noise and chirps that come and go, with a stretch of silence after the middle."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / rate
    chirp = np.sin(2 * np.pi * rate * (0.02 * time + 0.01 * time**2))
    voice = (0.2 * chirp + 0.05 * rng.standard_normal(n_samples)) * (1.1 + np.sin(3 * time))
    pan = 0.6 + 0.5 * np.arange(channels)
    wave = np.cos(pan)[:, None] * voice + 0.02 * rng.standard_normal((channels, n_samples))
    wave[:, int(0.5 * n_samples) : int(0.8 * n_samples)] = 0
    return wave.astype(np.float32)


def make_files(codec, tables):
    """Return the vectors by name: .rvq files as bytes."""
    rate, whole = codec.traits.sample_rate, codec.name == "tiny"
    n_layers = codec.traits.default_layers
    stereo = codec.encode(make_wave(rate, int(2.7 * rate) if whole else int(2.3 * rate), 2), n_layers)
    tags = {"artist": "nobody", "title": "golden é"}
    files = {"stereo": write_file(stereo, tables, chunk_blocks=1, tags=tags, source=SOURCE)}
    if not whole:
        return files
    mono, three = (codec.encode(make_wave(rate, int(1.01 * rate), n, seed=n), 4) for n in (1, 3))
    files["mono-static"] = write_file(mono, tables, "static", chunk_blocks=10)
    files["raw"] = write_file(stereo, EMPTY_TABLES, "raw", chunk_blocks=3)
    files["three-channels"] = write_file(three, tables, chunk_blocks=1)
    files["empty"] = write_file(codec.encode(np.zeros((2, 0), np.float32), 4), tables)
    broken = bytearray(files["stereo"][:-45])
    starts = [i for i in range(len(broken)) if broken[i : i + 4] == b"CODE"]
    broken[starts[1] - 10] ^= 1
    broken[starts[1] + 9] ^= 1
    target = io.BytesIO()
    recover(bytes(broken), target, tables)
    files["recovered"] = target.getvalue()
    return files


def write_new(path, data):
    if path.exists() and path.read_bytes() != data:
        raise SystemExit(f"{path.name} exists and is not changed; this run would have made another")
    path.write_bytes(data)


def describe(name, codec, data, tables):
    """Write one vector with its wave and return what a test compares."""
    _, codes = verify(io.BytesIO(data), tables, deep=True)
    write_new(FOLDER / f"{name}.rvq", data)
    write_wave(f"{name}.npz", codec.decode(read_file(data, tables)))
    return {"file": hashlib.sha256(data).hexdigest(), "codes": codes}


def write_wave(name, wave):
    scale = float(np.abs(wave).max(initial=1e-9)) / 32767
    if not (FOLDER / name).exists():
        np.savez_compressed(FOLDER / name, wave=np.round(wave / scale).astype(np.int16), scale=scale)


def describe_failure(name, data, tables):
    write_new(FOLDER / f"{name}.rvq", data)
    try:
        verify(io.BytesIO(data), tables, deep=True)
    except FormatError as error:
        return {"error": type(error).__name__, "message": error.message}
    raise SystemExit(f"{name} is not refused")


def make_vectors(file, path):
    """Write a model's vectors and their description."""
    codec = Codec(load_model(file, "cpu"), file.name)
    tables = Tables(static=StaticTables(*read_tables(file.tables_path)) if file.tables_path.is_file() else None)
    files = make_files(codec, tables)
    found = {
        "fingerprint": codec.fingerprint,
        "tables": tables.static.id if tables.static else None,
        "vectors": {
            f"{codec.name}-{key}": describe(f"{codec.name}-{key}", codec, data, tables) for key, data in files.items()
        },
        "must_fail": {},
    }
    if codec.name == "tiny":
        failures, tables = make_failures()
        found["must_fail"] = {
            f"fail-{key}": describe_failure(f"fail-{key}", data, tables) for key, data in failures.items()
        }
    write_new(path, (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode())


def main(name):
    file = read_model_file(make_tiny()) if name == "tiny" else find_model(name)
    path = FOLDER / f"{file.name}.json"
    if path.exists():
        raise SystemExit(f"{path.name} exists; vectors are made once for each model")
    make_vectors(file, path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "tiny")
