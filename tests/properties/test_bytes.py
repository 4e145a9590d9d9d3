"""What was packed is unpacked; any codes survive any table, chunk length and way of reading."""

import dataclasses
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rvqcodec.encoded import gather
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, NO_TABLES, LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, StaticTables
from rvqcodec.formats.rvq.fields import Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.head import ChunkHead, Entry, frames_of, pack_head, unpack_head
from rvqcodec.formats.rvq.header import Header, pack_header, unpack_header
from rvqcodec.formats.rvq.recover import recover
from rvqcodec.formats.rvq.sections import pack_section
from rvqcodec.formats.rvq.tail import (
    End,
    Source,
    end_section_bytes,
    pack_end,
    pack_metadata,
    pack_source,
    pack_tags,
    unpack_end,
    unpack_metadata,
    unpack_source,
    unpack_tags,
)
from rvqcodec.formats.rvq.trim import trim
from rvqcodec.signal import LayerGroup
from tests.entropies import TABLES_ID, make_network, make_static, make_tables, range_decode
from tests.streams import Pipe, read_file, write_file
from tests.tiny import TRAITS, fewer_layers, make_encoded, make_signal, same

U32 = st.integers(0, (1 << 32) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.integers(0, (1 << 63) - 1))
def test_varints(value):
    packed = pack_varint(value)
    assert Fields(packed, "x").varint("v") == value
    assert len(packed) == max(1, -(-value.bit_length() // 7))


@given(st.integers(-(1 << 40), 1 << 40))
def test_signed_integers(value):
    assert Fields(pack_signed(value), "x").signed("v", 1 << 40) == value


@st.composite
def signals(draw):
    """Return any signal, of any groups, grid and kind of levels."""
    stride = draw(st.sampled_from([1, 1, 2, 4, 6]))
    multiple = stride * draw(st.integers(1, 3))
    frames = multiple * draw(st.integers(1, 8192 // multiple))
    hop = draw(st.integers(1, 65_535))
    step = draw(st.one_of(st.just(frames * hop), st.integers(-(-frames * hop // 2), frames * hop)))
    channels, levels = draw(st.integers(1, 8)), draw(st.sampled_from(["none", "rms", "factor"]))
    pairs = draw(st.integers(1, 2))
    sample_rate = draw(st.integers(1000, 768_000))
    kinds = [draw(st.sampled_from(["vector", "sinusoid"])) for _ in range(3)]
    groups = [
        LayerGroup(n_layers=draw(st.integers(1, 20)), codebook_size=draw(st.integers(2, 65_536)), stride=s, kind=kind)
        for s, kind in zip((stride, stride, 1), kinds, strict=True)
    ]
    merged = [group for place, group in enumerate(groups) if not place or not alike(group, groups[place - 1])]
    return make_signal(
        model=draw(st.text("abz019-", min_size=1, max_size=64)),
        fingerprint=draw(st.binary(min_size=8, max_size=8)).hex(),
        sample_rate=sample_rate,
        channels=channels,
        sample_format=draw(st.integers(0, 6)),
        rotated=(channels, pairs, levels) == (2, 1, "rms") and draw(st.booleans()),
        groups=tuple(merged[: draw(st.integers(1, 3))]),
        model_sample_rate=draw(st.integers(1, min(768_000, sample_rate * min(hop, step), 524_000 * hop))),
        hop_length=hop,
        frames_per_block=frames,
        frame_multiple=multiple,
        block_step=step,
        channels_per_stream=pairs,
        levels=levels,
        scalable=draw(st.booleans()),
    )


def alike(one, other):
    return dataclasses.replace(one, n_layers=1) == dataclasses.replace(other, n_layers=1)


@st.composite
def headers(draw):
    signal = draw(signals())
    name = st.binary(min_size=4, max_size=4).map(bytes.hex).filter(lambda name: name != NO_TABLES)
    ids = draw(st.sampled_from([(), ("s",), ("s", "n"), (NO_TABLES, "n")]))
    ids = tuple(draw(name) if part in "sn" else part for part in ids)
    return Header(signal=signal, chunk_blocks=draw(st.integers(1, 8192 // signal.frames_per_block)), table_ids=ids)


@given(headers())
def test_headers(header):
    assert unpack_header(pack_header(header)) == header


@given(headers(), st.integers(1, 1 << 20), st.integers(0, 1 << 30))
def test_the_grid_is_consistent(header, number, more):
    signal = header.signal
    start = signal.block_start(number)
    assert signal.blocks_until(start) == number and signal.blocks_until(start + 1) == number + 1
    if not signal.overlap:
        assert signal.frames_until(start) == number * signal.frames_per_block
    number = number // header.chunk_blocks
    whole = header.chunk_start(number + 1) - header.chunk_start(number)
    n_samples = more % whole + 1
    frames, all_frames = frames_of(header, number, n_samples), frames_of(header, number, whole)
    assert len(frames) <= len(all_frames) == header.chunk_blocks
    assert all(0 < one <= other <= signal.frames_per_block for one, other in zip(frames, all_frames, strict=False))
    assert all(n % signal.frame_multiple == 0 for n in frames)
    assert set(all_frames[:-2]) <= {signal.frames_per_block}, "only the last two blocks may be short"


@given(st.data())
def test_chunk_heads(data):
    header = Header(signal=make_signal(), chunk_blocks=3)
    data_number = data.draw(st.integers(0, (1 << 32) - 2))
    n_blocks, n_layers = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 4))
    levels = np.array(
        data.draw(st.lists(st.tuples(*[st.integers(0, 255)] * 2), min_size=n_blocks + 2, max_size=n_blocks + 2))
    )
    entry = st.builds(Entry, st.integers(0, 65_536), st.integers(0, 3), st.integers(0, 65_535))
    n_samples = data.draw(st.integers(1000 * n_blocks - 999, 1000 * n_blocks))
    n_entries = n_layers * int((levels[1:-1] != 0).any(0).sum())
    angles = data.draw(st.lists(st.integers(0, 511), min_size=n_blocks + 2, max_size=n_blocks + 2))
    head = ChunkHead(
        number=data_number,
        n_layers=n_layers,
        n_samples=n_samples,
        block_frames=frames_of(header, data_number, n_samples),
        levels=levels.astype(np.uint8),
        angles=np.array(angles, np.uint16),
        factors=np.zeros((0, 2), np.float32),
        entries=tuple(data.draw(st.lists(entry, min_size=n_entries, max_size=n_entries))),
    )
    packed = pack_head(head, header)
    found, start = unpack_head(packed + b"payload", header)
    assert repr(found) == repr(head) and start == len(packed)


@given(st.integers(0, 1 << 48), st.lists(st.integers(10, 1 << 24), max_size=50), st.integers(0, 255), U32)
def test_ends(n_samples, sizes, modes, n_optional_bytes):
    end = End(
        n_samples=n_samples, n_chunks=len(sizes) + 1, modes=modes, sizes=tuple(sizes), n_optional_bytes=n_optional_bytes
    )
    packed = pack_end(end)
    assert unpack_end(packed) == end
    assert end_section_bytes(pack_section(b"END.", packed)) == len(pack_section(b"END.", packed))


@given(st.dictionaries(st.sampled_from(["bext", "iXML", "cue ", "guan"]), st.binary(max_size=99)))
def test_metadata(items):
    assert unpack_metadata(pack_metadata(items)) == items


@given(st.dictionaries(TEXT.filter(lambda key: 1 <= len(key.encode()) <= 64), TEXT, max_size=8))
def test_tags(tags):
    assert unpack_tags(pack_tags(tags)) == tags


@given(st.integers(0, (1 << 64) - 1), st.binary(min_size=16, max_size=16), st.integers(1, 65_535), TEXT)
def test_sources(n_bytes, digest, beam_width, encoder):
    source = Source(n_bytes=n_bytes, digest=digest, beam_width=beam_width, encoder=encoder)
    assert unpack_source(pack_source(source)) == source


@st.composite
def coded(draw):
    """Return a table of frequencies and codes, likely and unlikely ones."""
    size = draw(st.one_of(st.integers(2, 20), st.sampled_from([64, 1000, 1024, 4096])))
    tables = make_static(1, size, seed=draw(st.integers(0, 999)), skew=draw(st.sampled_from([0.1, 1, 5, 50, 400])))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n_frames = draw(st.one_of(st.integers(0, 12), st.integers(0, 600)))
    likely = np.searchsorted(
        np.cumsum(tables.frequencies[0].astype(np.int64)), rng.integers(0, TOTAL, n_frames), "right"
    )
    unlikely = draw(st.sampled_from([0.0, 0.05, 1.0]))
    codes = np.where(rng.random(n_frames) < unlikely, rng.integers(0, size, n_frames), likely)
    return tables, codes.astype(np.uint16), size


def coded_layer(codes, size, tables, entropy):
    """Return the payload of one layer, after a look at whether it decodes."""
    ((mode, payload),) = LayerCoder(tables, [size], [1], [len(codes)], use_network=False).encode([codes], entropy)
    assert entropy == "auto" or mode == Mode[entropy.upper()]
    (decoded,) = LayerCoder(tables, [size], [1], [len(codes)], use_network=False).decode([payload], [mode])
    assert np.array_equal(decoded, codes)
    return payload


@given(coded())
def test_any_codes_survive_any_table(case):
    tables, codes, size = case
    for entropy in ("counts", "raw", "static"):
        payload = coded_layer(codes, size, Tables(static=tables), entropy)
        assert not (entropy != "raw" and payload.endswith(b"\0"))
    assert range_decode(payload, tables.frequencies[0], len(codes)) == codes.tolist()
    ideal = float((24 - np.log2(tables.frequencies[0].astype(float)))[codes].sum())
    assert 8 * len(payload) <= ideal + 0.001 * len(codes) + 16
    smaller = len(coded_layer(codes, size, Tables(static=tables), "auto"))
    assert smaller <= len(coded_layer(codes, size, Tables(), "raw")) + 2


@given(st.integers(2, 4096), st.integers(0, 4095), st.integers(1, 300))
def test_a_table_with_all_but_one_count_each_for_one_entry(size, favourite, n_frames):
    frequencies = np.ones((1, size), np.uint32)
    frequencies[0, favourite % size] += TOTAL - size
    tables = StaticTables(TABLES_ID, frequencies)
    rng = np.random.default_rng(n_frames)
    for codes in (rng.integers(0, size, n_frames), np.full(n_frames, favourite % size), np.full(n_frames, size - 1)):
        codes = codes.astype(np.uint16)
        payload = coded_layer(codes, size, Tables(static=tables), "static")
        assert range_decode(payload, frequencies[0], n_frames) == codes.tolist()


@st.composite
def files(draw):
    channels, sample_rate = draw(st.integers(1, 3)), draw(st.sampled_from([1000, 800, 441, 53]))
    trait = draw(st.sampled_from(["plain", "plain", *TRAITS]))
    values = {"channels": channels, "rotated": channels == 2} if trait == "plain" else TRAITS[trait]
    signal = make_signal(**values, sample_rate=sample_rate).with_layers(draw(st.integers(1, 4)))
    n_samples = draw(st.integers(0, 7 * signal.sample_rate))
    encoded = make_encoded(signal, n_samples, seed=draw(st.integers(0, 99)), silent=draw(st.sampled_from([0, 0.4, 1])))
    return encoded, draw(
        st.sampled_from(
            [EMPTY_TABLES, make_tables(4, 16), make_tables(2, 16), Tables(network=make_network(n_layers=3))]
        )
    )


@given(files(), st.integers(1, 8), st.integers(1, 50))
def test_any_chunk_length_and_any_pipe_give_the_same_codes(case, chunk_blocks, pipe_bytes):
    encoded, tables = case
    data = write_file(encoded, tables, chunk_blocks=chunk_blocks)
    assert same(read_file(data, tables), encoded)
    assert same(read_file(Pipe(data, pipe_bytes), tables), encoded)


@given(files(), st.integers(1, 4))
def test_an_encoded_and_its_blocks_are_the_same(case, chunk_blocks):
    encoded, tables = case
    assert same(gather(encoded.signal, encoded.blocks(), encoded.n_samples), encoded)
    data = write_file(encoded, tables, chunk_blocks=chunk_blocks, tags={"a": "b"})
    assert write_file(read_file(data, tables), tables, chunk_blocks=chunk_blocks, tags={"a": "b"}) == data
    target = io.BytesIO()
    recover(data, target, tables)
    assert target.getvalue() == data


@given(files(), st.integers(1, 4), st.integers(1, 4))
def test_a_trimmed_file_is_one_with_fewer_layers(case, n_layers, chunk_blocks):
    encoded, tables = case
    n_layers = min(n_layers, encoded.signal.n_layers)
    if not encoded.signal.scalable:
        return
    fewer = fewer_layers(encoded, n_layers)
    target = io.BytesIO()
    trim(Pipe(write_file(encoded, tables, chunk_blocks=chunk_blocks)), target, n_layers)
    assert target.getvalue() == write_file(fewer, tables, chunk_blocks=chunk_blocks)
