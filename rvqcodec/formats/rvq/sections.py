"""Section framing: type, length, payload and CRC-32C of everything after the signature (SPEC.md, section 1)."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import google_crc32c

from rvqcodec.errors import DamageError, LimitError, NotRvqError, TruncatedError
from rvqcodec.formats.rvq.fields import Fields, pack_varint

SIGNATURE = b"\x89RVQ\r\n\x1a\n"
TYPE_BYTES = 4
CRC_BYTES = 4
MIN_FRAME_BYTES = TYPE_BYTES + 1 + CRC_BYTES
MAX_SECTION_BYTES = 1 << 24
MAX_LENGTH_BYTES = 4
HEAD, CODE, END = b"HEAD", b"CODE", b"END."
TAGS, CHANNELS, COVER, METADATA, SOURCE = b"tags", b"chan", b"covr", b"meta", b"srce"
OPTIONAL = (TAGS, CHANNELS, COVER, METADATA, SOURCE)
"""The known optional sections, in the order in which they are written."""
LIMITS = {
    HEAD: 1 << 10,
    TAGS: 1 << 17,
    CHANNELS: 1 << 8,
    COVER: 1 << 22,
    METADATA: 1 << 20,
    SOURCE: 1 << 9,
    END: 1 << 22,
}


class Section(NamedTuple):
    """One section: its type, its payload, and whether its CRC-32C matches."""

    kind: bytes
    payload: bytes
    intact: bool

    @property
    def n_bytes(self) -> int:
        """Bytes in the file, frame included."""
        return frame_bytes(len(self.payload)) + len(self.payload)


def crc32c(*parts: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of the concatenated parts."""
    value = 0
    for part in parts:
        value = google_crc32c.extend(value, part)
    return value


def frame_bytes(length: int) -> int:
    """Return the overhead of a section with a payload of `length` bytes."""
    return TYPE_BYTES + len(pack_varint(length)) + CRC_BYTES


def pack_section(kind: bytes, payload: bytes) -> bytes:
    """Return a section: type, length, payload, and the CRC-32C over all three.

    Raises:
        ValueError: The payload exceeds the limit of its section type.
    """
    if len(payload) > LIMITS.get(kind, MAX_SECTION_BYTES):
        raise ValueError(f"a section {kind.decode()} of {len(payload)} bytes exceeds its limit")
    head = kind + pack_varint(len(payload))
    return head + payload + crc32c(head, payload).to_bytes(CRC_BYTES, "little")


def read_signature(file: BinaryIO) -> None:
    """Read the eight bytes that every .rvq file starts with.

    Raises:
        NotRvqError: They differ.
    """
    found = _read(file, len(SIGNATURE))
    if found != SIGNATURE:
        damaged = found[1:4] == b"RVQ" or found.replace(b"\n", b"\r\n")[:6] == SIGNATURE[:6]
        hint = "it may have been transferred in text mode" if damaged else ""
        raise NotRvqError("not an .rvq file" if found else "the file is empty, not an .rvq file", hint)


def read_section(file: BinaryIO) -> Section | None:
    """Read the next section, or return None at the end of the file. A CRC mismatch is reported in the result.

    Raises:
        LimitError: The section's type is invalid, or its length exceeds its limit.
        TruncatedError: The file ends inside it.
    """
    head = _read(file, TYPE_BYTES + 1)
    if not head:
        return None
    while head[-1] >= 0x80 and len(head) < TYPE_BYTES + MAX_LENGTH_BYTES and (more := _read(file, 1)):
        head += more
    kind, length = unpack_frame(head)
    body = _read(file, length + CRC_BYTES)
    if len(body) < length + CRC_BYTES:
        raise TruncatedError(f"the file ends inside a section {kind.decode()}")
    payload = body[:length]
    return Section(kind, payload, crc32c(head, payload) == int.from_bytes(body[length:], "little"))


def unpack_frame(head: bytes) -> tuple[bytes, int]:
    """Parse a section's type and the length of its payload, checked before any memory is allocated for it.

    Raises:
        LimitError: The type isn't four letters, digits or full stops, or the length exceeds its limit.
        TruncatedError: The bytes end early.
    """
    fields = Fields(head, "a section's frame")
    kind = fields.take(TYPE_BYTES)
    if not all(byte < 0x80 and (chr(byte).isalnum() or byte == 0x2E) for byte in kind):
        raise LimitError("a section's type is not text: the file is damaged")
    length = fields.varint("length")
    if length > LIMITS.get(kind, MAX_SECTION_BYTES):
        raise LimitError(f"a section {kind.decode()} claims {length} bytes, more than its limit")
    return kind, length


def _read(file: BinaryIO, n_bytes: int) -> bytes:
    """Return the next `n_bytes` bytes, fewer only at the end: an unbuffered pipe returns partial reads."""
    data: bytes = file.read(n_bytes)
    while 0 < len(data) < n_bytes and (more := file.read(n_bytes - len(data))):
        data += more
    return data


def is_optional(kind: bytes) -> bool:
    """Return whether readers skip a section of this type if it is unknown: its first character is a lower-case letter."""
    return kind[:1].islower()


def intact(section: Section, place: str) -> bytes:
    """Return a section's payload after checking its CRC; `place` names it in the error.

    Raises:
        DamageError: Its CRC-32C doesn't match.
    """
    if not section.intact:
        raise DamageError(f"{place} is damaged: its CRC-32C doesn't match")
    return section.payload
