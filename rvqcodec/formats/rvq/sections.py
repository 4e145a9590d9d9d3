"""Sections: the framing of everything in an .rvq file after its signature."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

import google_crc32c

from rvqcodec.errors import DamageError, LimitError, NotRvqError, TruncatedError

SIGNATURE = b"\x89RVQ\r\n\x1a\n"
FRAME_BYTES = 12
MAX_SECTION_BYTES = 1 << 24
HEAD, CODE, TAGS, SOURCE, INDEX, END = b"HEAD", b"CODE", b"tags", b"srce", b"INDX", b"END."
LIMITS = {HEAD: 1 << 10, TAGS: 1 << 17, SOURCE: 1 << 8, INDEX: 1 << 22, END: 1 << 6}


class Section(NamedTuple):
    """One section: its type, its payload, and whether its CRC-32C held."""

    kind: bytes
    payload: bytes
    intact: bool

    @property
    def n_bytes(self) -> int:
        """Bytes in the file, frame included."""
        return FRAME_BYTES + len(self.payload)


def crc32c(*parts: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of the parts one after the other."""
    value = 0
    for part in parts:
        value = google_crc32c.extend(value, part)
    return value


def pack_section(kind: bytes, payload: bytes) -> bytes:
    """Return a section: type, length, payload, and the CRC-32C over all three."""
    head = kind + len(payload).to_bytes(4, "little")
    return head + payload + crc32c(head, payload).to_bytes(4, "little")


def read_signature(file: BinaryIO) -> None:
    """Read the eight bytes that every .rvq file starts with.

    Raises:
        NotRvqError: They are others.
    """
    found = _read(file, len(SIGNATURE))
    if found != SIGNATURE:
        damaged = found[1:4] == b"RVQ" or found.replace(b"\n", b"\r\n")[:6] == SIGNATURE[:6]
        hint = "it was perhaps transferred as text" if damaged else ""
        raise NotRvqError("not an .rvq file" if found else "the file is empty, not an .rvq file", hint)


def read_section(file: BinaryIO) -> Section | None:
    """Read the next section, or return None at the end of the file. A failed CRC is told, not raised.

    Raises:
        LimitError: The section's type isn't one, or its length is past its limit.
        TruncatedError: The file ends inside it.
    """
    head = _read(file, 8)
    if not head:
        return None
    if len(head) < 8:
        raise TruncatedError("the file ends inside a section's head")
    kind, length = head[:4], int.from_bytes(head[4:], "little")
    check_frame(kind, length)
    body = _read(file, length + 4)
    if len(body) < length + 4:
        raise TruncatedError(f"the file ends inside a section {kind.decode()}")
    payload = body[:length]
    return Section(kind, payload, crc32c(head, payload) == int.from_bytes(body[length:], "little"))


def _read(file: BinaryIO, n_bytes: int) -> bytes:
    """Return the next `n_bytes` bytes, fewer only at the end: an unbuffered pipe gives them in parts."""
    data: bytes = file.read(n_bytes)
    while 0 < len(data) < n_bytes and (more := file.read(n_bytes - len(data))):
        data += more
    return data


def check_frame(kind: bytes, length: int) -> None:
    """Check a section's type and length before its payload is read.

    Raises:
        LimitError: The type isn't four letters, digits or full stops, or the length is past its limit.
    """
    if not all(byte < 0x80 and (chr(byte).isalnum() or byte == 0x2E) for byte in kind):
        raise LimitError("a section's type is not text: the file is damaged")
    if length > LIMITS.get(kind, MAX_SECTION_BYTES):
        raise LimitError(f"a section {kind.decode()} claims {length} bytes, more than it may have")


def is_optional(kind: bytes) -> bool:
    """Tell whether a reader that doesn't know this type skips it: its first character is a lower-case letter."""
    return kind[:1].islower()


def intact(section: Section, place: str) -> bytes:
    """Return a section's payload.

    Raises:
        DamageError: Its CRC failed.
    """
    if not section.intact:
        raise DamageError(f"{place} is damaged: its CRC-32C doesn't hold")
    return section.payload
