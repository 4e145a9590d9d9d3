"""A second reader finds in every vector what the first one finds."""

import hashlib
import json
from pathlib import Path

import pytest

from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.weights.tables import read_tables
from tests.conformance.second_reader import read_chunk, read_end, read_head, read_sections
from tests.streams import read_file
from tests.vectors.make_codes import tables_named

FOLDER = Path(__file__).parents[1] / "vectors"

TINY = sorted(json.loads((FOLDER / "tiny.json").read_text(encoding="utf-8"))["vectors"])
CODES = json.loads((FOLDER / "codes.json").read_text(encoding="utf-8"))
MADE_UP = [name for name in CODES if name.startswith(("modes-", "signal-"))]


def compare(data, tables):
    """Insist that the second reader finds in a file what the first one finds."""
    encoded = read_file(data, tables)
    (_, head, _), *rest = read_sections(data)
    h = read_head(head)
    chunks = [(payload, size) for kind, payload, size in rest if kind == b"CODE"]
    read = [read_chunk(payload, h, number, tables) for number, (payload, _) in enumerate(chunks)]
    signal = encoded.signal
    assert (h["name"], h["fingerprint"]) == (signal.model, signal.fingerprint)
    assert (h["r"], h["P"]) == (signal.sample_rate, signal.block_step)
    assert h["layers"] == list(zip(signal.codebook_sizes, signal.strides, strict=True))
    assert [length for _, found, *_ in read for length in found] == encoded.block_frames.tolist()
    if h["levels"] == "rms":
        assert [levels for _, _, found, *_ in read for levels in found] == encoded.levels.T.tolist()
    assert [angle for _, _, _, found, *_ in read for angle in found] == encoded.angles.tolist()
    assert [list(row) for *_, found, _, _ in read for row in found] == (
        encoded.factors.T.tolist() if len(encoded.factors) else []
    )
    n_nonzero = start = 0
    for _, lengths, *_, codes, _ in read:
        for (stream, layer, frame), code in codes.items():
            assert encoded.codes[stream, layer, start + frame] == code
        n_nonzero += sum(code != 0 for code in codes.values())
        start += sum(lengths)
    assert int((encoded.codes != 0).sum()) == n_nonzero
    samples, n_chunks, sizes, modes, optional = read_end(rest[-1][1])
    assert rest[-1][0] == b"END." and samples == encoded.n_samples == sum(found[0] for found in read)
    assert n_chunks == len(chunks) and sizes == [size for _, size in chunks][:-1]
    assert modes == set().union(*(found[-1] for found in read))
    assert optional == sum(size for kind, _, size in rest if kind not in (b"CODE", b"END."))


@pytest.mark.parametrize("vector", TINY)
def test_a_second_reader_finds_the_same(vector):
    tables = Tables(static=StaticTables(*read_tables(FOLDER / "tiny.static.safetensors")))
    compare((FOLDER / f"{vector}.rvq").read_bytes(), tables)


@pytest.mark.parametrize("vector", MADE_UP)
def test_a_second_reader_finds_the_same_in_every_mode_and_kind_of_signal(vector):
    data, about = (FOLDER / f"{vector}.rvq").read_bytes(), CODES[vector]
    assert hashlib.sha256(data).hexdigest() == about["file"]
    (_, head, _), *_ = read_sections(data)
    sizes = [size for size, _ in read_head(head)["layers"]]
    compare(data, tables_named(about["static"], about["network"], sizes))
