import itertools

import numpy as np
import pytest
from tiny import TABLES_ID, make_tables, range_decode

from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats import entropy
from rvqcodec.formats.entropy import TOTAL, Mode, StaticTables, choose_mode, code_check, decode_layer, encode_layer


def u16(*codes):
    return np.array(codes, np.uint16)


@pytest.mark.parametrize(
    ("codes", "codebook_size", "packed"),
    [
        ((1, 2, 3), 4, "6c"),
        ((0, 1023, 0), 1024, "003ff000"),
        ((4, 0), 5, "80"),
        ((65535,), 65536, "ffff"),
        ((0,), 2, "00"),
    ],
)
def test_raw_codes_are_bits_high_bit_first(codes, codebook_size, packed):
    assert encode_layer(u16(*codes), 0, Mode.RAW, codebook_size, None).hex() == packed
    assert decode_layer(bytes.fromhex(packed), len(codes), 0, 0, codebook_size, None).tolist() == list(codes)


def test_raw_payloads_are_checked():
    for payload in (b"", b"\0\0"):
        with pytest.raises(DamageError, match="wrong length"):
            decode_layer(payload, 3, 0, 0, 4, None)
    with pytest.raises(DamageError, match="not in its codebook"):
        decode_layer(b"\xff", 2, 0, 0, 5, None)


def test_no_codes_are_no_bytes():
    tables = make_tables(1, 16)
    for mode in Mode:
        assert encode_layer(u16(), 0, mode, 16, tables) == b""
        assert decode_layer(b"", 0, 0, mode, 16, tables).size == 0
        with pytest.raises(DamageError, match="where no code is"):
            decode_layer(b"x", 0, 0, mode, 16, tables)


def test_a_code_past_its_codebook_is_the_callers_mistake():
    with pytest.raises(ValueError, match="code 16 in a codebook of 16"):
        encode_layer(u16(16), 0, Mode.RAW, 16, None)


def test_a_static_payload_has_these_bytes():
    frequencies = np.array([[1 << 23, 1 << 22, 1 << 21, 1 << 21]], np.uint32)
    payload = encode_layer(u16(0, 1, 2, 3, 0, 0, 1, 3), 0, Mode.STATIC, 4, StaticTables(TABLES_ID, frequencies))
    assert payload.hex() == "5b97", "here the same as 0 10 110 111 0 0 10 111 of a Huffman code"
    assert range_decode(payload, frequencies[0], 8) == [0, 1, 2, 3, 0, 0, 1, 3]


@pytest.mark.parametrize(("codebook_size", "skew"), list(itertools.product((2, 3, 16, 1024, 4096), (0.5, 4, 300))))
def test_constriction_codes_exactly_the_frequencies(codebook_size, skew):
    """The first code's interval ends exactly where the integers say: its first and last point decode to it."""
    tables = make_tables(1, codebook_size, skew=skew)
    ends = np.cumsum(tables.frequencies[0].astype(np.int64))
    scale = ((1 << 64) - 1) >> 24
    for code in {0, 1, codebook_size // 2, codebook_size - 1, int(tables.frequencies[0].argmax())}:
        last = int(ends[code]) * scale - 1
        first = (int(ends[code]) - int(tables.frequencies[0, code])) * scale
        for point in (first, last):
            payload = point.to_bytes(8, "big").rstrip(b"\0")
            assert decode_layer(payload, 1, 0, 1, codebook_size, tables)[0] == code
            assert range_decode(payload, tables.frequencies[0], 1) == [code]


@pytest.mark.parametrize("skew", [1, 10, 300])
def test_likely_codes_take_no_room(skew):
    tables = make_tables(1, 1024, skew=skew)
    codes = np.full(500, tables.frequencies[0].argmax(), np.uint16)
    payload = encode_layer(codes, 0, Mode.STATIC, 1024, tables)
    ideal = -500 * np.log2(tables.frequencies[0].max() / TOTAL) / 8
    assert len(payload) <= ideal + 1.1
    assert decode_layer(payload, 500, 0, 1, 1024, tables).tolist() == codes.tolist()


def test_a_payload_that_no_encoder_writes_is_damage():
    tables = make_tables(1, 16)
    with pytest.raises(DamageError, match="a payload is damaged"):
        decode_layer(b"\xff" * 8, 5, 0, 1, 16, tables)
    with pytest.raises(DamageError, match="ends in a zero byte"):
        decode_layer(b"\1\0", 5, 0, 1, 16, tables)


def test_tables_that_are_not_at_hand_are_said():
    codes = u16(1, 2)
    with pytest.raises(ModelError, match="not at hand"):
        decode_layer(b"\1", 2, 0, 1, 16, None)
    with pytest.raises(ModelError, match="not at hand"):
        decode_layer(b"\1", 2, 1, 1, 16, make_tables(1, 16))
    with pytest.raises(ModelError, match="not at hand"):
        decode_layer(b"\1", 2, 0, 1, 16, make_tables(1, 32))
    with pytest.raises(ModelError, match="entropy mode 3 is not known"):
        decode_layer(b"\1", 2, 0, 3, 16, None)
    with pytest.raises(ModelError, match="no static entropy tables"):
        choose_mode(codes, 0, 16, None, "static")


def test_the_cheaper_mode_is_chosen_by_integers():
    tables = StaticTables(TABLES_ID, np.array([[TOTAL // 2, TOTAL // 4, TOTAL // 8, TOTAL // 8]], np.uint32))
    assert tables.costs.tolist() == [[64, 128, 192, 192]]
    cheap, equal, dear = u16(0, 0, 3), u16(1, 1, 1), u16(3, 3, 1)
    assert [choose_mode(codes, 0, 4, tables, "auto") for codes in (cheap, equal, dear)] == [1, 0, 0]
    assert choose_mode(dear, 0, 4, tables, "static") == Mode.STATIC
    assert choose_mode(cheap, 0, 4, tables, "raw") == Mode.RAW
    assert choose_mode(cheap, 1, 4, tables, "auto") == Mode.RAW, "there are no tables for the second layer"
    assert choose_mode(cheap, 0, 8, tables, "auto") == Mode.RAW, "the tables are of another codebook"


def test_costs_are_rounded_up():
    tables = make_tables(3, 64)
    exact = -64 * np.log2(tables.frequencies / TOTAL)
    assert (tables.costs >= exact - 1e-6).all() and (tables.costs < exact + 1 + 1e-6).all()


@pytest.mark.parametrize(
    "frequencies",
    [
        np.full((1, 4), 1 << 22, np.int64),
        np.full(4, 1 << 22, np.uint32),
        np.full((1, 1), 1 << 24, np.uint32),
        np.array([[0, 1 << 24]], np.uint32),
        np.array([[1, 1 << 24]], np.uint32),
        np.array([[(1 << 32) - 1, (1 << 24) + 1]], np.uint32),
    ],
)
def test_tables_follow_the_rule(frequencies):
    with pytest.raises(ModelError, match="static entropy tables must"):
        StaticTables(TABLES_ID, frequencies)


def test_the_check_of_codes():
    assert code_check(u16()) == 0
    assert code_check(np.frombuffer(b"12345678", "<u2").astype(np.uint16)) == entropy.crc32c(b"12345678") & 0xFFFF
