import io

import pytest

from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.trim import trim
from tests.entropies import make_tables, tables_of_sizes
from tests.streams import write_file
from tests.tiny import TRAITS, fewer_layers, make_encoded, make_signal

SOURCE = Source(n_bytes=77, digest=bytes(16), beam_width=1, encoder="test")


@pytest.mark.parametrize("entropy", ["auto", "raw", "static"])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 9])
def test_a_trimmed_file_equals_one_with_fewer_layers(n_layers, entropy):
    tables = make_tables(4, 16)
    encoded = make_encoded(make_signal(), 6100)
    target = io.BytesIO()
    writer = trim(io.BytesIO(write_file(encoded, tables, entropy, tags={"a": "b"}, source=SOURCE)), target, n_layers)
    direct = write_file(fewer_layers(encoded, min(4, n_layers)), tables, entropy, tags={"a": "b"}, source=SOURCE)
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
    assert target.getvalue() == write_file(fewer_layers(encoded, 1))


@pytest.mark.parametrize("trait", [name for name, changes in TRAITS.items() if changes.get("scalable", True)])
@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_any_scalable_signal_is_trimmed(trait, n_layers):
    encoded = make_encoded(make_signal(**TRAITS[trait]), 3900, seed=2)
    tables, extras = tables_of_sizes(encoded.signal.codebook_sizes), {b"covr": b"image", b"chan": b"\1"}
    target = io.BytesIO()
    trim(io.BytesIO(write_file(encoded, tables, extras=extras)), target, n_layers)
    assert target.getvalue() == write_file(fewer_layers(encoded, n_layers), tables, extras=extras)


def test_codes_that_are_not_scalable_are_not_trimmed():
    data = write_file(make_encoded(make_signal(**TRAITS["pairs"]), 3000))
    with pytest.raises(ModelError, match="aren't bitrate-scalable"):
        trim(io.BytesIO(data), io.BytesIO(), 3)
    target = io.BytesIO()
    trim(io.BytesIO(data), target, 4)
    assert target.getvalue() == data
