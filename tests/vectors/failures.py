"""Files that a reader must refuse, by name: one for each rule of SPEC.md, with checksums that hold unless they are the point."""

import numpy as np

from rvqcodec.formats.rvq.fields import pack_varint
from rvqcodec.formats.rvq.head import Entry, unpack_head
from rvqcodec.formats.rvq.sections import CODE, END, HEAD, METADATA, SIGNATURE, TAGS
from tests.entropies import fitting_tables
from tests.forge import header_of, joined, pieces, with_head, with_section
from tests.streams import write_file
from tests.tiny import TRAITS, make_encoded, make_signal

FLAGS, CHANNELS, FRAMES, MULTIPLE, OVERLAP, GROUPS = 2, 3, 9, 10, 11, 13
"""Where fields of the header of `base` stand."""


def trait(name, n_samples=1500, entropy="raw", **options):
    """Return the sections of a made-up file of one kind of signal."""
    encoded = make_encoded(make_signal(**TRAITS[name]), n_samples, silent=0)
    return pieces(write_file(encoded, entropy=entropy, **options))


def set_bytes(place, value, n_replaced=None):
    """Return a function that puts bytes into a payload; places below 0 count from its end."""

    def change(payload):
        start = place % len(payload) if place < 0 else place
        return payload[:start] + value + payload[start + (len(value) if n_replaced is None else n_replaced) :]

    return change


def of_header(base):
    """Return files whose header breaks a rule."""
    rules = {
        "newer-major": set_bytes(0, b"\2"),
        "reserved-flag": set_bytes(FLAGS, b"\x8c"),
        "unknown-levels": set_bytes(FLAGS, b"\x0f"),
        "nine-channels": set_bytes(CHANNELS, b"\x28"),
        "unknown-sample-format": set_bytes(CHANNELS, b"\x71"),
        "three-rotated-channels": set_bytes(CHANNELS, b"\x22"),
        "rotated-without-levels": set_bytes(FLAGS, b"\x0c"),
        "sample-rate-past-limit": set_bytes(4, b"\x81\xf0\x2e", 2),
        "frames-shorter-than-a-sample": set_bytes(6, b"\x28", 2),
        "no-frames": set_bytes(FRAMES, b"\0"),
        "long-varint": set_bytes(FRAMES, b"\xb2\0", 1),
        "overlap-past-half": set_bytes(OVERLAP, b"\x91\x03", 1),
        "chunk-too-long": set_bytes(OVERLAP + 1, b"\xa4\1", 1),
        "groups-alike": set_bytes(GROUPS, b"\1\x0f\x81\x0f", 2),
        "too-many-layers": set_bytes(GROUPS, b"\x3f\x0f\x80\x0e", 2),
        "codebook-of-one": set_bytes(GROUPS + 1, b"\0"),
        "bytes-after-the-name": lambda payload: payload + b"\0",
        "name-not-printable": set_bytes(-1, b"\n"),
        "name-not-text": set_bytes(-1, b"\xff"),
        "header-ends-early": lambda payload: payload[:-1],
    }
    found = {name: joined(with_section(base, HEAD, rule)) for name, rule in rules.items()}
    strides = trait("strides")
    found["multiple-does-not-divide"] = joined(with_section(strides, HEAD, set_bytes(MULTIPLE, b"\x14")))
    found["stride-rises"] = joined(with_section(strides, HEAD, set_bytes(GROUPS + 2, b"\1")))
    found["stride-does-not-divide-multiple"] = joined(with_section(strides, HEAD, set_bytes(MULTIPLE, b"\2")))
    return found


def of_chunks(base):
    """Return files whose first chunk breaks a rule."""
    header = header_of(base)
    first = unpack_head(dict(base[:2])[CODE], header)[0]
    entries = first.entries
    overlap, factor = trait("overlap", 2700), trait("multiple", 2700)
    whole = unpack_head(overlap[1][1], header_of(overlap))[0]
    bad = np.full_like(whole.factors, np.nan)
    raw = trait("plain")
    zero = bytearray(raw[1][1])
    zero[-1] = 0xFF
    return {
        "layers-past-the-header": joined(with_head(base, n_layers=5)),
        "no-samples": joined(with_head(base, n_samples=0)),
        "samples-past-the-chunk": joined(with_head(base, n_samples=2001)),
        "unknown-mode": joined(with_head(base, entries=(Entry(entries[0].n_bytes, 5, 0), *entries[1:]))),
        "payload-too-long": joined(with_head(base, entries=(Entry(65_537, 0, 0), *entries[1:]))),
        "table-contradicts-section": joined(with_head(base, entries=(Entry(9, 0, 0), *entries[1:]))),
        "wrong-check": joined(with_head(base, entries=(Entry(entries[0].n_bytes, entries[0].mode, 1), *entries[1:]))),
        "wrong-code": joined([*raw[:1], (CODE, bytes(zero)), *raw[2:]]),
        "mode-3-with-strides": joined(mode_3(trait("strides"))),
        "layers-of-unscalable-codes": joined(fewer(trait("pairs"))),
        "factor-not-a-number": joined(with_head(overlap, factors=bad)),
        "factor-zero": joined(zero_factor(factor)),
        "too-many-missing-frames": joined(with_head(overlap, block_frames=(50, 40))),
        "missing-frames-not-a-multiple": joined(with_head(factor, block_frames=(50, 45))),
        "blocks-end-early": started_anew(
            trait("multiple", 750, chunk_blocks=1), trait("multiple", 2700, chunk_blocks=1)
        ),
        "too-much-work": too_much_work(),
        "chunks-swapped": joined([base[0], base[2], base[1], *base[3:]]),
        "chunk-twice": joined([*base[:2], *base[1:]]),
        "short-chunk-in-the-middle": started_anew(trait("plain", 1500), trait("plain", 4500)),
    }


def started_anew(short, long):
    """Return a file whose first chunk is that of a shorter one."""
    return joined([*short[:2], *long[2:]])


def zero_factor(sections):
    header = header_of(sections)
    head = unpack_head(sections[1][1], header)[0]
    return with_head(sections, factors=head.factors * 0)


def mode_3(sections):
    header = header_of(sections)
    head = unpack_head(sections[1][1], header)[0]
    return with_head(sections, entries=tuple(Entry(e.n_bytes, 3, e.check) for e in head.entries))


def fewer(sections):
    header = header_of(sections)
    head, start = unpack_head(sections[1][1], header)
    cut = head.with_layers(2)
    sections = with_section(sections, CODE, lambda payload: payload[: start + cut.n_payload_bytes])
    return with_head(sections, n_layers=2, entries=cut.entries)


def too_much_work():
    """Return a small file whose chunk claims 2^32 codes times entries: 8192 frames of 64 layers of 8192 entries, most without bytes."""
    signal = make_signal(n_layers=64, codebook_size=8192, channels=1, rotated=False, frames_per_block=8192)
    encoded = make_encoded(signal, 100, silent=0)
    sections = pieces(write_file(encoded, entropy="raw", chunk_blocks=1))
    header = header_of(sections)
    head, start = unpack_head(sections[1][1], header)
    entries = tuple(Entry(0, 2, 0) for _ in head.entries)
    sections = with_section(sections, CODE, lambda payload: payload[:start])
    return joined(with_head(sections, n_samples=header.chunk_start(1), entries=entries))


def of_the_end(data, base):
    """Return files that break a rule behind their chunks, or as a whole."""
    tags = with_section(base, TAGS, lambda _: b"\2\1b\0\1a\0")
    meta = [*base[:-2], (METADATA, b"\2cue \0bext\0"), *base[-2:]]
    code = data.index(CODE)
    return {
        "empty-file": b"",
        "no-header": SIGNATURE,
        "text-mode": data.replace(b"\r\n", b"\n"),
        "unknown-required": joined([*base[:-1], (b"NEW.", b"?"), base[-1]]),
        "type-not-text": data[:code] + b"CO-E" + data[code + 4 :],
        "long-section": data[: code + 4] + b"\xff\xff\xff\x7f" + data[code + 8 :],
        "section-twice": joined([*base[:-1], (TAGS, b"\0"), base[-1]]),
        "tags-not-sorted": joined(tags),
        "metadata-not-sorted": joined(meta),
        "end-contradicts": joined(with_section(base, END, set_bytes(0, bytes([base[-1][1][0] ^ 1])))),
        "end-of-another-length": joined(with_section(base, END, set_bytes(-1, b"\x01"))),
        "index-contradicts": joined(with_section(base, END, set_bytes(3, pack_varint(2000)))),
        "bytes-after-the-end": data + b"x",
        "payload-damaged": flipped(data, code + 130),
        "head-damaged": flipped(data, code + 12),
        "header-damaged": flipped(data, 20),
        "cut-in-a-chunk": data[: code + 100],
        "cut-before-the-end": data[: data.rindex(END)],
    }


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def make_failures():
    """Return all files by name, and the tables that reading them takes."""
    tables = fitting_tables(4)
    encoded = make_encoded(make_signal(), 4500, silent=0)
    data = write_file(encoded, tables, "static", tags={"title": "x"})
    plain = pieces(write_file(encoded, entropy="raw", tags={"title": "x"}))
    base = pieces(data)
    return {**of_header(plain), **of_chunks(base), **of_the_end(data, base)}, tables
