import dataclasses
import io

import pytest
from tiny import make_encoded, make_signal, make_tables, write_file

from rvqcodec.errors import DamageError
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.trim import trim

SOURCE = Source(n_bytes=77, digest=bytes(16), effort=1, encoder="test")


def fewer(encoded, n_layers):
    signal = dataclasses.replace(encoded.signal, n_layers=n_layers)
    layers = encoded.layers * 0 + n_layers
    return dataclasses.replace(encoded, signal=signal, codes=encoded.codes[:, :n_layers], layers=layers)


@pytest.mark.parametrize("entropy", ["auto", "raw", "static"])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 9])
def test_a_trimmed_file_equals_one_with_fewer_layers(n_layers, entropy):
    tables = make_tables(4, 16)
    encoded = make_encoded(make_signal(), 6100)
    target = io.BytesIO()
    writer = trim(io.BytesIO(write_file(encoded, tables, entropy, tags={"a": "b"}, source=SOURCE)), target, n_layers)
    direct = write_file(fewer(encoded, min(4, n_layers)), tables, entropy, tags={"a": "b"}, source=SOURCE)
    assert target.getvalue() == direct
    assert writer.n_bytes == len(direct)


def test_nothing_can_be_trimmed_to_no_layers():
    with pytest.raises(ValueError, match="at least 1 layer"):
        trim(io.BytesIO(), io.BytesIO(), 0)


def test_a_damaged_file_is_not_trimmed():
    data = bytearray(write_file(make_encoded(make_signal(), 3000)))
    data[-200] ^= 1
    with pytest.raises(DamageError):
        trim(io.BytesIO(data), io.BytesIO(), 1)


def test_an_empty_file_is_trimmed():
    encoded = make_encoded(make_signal(), 0)
    target = io.BytesIO()
    trim(io.BytesIO(write_file(encoded)), target, 1)
    assert target.getvalue() == write_file(fewer(encoded, 1))
