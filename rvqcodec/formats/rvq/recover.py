"""Error recovery: resynchronises in a damaged or truncated .rvq file and rewrites its intact chunks and layers."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from rvqcodec.errors import DamageError, FormatError
from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.rvq.chunk import decode_codes, lost_chunk
from rvqcodec.formats.rvq.fields import pack_varint
from rvqcodec.formats.rvq.head import ChunkHead, max_head_bytes, min_head_bytes, pack_head, unpack_head
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import (
    CODE,
    CRC_BYTES,
    END,
    LIMITS,
    MAX_LENGTH_BYTES,
    METADATA,
    MIN_FRAME_BYTES,
    OPTIONAL,
    SOURCE,
    TAGS,
    TYPE_BYTES,
    Section,
    crc32c,
    frame_bytes,
    read_section,
    unpack_frame,
)
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.tail import End, unpack_end, unpack_metadata, unpack_tags
from rvqcodec.formats.rvq.writer import RvqWriter

MAX_EXPANSION = 8
"""Limit on the size of the lost chunks that are written, relative to the bytes read."""
BYTEWISE_SCAN_BYTES = 1 << 20
"""Bytes that may be examined unsuccessfully in steps of one byte before the scan takes larger steps: about a second of work."""
SYNC_WORD = re.compile(rb"CODE|tags|chan|covr|meta|srce|END\.")


@dataclass(frozen=True, slots=True)
class Loss:
    """A chunk that lost layers: its number, its time range in seconds, and the layers kept."""

    number: int
    start_s: float
    end_s: float
    n_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundChunk:
    """A chunk whose head is intact; its section, of `n_bytes` bytes, may be damaged or truncated.

    `payload` is that of the section, `start` the offset of the first layer payload in it, `intact` whether the section's CRC matches.
    """

    head: ChunkHead
    payload: bytes
    start: int
    n_bytes: int
    intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The result of a recovery.

    Args:
        n_chunks: Chunks of the file.
        losses: Chunks that lost layers.
        end_known: Whether the end section was intact, so that the file's length is known.
        n_bytes, n_samples: Of the file that was written.
    """

    n_chunks: int
    losses: list[Loss]
    end_known: bool
    n_bytes: int
    n_samples: int


def recover(data: bytes, target: BinaryIO, tables: Tables) -> Recovery:
    """Write a valid file with the intact parts of a damaged one.

    A damaged chunk keeps the layers below the damage (none if the codes aren't scalable); a lost chunk becomes silence of the same
    length; a truncated file ends early.

    Args:
        data: The damaged file: bytes, or a memory map.
        target: The output.
        tables: Entropy tables and network, with which the layers of a damaged chunk are verified.

    Raises:
        FormatError: The header is damaged, or no chunk is intact.
        ModelError: The file uses entropy tables that are missing.
    """
    reader = RvqReader(io.BytesIO(data[: 1 << 12]))
    header = reader.header
    chunks, optional, end = _scan(data, reader.first_chunk, header)
    n_chunks, n_samples = _extent(chunks, end, header)
    if not chunks and (end is None or end.n_chunks):
        raise DamageError("nothing can be recovered: no chunk's head is intact")
    writer = RvqWriter(target, header)
    losses = []
    for number in range(n_chunks):
        n_kept = _write_chunk(writer, number, chunks.get(number), n_samples, tables)
        if n_kept < header.signal.n_layers and not _had_layers(chunks.get(number), n_kept):
            losses.append(Loss(number, number * header.chunk_s, (number + 1) * header.chunk_s, n_kept))
    tags = unpack_tags(optional.pop(TAGS)) if TAGS in optional else {}
    writer.finish(tags, None, optional)
    return Recovery(
        n_chunks=n_chunks,
        losses=losses,
        end_known=end is not None,
        n_bytes=writer.n_bytes,
        n_samples=writer.tally.n_samples,
    )


def _had_layers(found: FoundChunk | None, n_kept: int) -> bool:
    return found is not None and found.head.n_layers == n_kept


def _write_chunk(writer: RvqWriter, number: int, found: FoundChunk | None, n_samples: int, tables: Tables) -> int:
    """Write the intact layers of one chunk and return their number."""
    header = writer.header
    covered = min(n_samples, header.chunk_start(number + 1)) - header.chunk_start(number)
    if found is not None and found.head.n_samples == covered:
        n_intact = found.head.n_layers
        if not found.intact:
            n_intact = decode_codes(found.payload, found.start, found.head, header, tables)[1]
            n_intact = n_intact if header.signal.scalable or n_intact == found.head.n_layers else 0
        if n_intact or not found.head.entries:
            head = found.head.with_layers(n_intact)
            kept = found.payload[found.start : found.start + head.n_payload_bytes]
            writer.write_payload(pack_head(head, header) + kept, head)
            return n_intact
    payload = lost_chunk(header, number, covered)
    writer.write_payload(payload, unpack_head(payload, header)[0])
    return 0


def _extent(chunks: dict[int, FoundChunk], end: End | None, header: Header) -> tuple[int, int]:
    """Return the number of chunks and of source samples, from the end section or else from the last chunk."""
    if end is not None:
        return end.n_chunks, end.n_samples
    last = max(chunks, default=-1)
    return last + 1, header.chunk_start(last) + chunks[last].head.n_samples if chunks else 0


def _scan(data: bytes, start: int, header: Header) -> tuple[dict[int, FoundChunk], dict[bytes, bytes], End | None]:
    """Scan the sections; after damage, resume at the next recognisable one.

    Returns:
        The chunks by number, the payloads of the optional sections by type, and the end section.
    """
    chunks: dict[int, FoundChunk] = {}
    optional: dict[bytes, bytes] = {}
    end: End | None = None
    last = -1
    for position, piece in _pieces(data, start, header):
        if isinstance(piece, FoundChunk):
            if piece.head.number > last and _can_precede(position, piece.head.number, header):
                last = piece.head.number
                chunks[last] = piece
        elif piece.kind in OPTIONAL and piece.kind != SOURCE and _readable(piece):
            optional[piece.kind] = piece.payload
        elif piece.kind == END and (end := _plausible_end(piece, last, position, header)):
            break
    return chunks, optional, end


def _can_precede(position: int, n_chunks: int, header: Header) -> bool:
    """Return whether `n_chunks` chunks may precede `position`, up to `MAX_EXPANSION`, so that a small file can't grow into a huge one."""
    return n_chunks * (MIN_FRAME_BYTES + min_head_bytes(header)) <= MAX_EXPANSION * position


def _readable(section: Section) -> bool:
    try:
        if section.kind == TAGS:
            unpack_tags(section.payload)
        if section.kind == METADATA:
            unpack_metadata(section.payload)
    except FormatError:
        return False
    return True


def _plausible_end(section: Section, last: int, position: int, header: Header) -> End | None:
    """Return the end section if it is consistent with the chunks and the file's size."""
    try:
        end = unpack_end(section.payload)
    except FormatError:
        return None
    fits = last < end.n_chunks and _can_precede(position, end.n_chunks - 1, header)
    return end if fits and header.spans(end.n_chunks, end.n_samples) else None


def _pieces(data: bytes, position: int, header: Header) -> Iterator[tuple[int, FoundChunk | Section]]:
    """Yield the chunks and intact sections, each with its offset.

    After damage each following sync word is tried. Bytes examined unsuccessfully are counted, so that a file made of sync words
    takes time linear in its size.
    """
    n_failed = 0
    while position < len(data):
        piece, n_bytes = _piece(data, position, header)
        if piece is not None:
            yield position, piece
            if not _overruns(data, position + n_bytes, piece) or n_failed + n_bytes > BYTEWISE_SCAN_BYTES:
                position += n_bytes
                continue
        n_failed += n_bytes
        step = 1 if n_failed < BYTEWISE_SCAN_BYTES else n_bytes
        sync_word = SYNC_WORD.search(data, position + step)
        position = sync_word.start() if sync_word else len(data)


def _overruns(data: bytes, end: int, piece: FoundChunk | Section) -> bool:
    """Return whether bytes are missing from a damaged chunk, so that the next section begins before its `end`."""
    return isinstance(piece, FoundChunk) and not piece.intact and SYNC_WORD.match(data, end) is None


def _piece(data: bytes, position: int, header: Header) -> tuple[FoundChunk | Section | None, int]:
    """Return the chunk or the intact section at `position` and its size; or None and the number of bytes examined."""
    head = bytes(data[position : position + TYPE_BYTES + MAX_LENGTH_BYTES])
    if head[:TYPE_BYTES] == CODE:
        try:
            found = _chunk(data, position, header)
        except FormatError:
            return None, max_head_bytes(header)
        return found, found.n_bytes
    try:
        kind, length = unpack_frame(head)
    except FormatError:
        return None, TYPE_BYTES
    if kind not in LIMITS:
        return None, TYPE_BYTES
    n_bytes = frame_bytes(length) + length
    try:
        section = read_section(io.BytesIO(data[position : position + n_bytes]))
    except FormatError:
        return None, n_bytes
    return section if section is not None and section.intact else None, n_bytes


def _chunk(data: bytes, position: int, header: Header) -> FoundChunk:
    """Return the chunk at `position`; the section's length is derived from the head, since the length field may be damaged."""
    body, head, start = _head(data, position + TYPE_BYTES, header)
    length = start + head.n_payload_bytes
    payload = data[body : body + length]
    frame = data[position : position + TYPE_BYTES] + pack_varint(length)
    check = int.from_bytes(data[body + length : body + length + CRC_BYTES], "little")
    intact = len(payload) == length and crc32c(frame, payload) == check
    n_bytes = body + length + CRC_BYTES - position
    return FoundChunk(head=head, payload=payload, start=start, n_bytes=n_bytes, intact=intact)


def _head(data: bytes, position: int, header: Header) -> tuple[int, ChunkHead, int]:
    """Return the offset of a chunk's payload, its head, and the size of the head; the section's length field is at `position`."""
    for n_bytes in range(1, MAX_LENGTH_BYTES):
        body = position + n_bytes
        try:
            return (body, *unpack_head(data[body : body + max_head_bytes(header)], header))
        except FormatError:
            continue
    body = position + MAX_LENGTH_BYTES
    return (body, *unpack_head(data[body : body + max_head_bytes(header)], header))
