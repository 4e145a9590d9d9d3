"""Every prefix and every flipped byte of a small file, lying numbers, random bytes."""

import io
import time
import tracemalloc

import numpy as np
import pytest

from rvqcodec.encoded import CodedBlock
from rvqcodec.errors import FormatError, ModelError
from rvqcodec.formats.rvq.chunk import lost_chunk
from rvqcodec.formats.rvq.head import max_head_bytes
from rvqcodec.formats.rvq.header import Header, pack_header
from rvqcodec.formats.rvq.recover import recover
from rvqcodec.formats.rvq.sections import CODE, HEAD, SIGNATURE, pack_section
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.verify import summarize, verify
from tests.entropies import fitting_tables, make_tables
from tests.forge import head_length, joined, pieces, resealed
from tests.streams import read_file as read
from tests.streams import write_file
from tests.tiny import make_encoded, make_signal, same, tiny_config

TABLES = fitting_tables(1)
"""Of the first layer alone, so that the second is raw."""
ENCODED = make_encoded(make_signal(n_layers=2), 4700, seed=8, silent=0.3)
SOURCE = Source(n_bytes=77, digest=bytes(range(16)), beam_width=1, encoder="test")
DATA = write_file(ENCODED, TABLES, tags={"title": "x"}, source=SOURCE)
MEMORY_LIMIT = 64 << 20


def refused(data, tables=TABLES):
    """Insist that a file is refused by every way of reading the whole of it."""
    for deep in (False, True):
        with pytest.raises(FormatError):
            verify(io.BytesIO(data), tables, deep=deep)


def survived(data, tables=TABLES):
    """Insist that recover either says that nothing is left, or writes a whole file; return that."""
    target = io.BytesIO()
    try:
        recover(data, target, tables)
    except FormatError:
        return None
    target.seek(0)
    verify(target, tables, deep=True)
    return target.getvalue()


def test_the_file_has_all_that_can_break():
    assert 300 < len(DATA) < 1000
    found = summarize(io.BytesIO(DATA))
    assert found["entropy"] == ["raw", "static", "counts"] and found["n_chunks"] == 3
    assert same(read(DATA, TABLES), ENCODED)


@pytest.mark.parametrize("n_bytes", range(len(DATA)))
def test_every_prefix(n_bytes):
    refused(DATA[:n_bytes])
    with pytest.raises(FormatError):
        summarize(io.BytesIO(DATA[:n_bytes]))
    survived(DATA[:n_bytes])


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_every_flipped_byte(mask):
    for place in range(len(DATA)):
        broken = bytearray(DATA)
        broken[place] ^= mask
        refused(bytes(broken))
        saved = survived(bytes(broken))
        assert saved is not None or place < DATA.index(b"CODE")
        if saved is not None:
            assert read(saved, TABLES).n_samples == 4700


@pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
def test_every_flipped_byte_with_checks_made_right_again(mask):
    """Who damages on purpose mends the checks: then a reader may take the file, but never fails in another way."""
    sections = pieces(DATA)
    original = sections[1][1]
    length = head_length(original)
    for place in range(len(original)):
        payload = bytearray(original)
        payload[place] ^= mask
        data = joined([sections[0], (CODE, resealed(payload, length)), *sections[2:]])
        for tables in (TABLES, make_tables(1, 16, seed=9)):
            try:
                read(data, tables)
            except (FormatError, ModelError):  # a forged mode needs tables that aren't there
                continue


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x10, 0x80, 0xFF])
def test_every_flipped_byte_of_a_header_with_its_crc_made_right_again(mask):
    sections = pieces(DATA)
    for place in range(len(sections[0][1])):
        payload = bytearray(sections[0][1])
        payload[place] ^= mask
        data = joined([(HEAD, bytes(payload)), *sections[1:]])
        for deep in (False, True):
            try:
                verify(io.BytesIO(data), TABLES, deep=deep)
            except (FormatError, ModelError):
                continue
        try:
            recover(data, io.BytesIO(), TABLES)
        except (FormatError, ModelError):
            continue


@pytest.mark.parametrize("seed", range(200))
def test_rubbish(seed):
    rng = np.random.default_rng(seed)
    rubbish = rng.bytes(int(rng.integers(1, 3000)))
    start = DATA[: int(rng.integers(0, len(DATA)))]
    for data in (rubbish, SIGNATURE + rubbish, start + rubbish, start + rubbish + DATA[len(start) :]):
        refused(data)
        survived(data)


def test_extra_bytes_and_glued_files():
    for extra in (b"\0", b"extra", DATA, DATA[8:], pack_section(b"zzzz", b"")):
        refused(DATA + extra)
        assert same(read(survived(DATA + extra), TABLES), ENCODED)


def peak(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


LIES = [b"\xff\xff\xff\x7f", b"\0\0\0\x80"]


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_length_takes_no_memory(lie):
    def read_all():
        for place in range(8, len(DATA) - 4, 3):
            broken = DATA[:place] + lie + DATA[place + 4 :]
            with pytest.raises(FormatError):
                read(broken, TABLES)
            survived(broken)

    assert peak(read_all) < MEMORY_LIMIT


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_length_under_a_right_crc_takes_no_memory(lie):
    sections = pieces(DATA)

    def read_all():
        for number, (kind, payload) in enumerate(sections):
            for place in range(len(payload)):
                wrong = payload[:place] + lie + payload[place + 4 :]
                data = joined([*sections[:number], (kind, wrong), *sections[number + 1 :]])
                try:
                    RvqReader(io.BytesIO(data)).read_tail()
                    read(data, TABLES)
                except (FormatError, ModelError):
                    continue

    assert peak(read_all) < MEMORY_LIMIT


def test_the_largest_chunk_that_is_possible_takes_little_memory():
    signal = make_signal(channels=8, rotated=False, n_layers=64, frames_per_block=8192, codebook_size=65536)
    header = Header(signal=signal, chunk_blocks=1)
    n_samples = header.chunk_start(1)
    data = (
        SIGNATURE + pack_section(b"HEAD", pack_header(header)) + pack_section(b"CODE", lost_chunk(header, 0, n_samples))
    )
    assert len(data) < 200
    assert peak(lambda: refused(data)) < MEMORY_LIMIT
    assert peak(lambda: survived(data)) < MEMORY_LIMIT
    assert max_head_bytes(header) < 1 << 20


def test_a_small_file_keeps_no_reader_busy():
    """The most work that a chunk may be, in the mode that takes longest, of codes that cost next to nothing."""
    signal = make_signal(n_layers=8, codebook_size=32_768, channels=1, rotated=False, frames_per_block=8192)
    encoded = make_encoded(signal, Header(signal=signal, chunk_blocks=1).chunk_start(1), silent=0)
    encoded.codes[:] = 7
    data = write_file(encoded, entropy="counts", chunk_blocks=1)
    assert len(data) < 1000
    started = time.process_time()
    verify(io.BytesIO(data), deep=True)
    assert time.process_time() - started < 20


@pytest.mark.parametrize("level", [1, 2, 254, 255])
@pytest.mark.parametrize("angle", [0, 1, 255, 256, 511])
def test_extreme_levels_and_angles_decode_to_finite_numbers(level, angle):
    from rvqcodec.codec.levelling import restore_block

    wave, traits = np.random.default_rng(0).standard_normal((2, 1, 800)).astype(np.float32), tiny_config().traits()
    codes = np.zeros((2, 4, 50), np.uint16)
    for before, after in ((0, 0), (255, 1), (1, 255), (level, 0)):
        levels = np.array([[before] * 2, [level, 0], [after] * 2], np.uint8)
        angles = np.array([(angle + 256) % 512, angle, (angle + 255) % 512], np.uint16)
        block = CodedBlock(codes=codes, n_layers=4, levels=levels, angles=angles)
        assert np.isfinite(restore_block(wave, block, traits, 2)).all()
