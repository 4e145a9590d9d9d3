import io

import pytest

from rvqcodec.errors import DamageError, LimitError, NotRvqError, TruncatedError
from rvqcodec.formats.rvq.fields import pack_varint
from rvqcodec.formats.rvq.sections import (
    LIMITS,
    MAX_SECTION_BYTES,
    SIGNATURE,
    crc32c,
    intact,
    is_optional,
    pack_section,
    read_section,
    read_signature,
)


def test_crc32c_of_the_standard_example():
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"1234", b"56789") == 0xE3069283


def test_a_section_has_these_bytes():
    assert pack_section(b"abcd", b"xy").hex() == "61626364027879" + crc32c(b"abcd\2xy").to_bytes(4, "little").hex()


def test_read_inverts_pack():
    file = io.BytesIO(pack_section(b"abcd", b"xy") + pack_section(b"CODE", b""))
    first, second = read_section(file), read_section(file)
    assert first == (b"abcd", b"xy", True) and second == (b"CODE", b"", True)
    assert first.n_bytes == 11
    assert read_section(file) is None


def test_a_failed_crc_is_told_then_raised():
    data = bytearray(pack_section(b"abcd", b"xy"))
    data[6] ^= 1
    section = read_section(io.BytesIO(data))
    assert not section.intact
    with pytest.raises(DamageError, match="the place is damaged: its CRC-32C doesn't match"):
        intact(section, "the place")


@pytest.mark.parametrize("n_bytes", range(1, 11))
def test_a_cut_section_is_refused(n_bytes):
    with pytest.raises(TruncatedError, match=r"inside a section|ends early"):
        read_section(io.BytesIO(pack_section(b"abcd", b"xy")[:n_bytes]))


@pytest.mark.parametrize("kind", [b"\0abc", b"ab d", b"ab\xe9d", b"AB-D"])
def test_a_type_is_text(kind):
    with pytest.raises(LimitError, match="not text"):
        read_section(io.BytesIO(kind + bytes(8)))


@pytest.mark.parametrize(
    ("kind", "limit"), [*LIMITS.items(), (b"CODE", MAX_SECTION_BYTES), (b"abcd", MAX_SECTION_BYTES)]
)
def test_a_length_past_its_limit_is_refused_before_reading(kind, limit):
    class OnlyHead(io.BytesIO):
        def read(self, n_bytes=-1):
            assert n_bytes <= 5
            return super().read(n_bytes)

    with pytest.raises(LimitError, match="more than its limit"):
        read_section(OnlyHead(kind + pack_varint(limit + 1)))


@pytest.mark.parametrize(
    ("kind", "optional"), [(b"tags", True), (b"zzzz", True), (b"CODE", False), (b"0abc", False), (b".abc", False)]
)
def test_a_lower_case_letter_first_makes_a_section_optional(kind, optional):
    assert is_optional(kind) is optional


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        (b"", "the file is empty", ""),
        (b"RIFF1234", "not an .rvq file", ""),
        (SIGNATURE[:7], "not an .rvq file", "text"),
        (SIGNATURE.replace(b"\r\n", b"\n"), "not an .rvq file", "text"),
        (b"\x09" + SIGNATURE[1:], "not an .rvq file", "text"),
    ],
)
def test_another_signature_is_refused(data, message, hint):
    with pytest.raises(NotRvqError, match=message) as caught:
        read_signature(io.BytesIO(data))
    assert hint in caught.value.hint


def test_no_section_is_written_that_no_reader_takes():
    with pytest.raises(ValueError, match="exceeds its limit"):
        pack_section(b"chan", bytes(257))


@pytest.mark.parametrize("length", ["8000", "ffffffffff7f"])
def test_a_length_is_in_its_shortest_form_and_not_long(length):
    with pytest.raises((LimitError, TruncatedError), match=r"shortest form|ends early"):
        read_section(io.BytesIO(b"abcd" + bytes.fromhex(length)))
