import io
import time

import numpy as np
import pytest

from rvqcodec.errors import DamageError, FormatError, ModelError, NotRvqError, TruncatedError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES
from rvqcodec.formats.rvq.chunk import lost_chunk
from rvqcodec.formats.rvq.header import Header, pack_header
from rvqcodec.formats.rvq.recover import MAX_EXPANSION, recover
from rvqcodec.formats.rvq.sections import SIGNATURE, pack_section
from rvqcodec.formats.rvq.tail import End, Source, pack_end
from rvqcodec.formats.rvq.verify import verify
from tests.entropies import make_tables
from tests.streams import read_file, write_file
from tests.tiny import TRAITS, make_encoded, make_signal, same

TABLES = make_tables(4, 16)
ENCODED = make_encoded(make_signal(), 9500, silent=0)
SOURCE = Source(n_bytes=77, digest=bytes(16), beam_width=1, encoder="test")
DATA = write_file(ENCODED, TABLES, tags={"title": "x"}, source=SOURCE)
STARTS = [i for i in range(len(DATA)) if DATA[i : i + 4] == b"CODE"]
HEAD = len(SIGNATURE) + 9 + len(pack_header(Header(signal=make_signal(), chunk_blocks=2, table_ids=TABLES.ids)))


def saved(data, tables=TABLES):
    """Recover, insist that the result is whole, and return it with the report."""
    target = io.BytesIO()
    report = recover(bytes(data), target, tables)
    target.seek(0)
    verify(target, tables, deep=tables is not EMPTY_TABLES)
    assert report.n_bytes == len(target.getvalue())
    return target.getvalue(), report


def test_five_chunks_are_there():
    assert len(STARTS) == 5 and STARTS[0] == HEAD


def test_an_intact_file_loses_its_provenance_alone():
    data, report = saved(DATA)
    assert data == write_file(ENCODED, TABLES, tags={"title": "x"})
    assert report.losses == [] and report.end_known and report.n_chunks == 5 and report.n_samples == 9500


def test_a_damaged_payload_costs_its_layer_and_those_above():
    broken = bytearray(DATA)
    broken[STARTS[3] - 5] ^= 0x80
    data, report = saved(broken)
    (loss,) = report.losses
    assert (loss.number, loss.start_s, loss.end_s) == (2, 4.0, 6.0) and 0 < loss.n_layers < 4
    found = read_file(data, TABLES)
    assert found.layers.tolist() == [4, 4, 4, 4, loss.n_layers, loss.n_layers, 4, 4, 4, 4]
    assert np.array_equal(found.codes[:, : loss.n_layers], ENCODED.codes[:, : loss.n_layers])
    assert np.array_equal(found.codes[:, :, :200], ENCODED.codes[:, :, :200])
    assert np.array_equal(found.codes[:, :, 300:], ENCODED.codes[:, :, 300:])


@pytest.mark.parametrize("place", [0, 3, 8, 9, 12, 20])
def test_a_damaged_head_costs_its_chunk(place):
    broken = bytearray(DATA)
    broken[STARTS[1] + place] ^= 0x21
    data, report = saved(broken)
    found = read_file(data, TABLES)
    assert [loss.number for loss in report.losses] == [1] and report.losses[0].n_layers == 0
    assert found.layers.tolist() == [4, 4, 0, 0, 4, 4, 4, 4, 4, 4] and not found.levels[:, 2:4].any()
    assert found.n_samples == 9500


def test_a_damaged_length_or_crc_costs_nothing():
    for place in (STARTS[1] + 5, STARTS[2] - 1):
        broken = bytearray(DATA)
        broken[place] ^= 1
        data, report = saved(broken)
        assert report.losses == [] and same(read_file(data, TABLES), ENCODED)


@pytest.mark.parametrize("n_chunks", range(1, 6))
def test_a_cut_file_ends_at_the_cut(n_chunks):
    data, report = saved(DATA[: [*STARTS, DATA.index(b"tags")][n_chunks]])
    n_samples = min(9500, 2000 * n_chunks)
    assert (report.n_chunks, report.n_samples, report.end_known) == (n_chunks, n_samples, False)
    assert np.array_equal(read_file(data, TABLES).codes, ENCODED.codes[:, :, : ENCODED.signal.frames_until(n_samples)])


def test_a_chunk_that_is_cut_keeps_the_layers_before_the_cut():
    _, report = saved(DATA[: STARTS[3] - 60])
    assert report.n_chunks == 3 and report.losses[0].number == 2 and report.losses[0].n_layers > 0


def test_a_missing_chunk_becomes_silence():
    data, report = saved(DATA[: STARTS[1]] + DATA[STARTS[2] :])
    assert [loss.number for loss in report.losses] == [1]
    assert read_file(data, TABLES).n_samples == 9500


def test_bytes_cut_out_of_a_chunk_cost_no_other():
    data, report = saved(DATA[: STARTS[2] - 40] + DATA[STARTS[2] - 25 :])
    assert [loss.number for loss in report.losses] == [1] and 0 < report.losses[0].n_layers < 4
    found = read_file(data, TABLES)
    assert np.array_equal(found.codes[:, :, 200:], ENCODED.codes[:, :, 200:])


def test_bytes_between_chunks_are_passed_over():
    for between in (b"CODE", b"rubbish" * 99, b"CODEtags" * 9, DATA[: STARTS[1]]):
        data, report = saved(DATA[: STARTS[2]] + between + DATA[STARTS[2] :])
        assert report.losses == [] and same(read_file(data, TABLES), ENCODED)


def test_glued_files_give_the_first():
    data, _ = saved(DATA + write_file(make_encoded(make_signal(), 20_000, seed=1), TABLES))
    assert same(read_file(data, TABLES), ENCODED)


def test_damaged_tags_are_dropped():
    broken = bytearray(DATA)
    broken[DATA.index(b"tags") + 10] ^= 1
    data, report = saved(broken)
    assert data == write_file(ENCODED, TABLES) and report.losses == []


def test_tags_that_no_writer_writes_are_dropped():
    at = DATA.index(b"tags")
    data, _ = saved(DATA[:at] + pack_section(b"tags", b"\5") + DATA[at:].replace(b"tags", b"gats"))
    assert data == write_file(ENCODED, TABLES)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotRvqError),
        (b"RIFF" * 10, NotRvqError),
        (SIGNATURE, TruncatedError),
        (DATA[:20], TruncatedError),
        (DATA[:HEAD], DamageError),
        (DATA[: HEAD + 20], DamageError),
        (DATA[:12] + b"\xff" + DATA[13:], FormatError),
        (DATA[:HEAD] + DATA[DATA.rindex(b"END.") :], DamageError),
    ],
)
def test_where_nothing_is_left_that_is_said(data, error):
    with pytest.raises(error):
        recover(data, io.BytesIO(), EMPTY_TABLES)


def test_an_empty_file_is_recovered():
    empty = write_file(make_encoded(make_signal(), 0))
    data, report = saved(empty)
    assert data == empty and report.n_chunks == 0


def test_tables_are_needed_only_for_damaged_chunks():
    data = write_file(ENCODED, TABLES, entropy="static")
    assert saved(data, EMPTY_TABLES)[0] == data
    broken = bytearray(data)
    broken[data.index(b"CODE", HEAD + 9) - 5] ^= 1
    with pytest.raises(ModelError, match="not available"):
        recover(bytes(broken), io.BytesIO(), EMPTY_TABLES)


def test_a_silent_file_with_a_hole_is_recovered():
    silent = write_file(make_encoded(make_signal(), 50_000, silent=1.0))
    starts = [i for i in range(len(silent)) if silent[i : i + 4] == b"CODE"]
    _, report = saved(silent[: starts[3]] + silent[starts[20] :])
    assert report.n_samples == 50_000 and len(report.losses) == 17


def test_a_forged_end_makes_no_large_file():
    signal = make_signal(channels=8, rotated=False, frames_per_block=1, sample_rate=800)
    header = Header(signal=signal, chunk_blocks=8192)
    sizes = (20,) * 3999
    end = End(n_samples=header.chunk_start(4000), n_chunks=4000, modes=0, sizes=sizes, n_optional_bytes=0)
    start = SIGNATURE + pack_section(b"HEAD", pack_header(header)) + pack_section(b"CODE", lost_chunk(header, 0, 100))
    target = io.BytesIO()
    recover(start + bytes(100_000) + pack_section(b"END.", pack_end(end)), target, EMPTY_TABLES)
    assert len(target.getvalue()) < 2 * MAX_EXPANSION * 100_000
    far = pack_section(b"CODE", lost_chunk(header, 10_000, 100))
    recover(start + far, target, EMPTY_TABLES)
    assert len(target.getvalue()) < 2 * MAX_EXPANSION * 100_000


@pytest.mark.parametrize(
    ("pattern", "n_bytes"),
    [
        (b"CODE", 20_000_000),
        (b"END.", 2_000_000),
        (b"CODE\0\0\1\1", 2_000_000),
        (b"CODE\0\0\4\xd0\x0f\1\2\3\4\0\0\0\0", 2_000_000),
        (b"tags\xff\xff\7", 2_000_000),
        (b"END.\xff\xff\xff\1", 20_000_000),
        (b"covr\xff\xff\xff\1", 20_000_000),
    ],
)
def test_a_file_full_of_landmarks_is_gone_through_in_seconds(pattern, n_bytes):
    start = time.process_time()
    data = DATA[: STARTS[1]] + pattern * (n_bytes // len(pattern))
    assert recover(data, io.BytesIO(), TABLES).n_chunks == 1
    assert time.process_time() - start < 10


@pytest.mark.parametrize("trait", TRAITS)
def test_any_signal_is_recovered(trait):
    signal = make_signal(**TRAITS[trait])
    encoded = make_encoded(signal, 5200, seed=3, silent=0)
    extras = {b"covr": b"image"}
    data = write_file(encoded, entropy="raw", source=SOURCE, extras=extras)
    assert saved(data, EMPTY_TABLES)[0] == write_file(encoded, entropy="raw", extras=extras)
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"CODE"]
    broken = bytearray(data)
    broken[starts[1] - 5] ^= 1
    whole, report = saved(broken, EMPTY_TABLES)
    kept = 3 if signal.scalable else 0
    assert [(loss.number, loss.n_layers) for loss in report.losses] == [(0, kept)]
    assert read_file(whole).n_samples == 5200
    lost, report = saved(data[: starts[1]] + data[starts[2] :], EMPTY_TABLES)
    assert [loss.number for loss in report.losses] == [1] and read_file(lost).n_samples == 5200
    cut, report = saved(data[: starts[2]], EMPTY_TABLES)
    found = read_file(cut)
    assert np.array_equal(found.codes, encoded.codes[:, :, : found.codes.shape[2]])
