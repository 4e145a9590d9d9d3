import pytest

from rvqcodec.errors import LimitError, TruncatedError
from rvqcodec.formats.rvq.fields import Fields, pack_signed, pack_varint


@pytest.mark.parametrize(
    ("value", "packed"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), ((1 << 63) - 1, "ff" * 8 + "7f")]
)
def test_varint_has_these_bytes(value, packed):
    assert pack_varint(value).hex() == packed
    assert Fields(bytes.fromhex(packed), "x").varint("v") == value


@pytest.mark.parametrize(("value", "packed"), [(0, "00"), (-1, "01"), (1, "02"), (-64, "7f"), (64, "8001")])
def test_signed_is_zigzag(value, packed):
    assert pack_signed(value).hex() == packed
    assert Fields(bytes.fromhex(packed), "x").signed("v", 100) == value


@pytest.mark.parametrize("packed", ["8000", "ff8000", "ff" * 9, "80" * 12])
def test_a_varint_that_is_longer_than_needed_is_refused(packed):
    with pytest.raises(LimitError, match="shortest form"):
        Fields(bytes.fromhex(packed), "x").varint("v")


@pytest.mark.parametrize("packed", ["", "80", "ffff"])
def test_a_varint_that_is_cut_is_refused(packed):
    with pytest.raises(TruncatedError, match="the thing ends early"):
        Fields(bytes.fromhex(packed), "the thing").varint("v")


def test_signed_limits_hold_on_both_sides():
    for value in (-5, 5):
        assert Fields(pack_signed(value), "x").signed("v", 5) == value
    for value in (-6, 6):
        with pytest.raises(LimitError, match="v is"):
            Fields(pack_signed(value), "x").signed("v", 5)


def test_unsigned_is_little_endian_and_limited():
    assert Fields(b"\x01\x02", "x").unsigned(2, "v") == 0x201
    with pytest.raises(LimitError, match="x: v is 3, outside 4 to 9"):
        Fields(b"\x03", "x").unsigned(1, "v", 4, 9)
    with pytest.raises(TruncatedError):
        Fields(b"\x03", "x").unsigned(2, "v")


def test_text_must_be_utf8_and_there():
    assert Fields("é".encode(), "x").text(2, "name") == "é"
    with pytest.raises(LimitError, match="name is not UTF-8"):
        Fields(b"\xff", "x").text(1, "name")
    with pytest.raises(TruncatedError):
        Fields(b"a", "x").text(2, "name")


def test_finish_refuses_left_overs():
    fields = Fields(b"ab", "x")
    fields.take(1)
    with pytest.raises(LimitError, match="1 bytes longer"):
        fields.finish()
    fields.take(1)
    fields.finish()
