import hashlib

import pytest

from rvqcodec.errors import LimitError, TruncatedError
from rvqcodec.formats.rvq.chunk import Entry
from rvqcodec.formats.rvq.tail import (
    END_BYTES,
    End,
    Source,
    Tally,
    pack_end,
    pack_index,
    pack_source,
    pack_tags,
    unpack_end,
    unpack_index,
    unpack_source,
    unpack_tags,
)

END = End(n_samples=10, n_chunks=1, modes=3, digest=b"digest!!", n_index_bytes=14, n_optional_bytes=0)
SOURCE = Source(n_bytes=1 << 40, digest=bytes(range(16)), effort=4, encoder="rvqcodec 0")


def test_an_end_has_these_bytes():
    packed = pack_end(END)
    assert len(packed) == END_BYTES
    assert packed.hex() == "0a000000000000000100000003" + b"digest!!".hex() + "0e00000000000000"
    assert unpack_end(packed) == END


def test_an_end_is_checked():
    packed = pack_end(END)
    with pytest.raises(LimitError, match="samples"):
        unpack_end(b"\xff" * 8 + packed[8:])
    with pytest.raises(LimitError, match="modes is 16"):
        unpack_end(packed[:12] + b"\x10" + packed[13:])
    with pytest.raises(LimitError, match="longer"):
        unpack_end(packed + b"\0")
    for n_bytes in range(END_BYTES):
        with pytest.raises(TruncatedError):
            unpack_end(packed[:n_bytes])


def test_a_tally_hashes_the_checks_in_order():
    tally = Tally()
    tally.add(100, [Entry(1, 0, 0x0201), Entry(1, 1, 0x0403)], 40)
    tally.add(50, [Entry(1, 1, 0x0605)], 30)
    end = tally.end(20, 10)
    assert (end.n_samples, end.n_chunks, end.modes) == (150, 2, 0b11)
    assert end.digest == hashlib.sha256(bytes(range(1, 7))).digest()[:8]
    assert tally.sizes == [40, 30]


def test_an_index_has_these_bytes():
    assert pack_index([100, 90, 90]).hex() == "03c8011300"
    for sizes in ([], [100, 90, 90], [13], [1 << 24, 13]):
        assert unpack_index(pack_index(sizes)) == sizes


@pytest.mark.parametrize(
    ("packed", "error", "message"),
    [
        ("", TruncatedError, "ends early"),
        ("02c801", LimitError, "number of chunks|ends early"),
        ("0218", LimitError, "size that no chunk has"),
        ("01c70100", LimitError, "size that no chunk has"),
        ("01c80100", LimitError, "longer"),
        ("ffffffff0f", LimitError, "number of chunks"),
        ("01ffffffff7f", LimitError, "size of a chunk"),
        ("0280010000", LimitError, "longer"),
    ],
)
def test_an_index_is_checked(packed, error, message):
    with pytest.raises((error, TruncatedError), match=message):
        unpack_index(bytes.fromhex(packed))


def test_tags_have_these_bytes():
    assert pack_tags({"b": "é", "a": ""}).hex() == "02016100016202c3a9"
    assert unpack_tags(pack_tags({"b": "é", "a": ""})) == {"a": "", "b": "é"}
    assert unpack_tags(pack_tags({})) == {}


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ("05", "number of tags"),
        ("010000", "length of a key"),
        ("014161", "length of a key|ends early"),
        ("010161ff01", "length of a value|ends early"),
        ("0101ff00", "a key is not UTF-8"),
        ("01016101ff", "a value is not UTF-8"),
        ("02016200016100", "aren't sorted"),
        ("02016100016100", "twice"),
        ("0001", "longer"),
    ],
)
def test_tags_are_checked(packed, message):
    with pytest.raises((LimitError, TruncatedError), match=message):
        unpack_tags(bytes.fromhex(packed))


@pytest.mark.parametrize("tags", [{"": "x"}, {"k" * 65: "x"}, {"é" * 33: "x"}, {"k": "x" * (1 << 17)}])
def test_tags_that_no_reader_takes_are_not_written(tags):
    with pytest.raises(ValueError, match="tag"):
        pack_tags(tags)


def test_a_source_has_these_bytes():
    packed = pack_source(SOURCE)
    assert packed.hex() == "0000000000010000" + bytes(range(16)).hex() + "04000a" + b"rvqcodec 0".hex()
    assert unpack_source(packed) == SOURCE


def test_a_source_is_checked():
    packed = pack_source(SOURCE)
    with pytest.raises(LimitError, match="effort is 0"):
        unpack_source(packed[:24] + bytes(2) + packed[26:])
    with pytest.raises(LimitError, match="longer"):
        unpack_source(packed + b"x")
    with pytest.raises(LimitError, match="UTF-8"):
        unpack_source(packed[:-1] + b"\xff")
    for n_bytes in range(len(packed)):
        with pytest.raises(TruncatedError):
            unpack_source(packed[:n_bytes])
