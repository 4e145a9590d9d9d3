import dataclasses
import io

import numpy as np
import pytest

from rvqcodec.errors import DamageError, LimitError, NotRvqError, TruncatedError, VersionError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES
from rvqcodec.formats.rvq.head import pack_head, unpack_head
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.tail import Source, pack_end, pack_metadata, unpack_end
from tests.entropies import make_tables
from tests.forge import joined, pieces
from tests.streams import Pipe, read_file, write_file
from tests.tiny import TRAITS, make_encoded, make_signal, same

SOURCE = Source(n_bytes=77, digest=bytes(16), beam_width=1, encoder="test")
ENCODED = make_encoded(make_signal(), 6100)
EXTRAS = {b"chan": b"\3", b"covr": b"image", b"meta": pack_metadata({"bext": b"x"})}


def check(data):
    """Read a file both ways; return the errors, sequential then seeking."""
    RvqReader(io.BytesIO(data)).read_tail()
    read_file(data)


@pytest.mark.parametrize("n_samples", [0, 1, 999, 1000, 1001, 2000, 6100])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_a_file_gives_back_what_was_written(n_samples, channels):
    encoded = make_encoded(make_signal(channels=channels, rotated=channels == 2), n_samples)
    tables = make_tables(4, 16)
    data = write_file(encoded, tables, tags={"title": "x"}, source=SOURCE)
    assert same(read_file(data, tables), encoded)
    assert same(read_file(Pipe(data), tables), encoded)


def test_sections_stand_in_this_order():
    data = write_file(ENCODED, tags={"title": "x"}, source=SOURCE, extras=EXTRAS)
    kinds = [kind for kind, _ in pieces(data)]
    assert kinds == [b"HEAD", *[b"CODE"] * 4, b"tags", b"chan", b"covr", b"meta", b"srce", b"END."]
    assert joined(pieces(data)) == data


def test_both_ways_of_reading_the_end_agree():
    data = write_file(ENCODED, tags={"title": "x"}, source=SOURCE, extras=EXTRAS)
    reader = RvqReader(io.BytesIO(data))
    tail = reader.read_tail()
    reader.rewind()
    assert len(list(reader.chunks())) == 4
    assert reader.tail == tail
    assert (
        tail.tags == {"title": "x"} and tail.source == SOURCE and tail.extras == EXTRAS and tail.end.n_samples == 6100
    )
    assert reader.size(tail) == len(data)


def test_chunks_are_found_by_the_index():
    reader = RvqReader(io.BytesIO(write_file(ENCODED)))
    tail = reader.read_tail()
    found = list(reader.seek_chunks(tail, 2, EMPTY_TABLES))
    assert [chunk.head.number for chunk in found] == [2, 3]
    blocks = [block for chunk in found for block in reader.decoded_blocks(chunk, EMPTY_TABLES)]
    assert np.array_equal(np.concatenate([block.codes for block in blocks], 2), ENCODED.codes[:, :, 200:])


def test_nothing_is_read_past_what_is_needed():
    """A decoder of a pipe gives out a chunk before the next one has come."""
    data = write_file(ENCODED)
    first_two = len(joined(pieces(data)[:3]))
    chunks = RvqReader(io.BytesIO(data[:first_two])).chunks()
    assert [next(chunks).head.number for _ in range(2)] == [0, 1]
    with pytest.raises(TruncatedError, match=r"cut off after 0:04\.0: its end section is missing") as caught:
        next(chunks)
    assert "rvq recover" in caught.value.hint


def test_a_cut_within_a_chunk_tells_the_time():
    with pytest.raises(TruncatedError, match=r"the file is cut off after 0:02\.0"):
        read_file(write_file(ENCODED)[:600])


def test_a_damaged_chunk_tells_its_place_and_layer():
    data = bytearray(write_file(ENCODED, make_tables(4, 16), "static"))
    data[len(data) // 2] ^= 1
    with pytest.raises(DamageError, match=r"chunk \d \(0:0\d\.0 to 0:0\d\.0\) is damaged in layer \d"):
        read_file(bytes(data), make_tables(4, 16))
    with pytest.raises(DamageError, match=r"chunk \d .* is damaged$"):
        list(RvqReader(io.BytesIO(data)).chunks())


def test_other_tables_than_the_files_are_noticed():
    data = write_file(ENCODED, make_tables(4, 16), entropy="static")
    with pytest.raises(DamageError, match="is damaged in layer 1"):
        read_file(data, make_tables(4, 16, seed=1))


def test_an_unknown_optional_section_is_skipped():
    sections = pieces(write_file(ENCODED, tags={"title": "x"}))
    for place in (-2, -1):
        changed = [*sections[:place], (b"zzzz", b"whatever"), *sections[place:]]
        end = unpack_end(changed[-1][1])
        end = dataclasses.replace(end, n_optional_bytes=end.n_optional_bytes + 17)
        data = joined([*changed[:-1], (b"END.", pack_end(end))])
        check(data)
        assert same(read_file(data), ENCODED)


@pytest.mark.parametrize("place", [1, 3, -2, -1])
def test_an_unknown_required_section_is_refused(place):
    sections = pieces(write_file(ENCODED, tags={"title": "x"}))
    with pytest.raises(VersionError, match="a section ZZZZ that is unknown to this version") as caught:
        read_file(joined([*sections[:place], (b"ZZZZ", b""), *sections[place:]]))
    assert caught.value.hint == "upgrade rvqcodec"


def changed(edit):
    sections = pieces(write_file(ENCODED, tags={"title": "x"}))
    return joined(edit(sections))


def renumbered(sections):
    """Put chunk 1 twice, the second time under the number that belongs there."""
    header = RvqReader(io.BytesIO(joined(sections))).header
    head, start = unpack_head(sections[2][1], header)
    twice = pack_head(dataclasses.replace(head, number=2), header) + sections[2][1][start:]
    return [*sections[:3], (b"CODE", twice), *sections[4:]]


def other_end(**changes):
    """Return a function that changes fields of the end section."""
    return lambda sections: [
        *sections[:-1],
        (b"END.", pack_end(dataclasses.replace(unpack_end(sections[-1][1]), **changes))),
    ]


def shorter_end(sections):
    end = unpack_end(sections[-1][1])
    return [*sections[:-1], (b"END.", pack_end(dataclasses.replace(end, n_samples=end.n_samples - 1)))]


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda s: [*s[:2], s[3], s[2], *s[4:]], DamageError, "chunk 1 is missing: found chunk 2 instead"),
        (lambda s: [*s[:2], *s[3:]], DamageError, "chunk 1 is missing"),
        (lambda s: [*s[:3], s[2], *s[3:]], DamageError, "chunk 2 is missing: found chunk 1 instead"),
        (lambda s: [*s[:4], *s[5:]], DamageError, "the end section contradicts the chunks"),
        (lambda s: [s[0], *s[5:]], DamageError, "the end section contradicts the chunks"),
        (renumbered, DamageError, "the end section contradicts the chunks"),
        (other_end(sizes=(100, 100, 100)), DamageError, "the end section contradicts the chunks"),
        (other_end(modes=128), DamageError, "the end section contradicts the chunks"),
        (other_end(n_optional_bytes=1), DamageError, "the end section contradicts the chunks"),
        (shorter_end, DamageError, "the end section contradicts the chunks"),
        (lambda s: [*s[:6], s[1], *s[6:]], DamageError, "found a section CODE instead of the end section"),
        (lambda s: [*s[:6], *s[5:]], DamageError, "the section tags occurs twice"),
        (lambda s: [*s[:-1], s[-2]], DamageError, "occurs twice"),
        (lambda s: s[:-1], TruncatedError, "the file ends before its end section"),
        (lambda s: s[1:], DamageError, "starts with a section CODE"),
        (lambda s: [], TruncatedError, "the file ends before its header"),
        (lambda s: [s[0], *s], DamageError, "found a section HEAD instead"),
        (lambda s: [*s, *s], LimitError, "trailing bytes after the end section"),
        (lambda s: [*s, (b"zzzz", b"")], LimitError, "trailing bytes after the end section"),
    ],
)
def test_sections_that_are_moved_are_noticed_though_their_crc_holds(edit, error, message):
    with pytest.raises(error, match=message):
        read_file(changed(edit))


def test_a_chunk_that_is_too_short_must_be_the_last():
    sections = pieces(write_file(make_encoded(make_signal(), 1500)))
    longer = pieces(write_file(ENCODED))
    with pytest.raises(LimitError, match="chunk 0 is not the last and covers less than a whole chunk"):
        read_file(joined([sections[0], sections[1], *longer[2:]]))


def test_the_seeking_reader_believes_no_end_that_contradicts_the_chunks():
    for fields, error, message in (
        ({"n_samples": 99_999}, DamageError, "contradicts the chunks"),
        ({"n_samples": 0, "n_chunks": 0, "sizes": ()}, DamageError, "contradicts the chunks"),
        ({"n_optional_bytes": 1 << 40}, LimitError, "claims more than the file holds"),
        ({"sizes": (5000, 100, 100)}, LimitError, "claims more than the file holds"),
    ):
        with pytest.raises(error, match=message):
            RvqReader(io.BytesIO(changed(other_end(**fields)))).read_tail()
    reader = RvqReader(io.BytesIO(changed(other_end(sizes=(200, 200, 200)))))
    with pytest.raises(DamageError, match="isn't where the index says"):
        list(reader.seek_chunks(reader.read_tail(), 0, EMPTY_TABLES))
    reader = RvqReader(io.BytesIO(changed(shorter_end)))
    with pytest.raises(DamageError, match="doesn't cover what the end section says"):
        list(reader.seek_chunks(reader.read_tail(), 3, EMPTY_TABLES))


@pytest.mark.parametrize("cut", [1, 8, 10, 18])
def test_the_seeking_reader_needs_the_end_section(cut):
    with pytest.raises(TruncatedError, match="end section"):
        RvqReader(io.BytesIO(write_file(ENCODED)[:-cut])).read_tail()


def test_not_an_rvq_file():
    with pytest.raises(NotRvqError):
        RvqReader(io.BytesIO(b"RIFF"))


def test_a_write_of_a_recovered_file_keeps_its_layers():
    layers = np.array([4, 4, 2, 2, 4, 4, 4], np.uint8)
    codes = ENCODED.codes.copy()
    codes[:, 2:, 100:200] = 0
    encoded = dataclasses.replace(ENCODED, layers=layers, codes=codes)
    assert same(read_file(write_file(encoded)), encoded)


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("n_samples", [0, 1, 750, 1500, 1501, 1940, 4321])
def test_a_file_of_any_signal_gives_back_what_was_written(trait, n_samples):
    encoded = make_encoded(make_signal(**TRAITS[trait]), n_samples)
    data = write_file(encoded, extras=EXTRAS)
    assert same(read_file(data), encoded) and same(read_file(Pipe(data)), encoded)
    reader = RvqReader(io.BytesIO(data))
    tail = reader.read_tail()
    if len(tail.sizes) > 1:
        found = [
            block
            for chunk in reader.seek_chunks(tail, 1, EMPTY_TABLES)
            for block in reader.decoded_blocks(chunk, EMPTY_TABLES)
        ]
        assert [repr(block) for block in found] == [repr(block) for block in encoded.blocks()][2:]


@pytest.mark.parametrize("kind", [b"chan", b"covr", b"meta"])
def test_a_section_that_is_too_large_is_not_written(kind):
    with pytest.raises(ValueError, match="exceeds its limit"):
        write_file(ENCODED, extras={kind: bytes((1 << 22) + 1)})
