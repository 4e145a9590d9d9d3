"""Golden vectors: fixed files give fixed codes and waves, fixed codes give fixed files. Only make.py writes them, by hand."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from rvqcodec import errors
from rvqcodec.codec.codec import Codec
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, StaticTables
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.weights.load import load_model
from rvqcodec.weights.registry import find_model, read_model_file
from rvqcodec.weights.tables import read_tables
from tests.entropies import fitting_tables
from tests.streams import read_file, write_file

FOLDER = Path(__file__).parent
WEIGHTS = {"tiny": FOLDER / "tiny.safetensors"}
"""Where the weights of a set of vectors are; of the others their name is known to the registry."""

SETS = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "codes")
TINY = ["empty", "mono-static", "raw", "recovered", "stereo", "three-channels"]
FAILURES = 60


def described(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


VECTORS = [(model, vector) for model in SETS for vector in described(model)["vectors"]]
MUST_FAIL = [(model, vector) for model in SETS for vector in described(model)["must_fail"]]


def file_of(model):
    return read_model_file(WEIGHTS.get(model) or find_model(model).path)


def tables_of(model):
    path = file_of(model).tables_path
    return Tables(static=StaticTables(*read_tables(path)) if path.is_file() else None)


@pytest.fixture(scope="module")
def codecs():
    return {model: Codec(load_model(file_of(model), "cpu"), model) for model in SETS}


def test_none_is_missing():
    assert "tiny" in SETS
    assert sorted(described("tiny")["vectors"]) == [f"tiny-{name}" for name in TINY]
    assert len(described("tiny")["must_fail"]) == FAILURES
    others = json.loads((FOLDER / "codes.json").read_text(encoding="utf-8"))
    listed = {f"{vector}.rvq" for _, vector in VECTORS + MUST_FAIL} | {f"{name}.rvq" for name in others}
    assert listed == {path.name for path in FOLDER.glob("*.rvq")}


def test_every_class_of_error_has_a_file():
    found = {described(model)["must_fail"][vector]["error"] for model, vector in MUST_FAIL}
    assert found == {error.__name__ for error in errors.FormatError.__subclasses__()}


@pytest.mark.parametrize("model", SETS)
def test_the_model_is_the_vectors(model, codecs):
    assert codecs[model].fingerprint == described(model)["fingerprint"]
    tables = tables_of(model)
    assert (tables.static.id if tables.static else None) == described(model)["tables"]


@pytest.mark.parametrize(("model", "vector"), VECTORS)
def test_a_file_gives_its_codes(model, vector):
    data = (FOLDER / f"{vector}.rvq").read_bytes()
    expected = described(model)["vectors"][vector]
    assert hashlib.sha256(data).hexdigest() == expected["file"]
    assert verify(io.BytesIO(data), tables_of(model), deep=True)[1] == expected["codes"]


@pytest.mark.parametrize(("model", "vector"), [pair for pair in VECTORS if not pair[1].endswith("recovered")])
def test_codes_give_their_file(model, vector, monkeypatch):
    """But for a recovered file: its whole chunks still know the levels of the blocks in those that were lost.

    The modes are those of the file: when it was written, there were fewer to choose from.
    """
    data, tables = (FOLDER / f"{vector}.rvq").read_bytes(), tables_of(model)
    reader = RvqReader(io.BytesIO(data))
    tail = reader.read_tail()
    reader.rewind()
    tables = tables if reader.header.table_ids else Tables()
    modes = (entry.mode for chunk in reader.chunks(tables) for entry in chunk.head.entries)
    monkeypatch.setattr(LayerCoder, "_cheapest", lambda *_: Mode(next(modes)))
    written = write_file(
        read_file(data, tables),
        tables,
        chunk_blocks=reader.header.chunk_blocks,
        tags=tail.tags,
        source=tail.source,
    )
    assert written == data


@pytest.mark.parametrize(("model", "vector"), VECTORS)
def test_codes_give_their_wave(model, vector, codecs):
    stored = np.load(FOLDER / f"{vector}.npz")
    expected = stored["wave"] * stored["scale"]
    encoded = read_file((FOLDER / f"{vector}.rvq").read_bytes(), tables_of(model))
    wave = codecs[model].decode(encoded)
    assert wave.shape == expected.shape
    assert np.abs(wave - expected).max(initial=0) < 1e-4 + float(stored["scale"])


@pytest.mark.parametrize(("model", "vector"), MUST_FAIL)
def test_a_file_must_fail(model, vector):
    expected = described(model)["must_fail"][vector]
    with pytest.raises(errors.FormatError) as caught:
        verify(io.BytesIO((FOLDER / f"{vector}.rvq").read_bytes()), fitting_tables(4), deep=True)
    assert type(caught.value).__name__ == expected["error"] and caught.value.message == expected["message"]
