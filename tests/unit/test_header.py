import dataclasses

import pytest

from rvqcodec.errors import LimitError, TruncatedError, VersionError
from rvqcodec.formats.rvq.header import MAJOR, MINOR, Header, pack_header, unpack_header
from rvqcodec.signal import LayerGroup
from tests.tiny import TRAITS, make_signal

HEADER = Header(signal=make_signal(), chunk_blocks=10, table_ids=("001122ff", "ff" * 4))


def test_a_header_has_these_bytes():
    assert pack_header(HEADER).hex() == (
        "0100" "6d" "21" "a006" "e807" "10" "32" "01" "00" "0a" "830f"
        "0123456789abcdef" "001122ff" "ffffffff" "04" "74696e79"
    )  # fmt: skip


def test_a_header_of_strides_has_these_bytes():
    header = Header(signal=make_signal(**TRAITS["strides"], sample_rate=800), chunk_blocks=2)
    assert pack_header(header).hex() == (
        "0100" "08" "21" "a006" "00" "10" "30" "04" "00" "02" "001d04" "000f02" "810f01"
        "0123456789abcdef" "04" "74696e79"
    )  # fmt: skip


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("ids", [(), ("001122ff",), ("001122ff", "ff" * 4), ("0" * 8, "ff" * 4)])
def test_unpack_inverts_pack(trait, ids):
    header = Header(signal=make_signal(**TRAITS[trait]), chunk_blocks=2, table_ids=ids)
    assert unpack_header(pack_header(header)) == header


@pytest.mark.parametrize(("flag", "problem"), [(0x20, "id of entropy tables is 0"), (0x80, "flags is")])
def test_flags_are_checked(flag, problem):
    packed = pack_header(Header(signal=make_signal(), chunk_blocks=10, table_ids=("0" * 8, "ff" * 4)))
    with pytest.raises(LimitError, match=problem):
        unpack_header(packed[:2] + bytes([packed[2] | flag]) + packed[3:-5] + bytes(4) + packed[-5:])


@pytest.mark.parametrize("n_bytes", range(len(pack_header(HEADER))))
def test_a_cut_header_is_refused(n_bytes):
    with pytest.raises(TruncatedError):
        unpack_header(pack_header(HEADER)[:n_bytes])


def test_left_over_bytes_are_refused():
    with pytest.raises(LimitError, match="longer than its contents"):
        unpack_header(pack_header(HEADER) + b"\0")


def test_a_newer_major_version_is_refused_before_all_else():
    with pytest.raises(VersionError, match=f"version {MAJOR + 1}") as caught:
        unpack_header(bytes([MAJOR + 1]) + b"\xff")
    assert caught.value.hint == "upgrade rvqcodec"


def test_a_newer_minor_version_may_say_more():
    packed = pack_header(HEADER)
    found = unpack_header(packed[:1] + bytes([MINOR + 1]) + packed[2:] + b"more")
    assert found.minor == MINOR + 1 and found.signal == HEADER.signal
    assert pack_header(found) == packed, "what is written holds no more than this version knows"


@pytest.mark.parametrize(
    ("name", "message"), [(b"\xff\xfe\xfd\xfc", "UTF-8"), (b"a\nbc", "printable"), (b"a\x1b[m", "printable")]
)
def test_a_name_is_printable_text(name, message):
    with pytest.raises(LimitError, match=message):
        unpack_header(pack_header(HEADER)[:-4] + name)


def test_groups_without_end_are_refused():
    packed = pack_header(HEADER)
    place = packed.index(b"\x83\x0f")
    with pytest.raises(LimitError, match="more than 64 groups"):
        unpack_header(packed[:place] + b"\0\1\0\2" * 100)


def test_chunks_lie_on_the_grid():
    assert HEADER.chunk_s == 10.0
    assert [HEADER.chunk_start(n) for n in (0, 1, 7)] == [0, 10_000, 70_000]


def test_blocks_that_are_no_whole_number_of_samples_give_whole_frames_back():
    signal = make_signal(sample_rate=48_000, model_sample_rate=44_100, hop_length=512, frames_per_block=86)
    for block in range(1, 2000):
        assert signal.frames_until(signal.block_start(block)) == 86 * block
        assert signal.blocks_until(signal.block_start(block)) == block
        assert signal.blocks_until(signal.block_start(block) + 1) == block + 1


@pytest.mark.parametrize(
    ("n_chunks", "n_samples", "spans"),
    [
        (0, 0, True),
        (0, 1, False),
        (1, 0, False),
        (1, 1, True),
        (1, 10_000, True),
        (1, 10_001, False),
        (2, 10_000, False),
        (2, 10_001, True),
    ],
)
def test_all_chunks_but_the_last_are_whole(n_chunks, n_samples, spans):
    assert HEADER.spans(n_chunks, n_samples) is spans


def test_fewer_layers_are_the_first_groups():
    assert HEADER.with_layers(1).signal.nominal_bitrate == 2 * 1 * 4 * 50
    signal = make_signal(**TRAITS["strides"])
    kept = dataclasses.replace(HEADER, signal=signal).with_layers(2).signal.groups
    expected = [(1, 30, 4), (1, 16, 2)]
    assert kept == tuple(LayerGroup(n_layers=n, codebook_size=size, stride=stride) for n, size, stride in expected)
