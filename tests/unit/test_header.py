import dataclasses

import pytest
from tiny import make_signal

from rvqcodec.errors import LimitError, TruncatedError, VersionError
from rvqcodec.formats.rvq.header import MAJOR, MINOR, Header, pack_header, unpack_header

HEADER = Header(signal=make_signal(), chunk_blocks=10, table_ids=("00112233445566ff", "ff" * 8))
OFFSETS = {
    "major": (0, 1),
    "minor": (1, 1),
    "sample rate": (2, 4),
    "channels": (6, 1),
    "sample format": (7, 1),
    "stereo": (8, 1),
    "layers": (9, 1),
    "codebook size": (10, 2),
    "model sample rate": (12, 4),
    "hop length": (16, 2),
    "frames per block": (18, 2),
    "blocks per chunk": (20, 2),
    "nominal bitrate": (22, 4),
    "reserved field": (26, 2),
    "number of tables": (36, 1),
    "length of the model's name": (53, 1),
}


def changed(name, value, packed=None):
    start, size = OFFSETS[name]
    packed = packed or pack_header(HEADER)
    return packed[:start] + value.to_bytes(size, "little") + packed[start + size :]


def test_a_header_has_these_bytes():
    assert pack_header(HEADER).hex() == (
        "0100" "e8030000" "02" "02" "01" "04" "0f00" "20030000" "1000" "3200" "0a00" "40060000" "0000"
        "0123456789abcdef" "02" "00112233445566ff" "ffffffffffffffff" "04" "74696e79"
    )  # fmt: skip


def test_unpack_inverts_pack():
    assert unpack_header(pack_header(HEADER)) == HEADER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample rate", 0),
        ("sample rate", 768_001),
        ("channels", 0),
        ("channels", 9),
        ("sample format", 7),
        ("stereo", 2),
        ("layers", 0),
        ("layers", 65),
        ("codebook size", 0),
        ("model sample rate", 0),
        ("model sample rate", 768_001),
        ("hop length", 0),
        ("frames per block", 0),
        ("frames per block", 8193),
        ("blocks per chunk", 0),
        ("blocks per chunk", 164),
        ("nominal bitrate", 1599),
        ("reserved field", 1),
        ("reserved field", 256),
        ("number of tables", 5),
        ("length of the model's name", 0),
        ("length of the model's name", 65),
    ],
)
def test_a_field_past_its_limit_is_refused(name, value):
    with pytest.raises(LimitError, match=name):
        unpack_header(changed(name, value))


def test_only_two_channels_can_be_rotated():
    mono = dataclasses.replace(HEADER, signal=make_signal(channels=1, rotated=False))
    with pytest.raises(LimitError, match="stereo"):
        unpack_header(changed("stereo", 1, pack_header(mono)))


def test_frames_shorter_than_a_sample_are_refused():
    """They would let one sample stand for more frames than a chunk may have."""
    header = dataclasses.replace(HEADER, signal=make_signal(sample_rate=40))
    with pytest.raises(LimitError, match="shorter than a source sample"):
        unpack_header(pack_header(header))


@pytest.mark.parametrize("n_bytes", range(58))
def test_a_cut_header_is_refused(n_bytes):
    packed = pack_header(HEADER)
    assert len(packed) == 58
    with pytest.raises(TruncatedError):
        unpack_header(packed[:n_bytes])


def test_left_over_bytes_are_refused():
    with pytest.raises(LimitError, match="longer than what it holds"):
        unpack_header(pack_header(HEADER) + b"\0")


def test_a_newer_major_version_is_refused_before_all_else():
    with pytest.raises(VersionError, match=f"version {MAJOR + 1}") as caught:
        unpack_header(bytes([MAJOR + 1]) + b"\xff")
    assert caught.value.hint == "upgrade rvqcodec"


def test_a_newer_minor_version_may_say_more():
    found = unpack_header(changed("minor", MINOR + 1) + b"more")
    assert found.minor == MINOR + 1 and found.signal == HEADER.signal
    assert pack_header(found) == pack_header(HEADER), "what is written holds no more than this version knows"


@pytest.mark.parametrize(
    ("name", "message"), [(b"\xff\xfe\xfd\xfc", "UTF-8"), (b"a\nbc", "printable"), (b"a\x1b[m", "printable")]
)
def test_a_name_is_printable_text(name, message):
    with pytest.raises(LimitError, match=message):
        unpack_header(pack_header(HEADER)[:-4] + name)


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


def test_fewer_layers_change_the_nominal_bitrate():
    assert HEADER.signal.nominal_bitrate == 2 * 4 * 4 * 50
    assert HEADER.with_layers(1).signal.nominal_bitrate == 2 * 1 * 4 * 50
