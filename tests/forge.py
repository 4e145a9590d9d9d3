"""Takes .rvq files apart and puts them together again with checksums that hold, whatever was changed in between."""

from __future__ import annotations

import io
from dataclasses import replace

from rvqcodec.formats.rvq.head import pack_head, unpack_head
from rvqcodec.formats.rvq.header import unpack_header
from rvqcodec.formats.rvq.sections import CODE, HEAD, SIGNATURE, crc32c, pack_section, read_section


def pieces(data):
    """Return a file's sections as (type, payload)."""
    file = io.BytesIO(data)
    file.seek(len(SIGNATURE))
    found = []
    while (section := read_section(file)) is not None:
        found.append((section.kind, section.payload))
    return found


def joined(sections):
    """Return sections as a file."""
    return SIGNATURE + b"".join(pack_section(kind, payload) for kind, payload in sections)


def header_of(sections):
    """Return the header of a file's sections."""
    return unpack_header(dict(sections)[HEAD])


def with_section(sections, kind, change):
    """Return the sections with the first payload of a type changed by a function."""
    place = [found for found, _ in sections].index(kind)
    return [*sections[:place], (kind, change(sections[place][1])), *sections[place + 1 :]]


def with_head(sections, **changes):
    """Return the sections with other fields in the head of the first chunk, its CRC made right again."""
    header = header_of(sections)

    def change(payload):
        head, start = unpack_head(payload, header)
        return pack_head(replace(head, **changes), header) + payload[start:]

    return with_section(sections, CODE, change)


def head_length(payload):
    """Return where the payloads of a chunk start, found by its head's CRC; 0 where none holds."""
    for end in range(3, min(len(payload) - 3, 4000)):
        if crc32c(payload[:end]) == int.from_bytes(payload[end : end + 4], "little"):
            return end + 4
    return 0


def resealed(payload, length):
    """Return a chunk's payload with its head, of `length` bytes, made right again."""
    head = bytes(payload[: length - 4])
    return head + crc32c(head).to_bytes(4, "little") + bytes(payload[length:])
