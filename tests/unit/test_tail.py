import pytest

from rvqcodec.errors import LimitError, TruncatedError
from rvqcodec.formats.rvq.head import Entry
from rvqcodec.formats.rvq.sections import END as END_TYPE
from rvqcodec.formats.rvq.sections import pack_section
from rvqcodec.formats.rvq.tail import (
    End,
    Source,
    Tally,
    end_section_bytes,
    pack_end,
    pack_metadata,
    pack_source,
    pack_tags,
    unpack_end,
    unpack_metadata,
    unpack_source,
    unpack_tags,
)

END = End(n_samples=1000, n_chunks=3, modes=3, sizes=(100, 90), n_optional_bytes=300)
SOURCE = Source(n_bytes=1 << 40, digest=bytes(range(16)), beam_width=4, encoder="rvqcodec 0")


def test_an_end_has_these_bytes():
    assert pack_end(END).hex() == "e80703c8011303ac0209"
    assert unpack_end(pack_end(END)) == END
    one = End(n_samples=5, n_chunks=1, modes=1, sizes=(), n_optional_bytes=0)
    assert pack_end(one).hex() == "0501010004" and unpack_end(pack_end(one)) == one


@pytest.mark.parametrize(
    ("packed", "error", "message"),
    [
        ("ffffffffffffff7f0000000b", LimitError, "samples"),
        ("0501010005", LimitError, "length field is wrong"),
        ("050101000400", LimitError, "longer"),
        ("05ffffffff0f01", LimitError, "number of chunks"),
        ("050212010005", LimitError, "impossible chunk size"),
        ("0502ffffff7f010008", LimitError, "size of a chunk"),
        ("0503c801c701010008", LimitError, "impossible chunk size"),
    ],
)
def test_an_end_is_checked(packed, error, message):
    with pytest.raises(error, match=message):
        unpack_end(bytes.fromhex(packed))


def test_a_cut_end_is_refused():
    packed = pack_end(END)
    for n_bytes in range(len(packed)):
        with pytest.raises((TruncatedError, LimitError)):
            unpack_end(packed[:n_bytes])


@pytest.mark.parametrize("n_chunks", [0, 1, 50, 130, 20_000])
def test_an_end_section_is_found_from_its_end(n_chunks):
    sizes = tuple(100 + 9 * (number % 7) for number in range(n_chunks - 1))
    end = End(n_samples=1 << 40, n_chunks=n_chunks, modes=1, sizes=sizes, n_optional_bytes=0)
    section = pack_section(END_TYPE, pack_end(end))
    assert end_section_bytes(b"before" + section) == end_section_bytes((b"before" + section)[-8:]) == len(section)


@pytest.mark.parametrize("last", [b"", b"abc", b"abcd", b"\0abcd", b"\xff" * 9, b"\xff\xff\xff\x80abcd"])
def test_bytes_that_are_no_end_are_noticed(last):
    with pytest.raises(LimitError):
        end_section_bytes(last)


def test_a_tally_adds_up():
    tally = Tally()
    tally.add(100, [Entry(1, 0, 0x0201), Entry(1, 1, 0x0403)], 40)
    tally.add(50, [Entry(1, 1, 0x0605)], 30)
    assert tally.end(10) == End(n_samples=150, n_chunks=2, modes=0b11, sizes=(40,), n_optional_bytes=10)


def test_metadata_has_these_bytes():
    assert pack_metadata({"iXML": b"<>", "bext": b""}).hex() == "02626578740069584d4c023c3e"
    assert unpack_metadata(pack_metadata({"cue ": b"\0\1"})) == {"cue ": b"\0\1"}


@pytest.mark.parametrize(
    "packed", ["05", "016265787405", "016265780a00", "01c3a9626500", "026265787400" * 1 + "6265787400", "0000"]
)
def test_metadata_is_checked(packed):
    with pytest.raises((LimitError, TruncatedError)):
        unpack_metadata(bytes.fromhex(packed))


@pytest.mark.parametrize("items", [{"long kind": b""}, {"é123": b""}, {"bext": bytes(1 << 20)}])
def test_metadata_that_no_reader_takes_is_not_written(items):
    with pytest.raises(ValueError, match="metadata"):
        pack_metadata(items)


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
        ("02016200016100", "ascending order"),
        ("02016100016100", "distinct keys"),
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
    with pytest.raises(LimitError, match="beam width is 0"):
        unpack_source(packed[:24] + bytes(2) + packed[26:])
    with pytest.raises(LimitError, match="longer"):
        unpack_source(packed + b"x")
    with pytest.raises(LimitError, match="UTF-8"):
        unpack_source(packed[:-1] + b"\xff")
    for n_bytes in range(len(packed)):
        with pytest.raises(TruncatedError):
            unpack_source(packed[:n_bytes])
