import itertools

import numpy as np
import pytest

from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.entropy import payload as entropy
from rvqcodec.formats.entropy.frequencies import TOTAL, cost_steps
from rvqcodec.formats.entropy.payload import (
    PayloadReader,
    PayloadWriter,
    StaticTables,
    code_check,
    pack_bits,
    unpack_bits,
)
from tests.entropies import TABLES_ID, make_static, range_decode


def u16(*codes):
    return np.array(codes, np.uint16)


def encode_static(codes, tables):
    writer = PayloadWriter()
    writer.write_static(codes, tables.models[0])
    return writer.finish()


def decode_static(payload, n_frames, tables):
    return PayloadReader(payload).read_static(n_frames, tables.models[0])


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
    assert pack_bits(u16(*codes), codebook_size).hex() == packed
    assert unpack_bits(bytes.fromhex(packed), len(codes), codebook_size).tolist() == list(codes)


def test_raw_payloads_are_checked():
    for payload in (b"", b"\0\0"):
        with pytest.raises(DamageError, match="wrong length"):
            unpack_bits(payload, 3, 4)
    with pytest.raises(DamageError, match="aren't 0"):
        unpack_bits(b"\x01", 3, 4)
    with pytest.raises(DamageError, match="not in its codebook"):
        unpack_bits(b"\xfc", 2, 5)


def test_a_static_payload_has_these_bytes():
    frequencies = np.array([[1 << 23, 1 << 22, 1 << 21, 1 << 21]], np.uint32)
    payload = encode_static(u16(0, 1, 2, 3, 0, 0, 1, 3), StaticTables(TABLES_ID, frequencies))
    assert payload.hex() == "5b97", "here the same as 0 10 110 111 0 0 10 111 of a Huffman code"
    assert range_decode(payload, frequencies[0], 8) == [0, 1, 2, 3, 0, 0, 1, 3]


@pytest.mark.parametrize(("codebook_size", "skew"), list(itertools.product((2, 3, 16, 1024, 4096), (0.5, 4, 300))))
def test_constriction_codes_exactly_the_frequencies(codebook_size, skew):
    """The first code's interval ends exactly where the integers say: its first and last point decode to it."""
    tables = make_static(1, codebook_size, skew=skew)
    ends = np.cumsum(tables.frequencies[0].astype(np.int64))
    scale = ((1 << 64) - 1) >> 24
    for code in {0, 1, codebook_size // 2, codebook_size - 1, int(tables.frequencies[0].argmax())}:
        last = int(ends[code]) * scale - 1
        first = (int(ends[code]) - int(tables.frequencies[0][code])) * scale
        for point in (first, last):
            payload = point.to_bytes(8, "big").rstrip(b"\0")
            assert decode_static(payload, 1, tables)[0] == code
            assert range_decode(payload, tables.frequencies[0], 1) == [code]


@pytest.mark.parametrize("skew", [1, 10, 300])
def test_likely_codes_take_no_room(skew):
    tables = make_static(1, 1024, skew=skew)
    codes = np.full(500, tables.frequencies[0].argmax(), np.uint16)
    payload = encode_static(codes, tables)
    ideal = -500 * np.log2(tables.frequencies[0].max() / TOTAL) / 8
    assert len(payload) <= ideal + 1.1
    assert decode_static(payload, 500, tables).tolist() == codes.tolist()


def test_a_payload_that_no_encoder_writes_is_damage():
    tables = make_static(1, 16)
    with pytest.raises(DamageError, match="a payload is damaged"):
        decode_static(b"\xff" * 8, 5, tables)
    with pytest.raises(DamageError, match="ends in a zero byte"):
        decode_static(b"\1\0", 5, tables)


def test_costs_are_rounded_up():
    tables = make_static(3, 64)
    exact, costs = -64 * np.log2(np.stack(tables.frequencies) / TOTAL), np.stack(tables.costs)
    assert (costs >= exact - 1e-6).all() and (costs < exact + 1 + 1e-6).all()


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


def test_the_shortest_payload_is_found_by_arithmetic():
    """As the specification says: none in the final interval has fewer bytes, none of as many is lower."""
    rng = np.random.default_rng(0)
    for n_codes in (1, 2, 3, 10, 200):
        for skew in (1, 30):
            tables = make_static(1, 300, skew=skew)
            codes = rng.choice(300, n_codes, p=tables.frequencies[0] / TOTAL).astype(np.uint16)
            payload = encode_static(codes, tables)
            assert np.array_equal(decode_static(payload, n_codes, tables), codes)
            for shorter in range(max(0, len(payload) - 3), len(payload)):
                below = int.from_bytes(payload[:shorter], "big")
                for value in (below, below + 1):
                    short = value.to_bytes(shorter + 1, "big")[1:].rstrip(b"\0") if value < 1 << 8 * shorter else b""
                    if short or value == 0:
                        assert range_or_none(short, tables, n_codes) != codes.tolist()


def range_or_none(payload, tables, n_codes):
    try:
        return range_decode(payload, tables.frequencies[0], n_codes)
    except ValueError:
        return None


def test_code_lengths_are_exact_integers():
    every = np.concatenate(
        [np.arange(1, 5000), (1 << 24) - np.arange(3), np.random.default_rng(0).integers(1, 1 << 24, 500)]
    )
    assert cost_steps(every).tolist() == [1536 - (int(f) ** 64).bit_length() + 1 for f in every]


def test_the_check_of_codes():
    assert code_check(u16()) == 0
    assert code_check(np.frombuffer(b"12345678", "<u2").astype(np.uint16)) == entropy.crc32c(b"12345678") & 0xFFFF
