import hashlib
import io
import json

import pytest

from rvqcodec.errors import DamageError, ModelError, TruncatedError
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.verify import summarize, verify
from tests.entropies import fitting_tables, make_tables
from tests.streams import Pipe, write_file
from tests.tiny import make_encoded, make_signal

TABLES = fitting_tables(3)
ENCODED = make_encoded(make_signal(), 6100)
SOURCE = Source(n_bytes=77, digest=bytes(range(16)), beam_width=4, encoder="test")


@pytest.mark.parametrize("chunk_blocks", [1, 2, 5])
@pytest.mark.parametrize("entropy", ["raw", "auto"])
def test_the_hash_of_the_codes_depends_on_the_codes_alone(chunk_blocks, entropy):
    data = write_file(ENCODED, TABLES, entropy, chunk_blocks=chunk_blocks)
    expected = hashlib.sha256(ENCODED.codes.transpose(2, 0, 1).astype("<u2").tobytes()).hexdigest()
    for file in (io.BytesIO(data), Pipe(data)):
        tail, digest = verify(file, TABLES, deep=True)
        assert digest == expected and tail.end.n_samples == 6100


def test_codes_are_hashed_only_when_asked_for():
    data = write_file(ENCODED, fitting_tables(4), "static")
    assert verify(io.BytesIO(data))[1] == ""
    with pytest.raises(ModelError, match="not available"):
        verify(io.BytesIO(data), deep=True)


def test_wrong_codes_under_a_right_crc_are_found_by_decoding():
    data = write_file(ENCODED, fitting_tables(4), "static")
    other = make_tables(4, 16, seed=3)
    verify(io.BytesIO(data), other)
    with pytest.raises(DamageError, match="layer 1"):
        verify(io.BytesIO(data), other, deep=True)


def test_a_summary_says_what_the_file_is():
    data = write_file(ENCODED, TABLES, tags={"title": "x"}, source=SOURCE, extras={b"covr": b"image"})
    found = summarize(io.BytesIO(data))
    expected = {
        "format_version": "1.0",
        "model": "tiny",
        "fingerprint": "0123456789abcdef",
        "sample_rate": 1000,
        "channels": 2,
        "n_samples": 6100,
        "duration_s": 6.1,
        "n_layers": 4,
        "groups": [{"n_layers": 4, "codebook_size": 16, "stride": 1, "kind": "vector"}],
        "scalable": True,
        "levels": "rms",
        "frame_rate": 50.0,
        "nominal_kbps": 1.6,
        "size_bytes": len(data),
        "tables": [TABLES.static.id],
        "n_chunks": 4,
        "chunk_s": 2.0,
        "stereo": "rotated",
        "tags": {"title": "x"},
        "sections": {"covr": 5},
        "source": {"n_bytes": 77, "digest": bytes(range(16)).hex(), "beam_width": 4, "encoder": "test"},
    }
    assert {key: found[key] for key in expected} == expected
    assert set(found["entropy"]) == {"static", "counts"}
    assert found["actual_kbps"] == pytest.approx(len(data) * 8 / 6.1 / 1000)
    json.dumps(found)


def test_a_summary_of_nothing():
    found = summarize(io.BytesIO(write_file(make_encoded(make_signal(), 0))))
    assert (found["n_samples"], found["actual_kbps"], found["entropy"], found["source"]) == (0, 0.0, [], None)


def test_a_cut_file_has_no_summary():
    with pytest.raises(TruncatedError, match="end section"):
        summarize(io.BytesIO(write_file(ENCODED)[:-1]))
