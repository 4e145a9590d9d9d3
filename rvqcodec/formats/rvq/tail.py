"""What stands after the chunks: tags, provenance, the index and the end section."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rvqcodec.errors import LimitError
from rvqcodec.formats.rvq.chunk import MAX_CHUNKS, Entry
from rvqcodec.formats.rvq.fields import Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.sections import FRAME_BYTES, LIMITS, MAX_SECTION_BYTES, TAGS

MAX_SAMPLES = 1 << 48
MAX_KEY_BYTES = 64
DIGEST_BYTES = 8
END_BYTES = 29
END_SECTION_BYTES = END_BYTES + FRAME_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file was made from and how, so that a resumed run can tell whether it is still wanted.

    n_bytes: Size of the input.
    digest: BLAKE2b-128 of the input's bytes.
    effort: Candidates of the search.
    encoder: Program and version.
    """

    n_bytes: int
    digest: bytes
    effort: int
    encoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end section, of fixed size.

    n_samples: Source samples per channel.
    n_chunks: How many chunks there are.
    modes: Bit m is set when a payload has entropy mode m.
    digest: First 8 bytes of the SHA-256 of all layer checks in order.
    n_index_bytes, n_optional_bytes: Sizes of the index and of the optional sections between it and the chunks.
    """

    n_samples: int
    n_chunks: int
    modes: int
    digest: bytes
    n_index_bytes: int
    n_optional_bytes: int


class Tally:
    """Adds up, chunk by chunk, what the end section says."""

    def __init__(self) -> None:
        self.n_samples = 0
        self.modes = 0
        self.sizes: list[int] = []
        self._hash = hashlib.sha256()

    def add(self, n_samples: int, entries: Iterable[Entry], n_section_bytes: int) -> None:
        """Count one chunk."""
        self.n_samples += n_samples
        self.sizes.append(n_section_bytes)
        for entry in entries:
            self.modes |= 1 << entry.mode
            self._hash.update(entry.check.to_bytes(2, "little"))

    def end(self, n_index_bytes: int, n_optional_bytes: int) -> End:
        """Return the end section that belongs to what was counted."""
        return End(
            n_samples=self.n_samples,
            n_chunks=len(self.sizes),
            modes=self.modes,
            digest=self._hash.digest()[:DIGEST_BYTES],
            n_index_bytes=n_index_bytes,
            n_optional_bytes=n_optional_bytes,
        )


def pack_end(end: End) -> bytes:
    """Return the payload of the section END."""
    counts = end.n_samples.to_bytes(8, "little") + end.n_chunks.to_bytes(4, "little") + bytes([end.modes])
    return counts + end.digest + end.n_index_bytes.to_bytes(4, "little") + end.n_optional_bytes.to_bytes(4, "little")


def unpack_end(payload: bytes) -> End:
    """Read the payload of the section END.

    Raises:
        LimitError: A field is past its limit.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the end section")
    end = End(
        n_samples=fields.unsigned(8, "samples", 0, MAX_SAMPLES),
        n_chunks=fields.unsigned(4, "chunks"),
        modes=fields.unsigned(1, "modes", 0, 15),
        digest=fields.take(DIGEST_BYTES),
        n_index_bytes=fields.unsigned(4, "size of the index"),
        n_optional_bytes=fields.unsigned(4, "size of the optional sections"),
    )
    fields.finish()
    return end


def pack_index(sizes: list[int]) -> bytes:
    """Return the payload of the section INDX: the sizes of the chunks' sections, as differences."""
    packed, before = bytearray(pack_varint(len(sizes))), 0
    for size in sizes:
        packed += pack_signed(size - before)
        before = size
    return bytes(packed)


def unpack_index(payload: bytes) -> list[int]:
    """Read the payload of the section INDX.

    Raises:
        LimitError: A size isn't one, or the count doesn't fit the payload.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the index")
    n_chunks = fields.varint("number of chunks", 0, min(MAX_CHUNKS, len(payload)))
    sizes, size = [], 0
    for _ in range(n_chunks):
        size += fields.signed("size of a chunk", MAX_SECTION_BYTES)
        if size <= FRAME_BYTES:
            raise LimitError("the index holds a size that no chunk has")
        sizes.append(size)
    fields.finish()
    return sizes


def pack_tags(tags: Mapping[str, str]) -> bytes:
    """Return the payload of the section tags: sorted keys and values in UTF-8, each with its length.

    Raises:
        ValueError: The tags are larger than their section may be, or a key is empty or too long.
    """
    packed = bytearray(pack_varint(len(tags)))
    for key, value in sorted(tags.items()):
        if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
            raise ValueError(f"a tag's key has {len(key.encode())} bytes; 1 to {MAX_KEY_BYTES} are possible")
        for text in (key.encode(), value.encode()):
            packed += pack_varint(len(text)) + text
    if len(packed) > LIMITS[TAGS]:
        raise ValueError(f"tags of {len(packed)} bytes don't fit into {LIMITS[TAGS]}")
    return bytes(packed)


def unpack_tags(payload: bytes) -> dict[str, str]:
    """Read the payload of the section tags.

    Raises:
        LimitError: A length is past its limit, text isn't UTF-8, or the keys don't rise.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the tags")
    tags: dict[str, str] = {}
    for _ in range(fields.varint("number of tags", 0, len(payload))):
        key = fields.text(fields.varint("length of a key", 1, MAX_KEY_BYTES), "a key")
        if tags and key <= next(reversed(tags)):
            raise LimitError("the tags aren't sorted, or a key stands there twice")
        tags[key] = fields.text(fields.varint("length of a value", 0, len(payload)), "a value")
    fields.finish()
    return tags


def pack_source(source: Source) -> bytes:
    """Return the payload of the section srce."""
    name = source.encoder.encode()
    return (
        source.n_bytes.to_bytes(8, "little")
        + source.digest
        + source.effort.to_bytes(2, "little")
        + bytes([len(name)])
        + name
    )


def unpack_source(payload: bytes) -> Source:
    """Read the payload of the section srce.

    Raises:
        LimitError: A field is past its limit.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the provenance")
    source = Source(
        n_bytes=fields.unsigned(8, "size of the input"),
        digest=fields.take(16),
        effort=fields.unsigned(2, "effort", 1),
        encoder=fields.text(fields.unsigned(1, "length of the encoder's name"), "the encoder's name"),
    )
    fields.finish()
    return source
