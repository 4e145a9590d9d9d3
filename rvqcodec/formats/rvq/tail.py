"""The sections after the chunks: tags, metadata, provenance, and the end section with its index (SPEC.md, sections 7 and 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rvqcodec.errors import LimitError, TruncatedError
from rvqcodec.formats.rvq.fields import MAX_VARINT_BYTES, Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.head import MAX_CHUNKS, Entry
from rvqcodec.formats.rvq.sections import (
    CRC_BYTES,
    END,
    LIMITS,
    MAX_LENGTH_BYTES,
    MAX_SECTION_BYTES,
    METADATA,
    MIN_FRAME_BYTES,
    TAGS,
    frame_bytes,
)

MAX_SAMPLES = 1 << 48
MAX_KEY_BYTES = 64
MAX_MODES = 255
METADATA_KIND_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Provenance: the input of a file and how it was encoded, by which a resumed run recognises a file that is up to date.

    Args:
        n_bytes: Size of the input.
        digest: BLAKE2b-128 of the input, 16 bytes.
        beam_width: Of the quantizer search, 1 to 65,535.
        encoder: Program and version.
    """

    n_bytes: int
    digest: bytes
    beam_width: int
    encoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end section.

    Args:
        n_samples: Source samples per channel.
        n_chunks: Number of chunks.
        modes: Bit m is set if a payload has entropy mode m.
        sizes: Bytes of each chunk's section except the last, which follows from the file's size.
        n_optional_bytes: Size of the optional sections between the chunks and the end section.
    """

    n_samples: int
    n_chunks: int
    modes: int
    sizes: tuple[int, ...]
    n_optional_bytes: int


class Tally:
    """Accumulates the contents of the end section, chunk by chunk."""

    def __init__(self) -> None:
        self.n_samples = 0
        self.modes = 0
        self.sizes: list[int] = []

    def add(self, n_samples: int, entries: Iterable[Entry], n_section_bytes: int) -> None:
        """Add one chunk."""
        self.n_samples += n_samples
        self.sizes.append(n_section_bytes)
        for entry in entries:
            self.modes |= 1 << entry.mode

    def end(self, n_optional_bytes: int) -> End:
        """Return the end section of the chunks added so far."""
        return End(
            n_samples=self.n_samples,
            n_chunks=len(self.sizes),
            modes=self.modes,
            sizes=tuple(self.sizes[:-1]),
            n_optional_bytes=n_optional_bytes,
        )


def pack_end(end: End) -> bytes:
    """Return the payload of the section END; its last field is its length, byte-reversed, to be read from the end of the file."""
    packed, before = bytearray(pack_varint(end.n_samples) + pack_varint(end.n_chunks)), 0
    for size in end.sizes:
        packed += pack_signed(size - before)
        before = size
    packed.append(end.modes)
    packed += pack_varint(end.n_optional_bytes)
    return bytes(packed) + pack_varint(len(packed))[::-1]


def unpack_end(payload: bytes) -> End:
    """Read the payload of the section END.

    Raises:
        LimitError: A field exceeds its limit, or the length at the end is wrong.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the end section")
    n_samples = fields.varint("samples", 0, MAX_SAMPLES)
    n_chunks = fields.varint("number of chunks", 0, min(MAX_CHUNKS, len(payload)))
    sizes, size = [], 0
    for _ in range(n_chunks - 1):
        size += fields.signed("size of a chunk", MAX_SECTION_BYTES + frame_bytes(MAX_SECTION_BYTES))
        if not MIN_FRAME_BYTES < size <= MAX_SECTION_BYTES + frame_bytes(MAX_SECTION_BYTES):
            raise LimitError("the index holds an impossible chunk size")
        sizes.append(size)
    modes = fields.unsigned(1, "modes", 0, MAX_MODES)
    n_optional_bytes = fields.varint("size of the optional sections")
    length = pack_varint(fields.position)[::-1]
    if fields.take(len(length)) != length:
        raise LimitError("the end section's length field is wrong")
    fields.finish()
    return End(
        n_samples=n_samples,
        n_chunks=n_chunks,
        modes=modes,
        sizes=tuple(sizes),
        n_optional_bytes=n_optional_bytes,
    )


MAX_BACKWARD_BYTES = MAX_LENGTH_BYTES + CRC_BYTES
"""Bytes at the end of a file that suffice to locate its end section."""


def end_section_bytes(last: bytes) -> int:
    """Return the size of the end section, frame included, from the last bytes of a file, of which `MAX_BACKWARD_BYTES` suffice.

    Raises:
        LimitError: They aren't the end of an end section.
        TruncatedError: There are too few.
    """
    backwards = last[:-CRC_BYTES][: -MAX_VARINT_BYTES - 1 : -1] if len(last) > CRC_BYTES else b""
    fields = Fields(backwards, "the end section's length")
    try:
        length = fields.varint("the length", 1, LIMITS[END])
    except TruncatedError as error:
        raise LimitError("the file doesn't end with an end section") from error
    length += fields.position
    return length + frame_bytes(length)


def pack_tags(tags: Mapping[str, str]) -> bytes:
    """Return the payload of the section tags: sorted UTF-8 keys and values, length-prefixed.

    Raises:
        ValueError: The tags exceed the limit of their section, or a key is empty or too long.
    """
    packed = bytearray(pack_varint(len(tags)))
    for key, value in sorted(tags.items()):
        if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
            raise ValueError(f"a tag's key has {len(key.encode())} bytes: expected 1 to {MAX_KEY_BYTES}")
        for text in (key.encode(), value.encode()):
            packed += pack_varint(len(text)) + text
    if len(packed) > LIMITS[TAGS]:
        raise ValueError(f"tags of {len(packed)} bytes don't fit into {LIMITS[TAGS]}")
    return bytes(packed)


def unpack_tags(payload: bytes) -> dict[str, str]:
    """Read the payload of the section tags.

    Raises:
        LimitError: A length exceeds its limit, text isn't UTF-8, or the keys aren't strictly ascending.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the tags")
    tags: dict[str, str] = {}
    for _ in range(fields.varint("number of tags", 0, len(payload))):
        key = fields.text(fields.varint("length of a key", 1, MAX_KEY_BYTES), "a key")
        if tags and key <= next(reversed(tags)):
            raise LimitError("the tags aren't in ascending order of distinct keys")
        tags[key] = fields.text(fields.varint("length of a value", 0, len(payload)), "a value")
    fields.finish()
    return tags


def pack_metadata(items: Mapping[str, bytes]) -> bytes:
    """Return the payload of the section meta: sorted kinds, such as bext, iXML, "cue " and guan, with length-prefixed bytes.

    Raises:
        ValueError: They exceed the limit of their section, or a kind isn't four printable ASCII characters.
    """
    packed = bytearray(pack_varint(len(items)))
    for kind, value in sorted(items.items()):
        if not _is_kind(kind):
            raise ValueError(f"{kind!r} is no kind of metadata: expected four printable ASCII characters")
        packed += kind.encode() + pack_varint(len(value)) + value
    if len(packed) > LIMITS[METADATA]:
        raise ValueError(f"metadata of {len(packed)} bytes doesn't fit into {LIMITS[METADATA]}")
    return bytes(packed)


def unpack_metadata(payload: bytes) -> dict[str, bytes]:
    """Read the payload of the section meta.

    Raises:
        LimitError: A length exceeds its limit, a kind is invalid, or the kinds aren't strictly ascending.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the metadata")
    items: dict[str, bytes] = {}
    for _ in range(fields.varint("number of kinds", 0, len(payload))):
        kind = fields.text(METADATA_KIND_BYTES, "a kind")
        if not _is_kind(kind) or (items and kind <= next(reversed(items))):
            raise LimitError("the metadata's kinds aren't text or aren't sorted")
        items[kind] = fields.take(fields.varint("length of a value", 0, len(payload)))
    fields.finish()
    return items


def _is_kind(kind: str) -> bool:
    return len(kind) == METADATA_KIND_BYTES and kind.isascii() and kind.isprintable()


def pack_source(source: Source) -> bytes:
    """Return the payload of the section srce.

    Raises:
        OverflowError: A field exceeds its size.
    """
    name = source.encoder.encode()
    return (
        source.n_bytes.to_bytes(8, "little")
        + source.digest
        + source.beam_width.to_bytes(2, "little")
        + bytes([len(name)])
        + name
    )


def unpack_source(payload: bytes) -> Source:
    """Read the payload of the section srce.

    Raises:
        LimitError: A field exceeds its limit.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the provenance")
    source = Source(
        n_bytes=fields.unsigned(8, "size of the input"),
        digest=fields.take(16),
        beam_width=fields.unsigned(2, "beam width", 1),
        encoder=fields.text(fields.unsigned(1, "length of the encoder's name"), "the encoder's name"),
    )
    fields.finish()
    return source
