import dataclasses

import numpy as np
import pytest

from rvqcodec.encoded import CodedBlock
from rvqcodec.errors import DamageError, LimitError, TruncatedError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES
from rvqcodec.formats.rvq.chunk import decode_codes, lost_chunk, pack_chunk, unpack_blocks
from rvqcodec.formats.rvq.head import (
    ChunkHead,
    Entry,
    check_lengths,
    frames_of,
    max_head_bytes,
    min_head_bytes,
    pack_head,
    unpack_head,
)
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import crc32c
from tests.entropies import make_tables, tables_of_sizes
from tests.tiny import TRAITS, make_encoded, make_signal

HEADER = Header(signal=make_signal(), chunk_blocks=2)
HEAD = ChunkHead(
    number=3,
    n_layers=1,
    n_samples=1500,
    block_frames=(50, 25),
    levels=np.array([[9, 0], [8, 0], [7, 6], [0, 5]], np.uint8),
    angles=np.array([0, 511, 255, 256], np.uint16),
    factors=np.zeros((0, 2), np.float32),
    entries=(Entry(2, 1, 0x1234), Entry(1, 0, 0xFFFF)),
)


def equal(one, other):
    return repr(one) == repr(other)


def sealed(data):
    return data + crc32c(data).to_bytes(4, "little")


def test_a_head_has_these_bytes():
    body = bytes.fromhex("0301dc0b09000800070600050001ff030211341208ffff")
    assert pack_head(HEAD, HEADER) == sealed(body)
    head, start = unpack_head(pack_head(HEAD, HEADER) + b"rest", HEADER)
    assert equal(head, HEAD) and start == len(body) + 4


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("03" "05" "dc0b", LimitError, "layers is 5"),
        ("03" "01" "00", LimitError, "samples is 0"),
        ("03" "01" "d10f", LimitError, "samples is 2001"),
        ("ffffffff0f" "01" "dc0b", LimitError, "number is 4294967295"),
        ("03" "00" "01" "00000000" "0000", TruncatedError, "a chunk's head ends early"),
        ("03" "00" "01" "000000000000" "8104", LimitError, "angle is"),
        ("03" "01" "01" "000001000000" "000000" "ffffff7f", LimitError, "length of a payload"),
    ],
)  # fmt: skip
def test_a_field_past_its_limit_is_refused(body, error, message):
    with pytest.raises(error, match=message):
        unpack_head(bytes.fromhex(body), HEADER)


def test_a_heads_crc_is_checked():
    packed = bytearray(pack_head(HEAD, HEADER))
    packed[4] ^= 1
    with pytest.raises(DamageError, match="head is damaged"):
        unpack_head(bytes(packed), HEADER)


@pytest.mark.parametrize("n_bytes", range(27))
def test_a_cut_head_is_refused(n_bytes):
    packed = pack_head(HEAD, HEADER)
    assert len(packed) == 27
    with pytest.raises(TruncatedError):
        unpack_head(packed[:n_bytes], HEADER)


@pytest.mark.parametrize("before", [0, 255, 256, 511])
@pytest.mark.parametrize("after", [0, 255, 256, 511])
def test_angles_go_the_shorter_way_round(before, after):
    head = dataclasses.replace(HEAD, angles=np.array([before, after, before, after], np.uint16))
    packed = pack_head(head, HEADER)
    assert unpack_head(packed, HEADER)[0].angles.tolist() == [before, after, before, after]
    assert len(packed) <= max_head_bytes(HEADER)


def test_heads_keep_within_their_bounds():
    levels = np.full((4, 2), 255, np.uint8)
    entries = (Entry(65536, 3, 0xFFFF),) * 8
    angles = np.array([256, 0, 256, 0], np.uint16)
    largest = dataclasses.replace(HEAD, n_layers=4, n_samples=2000, levels=levels, entries=entries, angles=angles)
    assert len(pack_head(largest, HEADER)) <= max_head_bytes(HEADER)
    assert len(lost_chunk(HEADER, 0, 2000)) >= min_head_bytes(HEADER)


def make_chunk(tables=EMPTY_TABLES, entropy="auto", n_samples=1500, **changes):
    encoded = make_encoded(make_signal(), n_samples, **changes)
    return encoded, pack_chunk(HEADER, 0, list(encoded.blocks()), n_samples, tables, entropy)


@pytest.mark.parametrize("entropy", ["raw", "static", "auto"])
def test_a_chunk_gives_its_blocks_back(entropy):
    tables = make_tables(4, 16)
    encoded, payload = make_chunk(tables, entropy)
    head, start = unpack_head(payload, HEADER)
    check_lengths(payload, start, head)
    codes, n_layers = decode_codes(payload, start, head, HEADER, tables)
    assert n_layers == 4 and np.array_equal(codes, encoded.codes)
    assert [repr(block) for block in unpack_blocks(head, codes)] == [repr(b) for b in encoded.blocks()]


def test_layers_stand_one_after_the_other_coarsest_first():
    _, payload = make_chunk(silent=0)
    head, start = unpack_head(payload, HEADER)
    cut = head.with_layers(2)
    assert head.entries[:4] == cut.entries and len(head.entries) == 8
    _, fewer = make_chunk(silent=0)
    assert fewer[start : start + cut.n_payload_bytes] == payload[start : start + sum(e.n_bytes for e in cut.entries)]


def test_silent_streams_have_no_entries():
    _, payload = make_chunk(silent=1.0)
    head, start = unpack_head(payload, HEADER)
    assert head.entries == () and head.n_layers == 4 and start == len(payload)
    codes, n_layers = decode_codes(payload, start, head, HEADER, EMPTY_TABLES)
    assert not codes.any() and n_layers == 4


@pytest.mark.parametrize("layer", range(4))
def test_damage_costs_its_layer_and_those_above(layer):
    encoded, payload = make_chunk(silent=0, entropy="raw")
    head, start = unpack_head(payload, HEADER)
    broken = bytearray(payload)
    broken[start + sum(entry.n_bytes for entry in head.entries[: 2 * layer + 1])] ^= 0x40
    codes, n_layers = decode_codes(bytes(broken), start, head, HEADER, EMPTY_TABLES)
    assert n_layers == layer
    assert np.array_equal(codes[:, :layer], encoded.codes[:, :layer]) and not codes[:, layer:].any()


def test_a_cut_payload_keeps_the_layers_before_the_cut():
    encoded, payload = make_chunk(silent=0)
    head, start = unpack_head(payload, HEADER)
    codes, n_layers = decode_codes(
        payload[: start + head.with_layers(3).n_payload_bytes - 1], start, head, HEADER, EMPTY_TABLES
    )
    assert n_layers == 2 and np.array_equal(codes[:, :2], encoded.codes[:, :2])


def test_payloads_must_fill_their_section():
    _, payload = make_chunk()
    head, start = unpack_head(payload, HEADER)
    for wrong in (payload[:-1], payload + b"\0"):
        with pytest.raises(LimitError, match="chunk 0: its table claims"):
            check_lengths(wrong, start, head)


def test_a_lost_chunk_is_silence_of_the_same_length():
    payload = lost_chunk(HEADER, 7, 1100)
    head, start = unpack_head(payload, HEADER)
    assert (head.number, head.n_layers, head.n_samples, start) == (7, 0, 1100, len(payload))
    codes, n_layers = decode_codes(payload, start, head, HEADER, EMPTY_TABLES)
    assert codes.shape == (2, 4, sum(frames_of(HEADER, 7, 1100))) and n_layers == 0
    assert len(list(unpack_blocks(head, codes))) == 2


def test_a_lost_block_costs_its_neighbours_in_a_chunk_nothing():
    encoded = make_encoded(make_signal(), 2000, silent=0)
    first, second = encoded.blocks()
    lost = CodedBlock(codes=second.codes * 0, n_layers=0, levels=second.levels * 0, angles=second.angles)
    payload = pack_chunk(HEADER, 0, [first, lost], 2000, EMPTY_TABLES, "auto")
    head, start = unpack_head(payload, HEADER)
    assert head.n_layers == 4
    assert np.array_equal(decode_codes(payload, start, head, HEADER, EMPTY_TABLES)[0][:, :, :50], first.codes)


def test_a_coder_that_fails_is_found_before_writing(monkeypatch):
    monkeypatch.setattr(
        "rvqcodec.formats.entropy.layers.LayerCoder.decode",
        lambda self, payloads, _: [np.zeros(n, np.uint16) for n in self.lengths],
    )
    with pytest.raises(DamageError, match="memory or processor"):
        make_chunk(silent=0)


@pytest.mark.parametrize("trait", TRAITS)
def test_a_chunk_of_any_signal_gives_its_blocks_back(trait):
    signal = make_signal(**TRAITS[trait])
    header = Header(signal=signal, chunk_blocks=4)
    encoded = make_encoded(signal, min(2600, header.chunk_start(1)), seed=1)
    tables = tables_of_sizes(signal.codebook_sizes)
    payload = pack_chunk(header, 0, list(encoded.blocks()), encoded.n_samples, tables, "auto")
    head, start = unpack_head(payload, header)
    codes, n_layers = decode_codes(payload, start, head, header, tables)
    assert n_layers == 4 and np.array_equal(codes, encoded.codes)
    assert [repr(block) for block in unpack_blocks(head, codes)] == [repr(block) for block in encoded.blocks()]
    assert len(pack_head(head, header)) <= max_head_bytes(header)


def test_a_writer_refuses_coarse_codes_that_do_not_repeat():
    signal = make_signal(**TRAITS["strides"])
    (block,) = make_encoded(signal, 900).blocks()
    block.codes[0, 0, 1] = (int(block.codes[0, 0, 0]) + 1) % 30
    with pytest.raises(ValueError, match="stride 4 aren't constant"):
        pack_chunk(Header(signal=signal, chunk_blocks=2), 0, [block], 900, EMPTY_TABLES, "raw")


def test_a_writer_refuses_what_no_reader_decodes():
    signal = make_signal(n_layers=64, codebook_size=8192, channels=1, rotated=False, frames_per_block=8192)
    encoded = make_encoded(signal, 163_840, silent=0)
    with pytest.raises(ValueError, match="shorter chunks"):
        pack_chunk(Header(signal=signal, chunk_blocks=1), 0, list(encoded.blocks()), 163_840, EMPTY_TABLES, "raw")


def test_a_lost_chunk_of_overlapping_blocks_is_whole():
    header = Header(signal=make_signal(**TRAITS["multiple"]), chunk_blocks=2)
    head = unpack_head(lost_chunk(header, 0, header.chunk_start(1)), header)[0]
    assert head.block_frames == (50, 50) and (head.factors == 1).all()
