"""Saves what is intact in a damaged or truncated .rvq file."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from rvqcodec.errors import DamageError, FormatError
from rvqcodec.formats.chunk import ChunkHead, decode_codes, lost_chunk, pack_head, unpack_head
from rvqcodec.formats.entropy import StaticTables
from rvqcodec.formats.header import Header
from rvqcodec.formats.sections import CODE, END, FRAME_BYTES, TAGS, Section, crc32c, read_section
from rvqcodec.formats.stream import RvqReader, RvqWriter
from rvqcodec.formats.tail import End, unpack_end, unpack_tags

MAX_HEAD_BYTES = 1 << 17
MIN_CHUNK_BYTES = FRAME_BYTES + 9
LANDMARK = re.compile(rb"CODE|tags|srce|INDX|END\.")


@dataclass(frozen=True, slots=True)
class Loss:
    """One chunk that isn't whole any more: its number, its time in seconds, and the layers that were kept."""

    number: int
    start_s: float
    end_s: float
    n_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A chunk whose head is intact; its section may be damaged or cut."""

    head: ChunkHead
    payload: bytes
    start: int
    intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was saved: chunks in all, those that lost something, and whether the end was known.

    `n_bytes` and `n_samples` are those of the file that was written.
    """

    n_chunks: int
    losses: list[Loss]
    end_known: bool
    n_bytes: int
    n_samples: int


def recover(data: bytes, target: BinaryIO, tables: StaticTables | None) -> Recovery:
    """Write a whole, valid file with what is intact in a damaged one.

    A damaged chunk keeps the layers below the damage; a lost one becomes silence of the same length; a cut tail ends the file.

    Args:
        data: The damaged file: bytes, or a memory map.
        target: Where to write.
        tables: Static entropy tables; they tell which layers of a damaged chunk hold.

    Raises:
        FormatError: The header is damaged, or no chunk can be saved.
        ModelError: The tables that the file uses aren't at hand.
    """
    reader = RvqReader(io.BytesIO(data[: 1 << 12]))
    header = reader.header
    chunks, tags, end = _scan(data, reader.first_chunk, header)
    n_chunks, n_samples = _extent(chunks, end, header)
    if not chunks and (end is None or end.n_chunks):
        raise DamageError("nothing in the file can be recovered: no chunk's head is intact")
    writer = RvqWriter(target, header)
    losses = []
    for number in range(n_chunks):
        n_kept = _write_chunk(writer, number, chunks.get(number), n_samples, tables)
        if n_kept < header.signal.n_layers and not _was_so(chunks.get(number), n_kept):
            losses.append(Loss(number, number * header.chunk_s, (number + 1) * header.chunk_s, n_kept))
    writer.finish(tags, None)
    return Recovery(
        n_chunks=n_chunks, losses=losses, end_known=end is not None, n_bytes=writer.n_bytes, n_samples=writer.tally.n_samples
    )


def _was_so(found: Found | None, n_kept: int) -> bool:
    return found is not None and found.head.n_layers == n_kept


def _write_chunk(writer: RvqWriter, number: int, found: Found | None, n_samples: int, tables: StaticTables | None) -> int:
    """Write what is left of one chunk and return how many of its layers that is."""
    header = writer.header
    covered = min(n_samples, header.chunk_start(number + 1)) - header.chunk_start(number)
    if found is not None and found.head.n_samples == covered:
        n_intact = found.head.n_layers
        if not found.intact:
            n_intact = decode_codes(found.payload, found.start, found.head, header, tables)[1]
        if n_intact or not found.head.entries:
            head = found.head.with_layers(n_intact)
            kept = found.payload[found.start : found.start + head.n_payload_bytes]
            writer.write_payload(pack_head(head) + kept, head)
            return n_intact
    payload = lost_chunk(header, number, covered)
    writer.write_payload(payload, unpack_head(payload, header)[0])
    return 0


def _extent(chunks: dict[int, Found], end: End | None, header: Header) -> tuple[int, int]:
    """Return how many chunks and source samples the file has, from its end or else from its last chunk."""
    if end is not None:
        return end.n_chunks, end.n_samples
    last = max(chunks, default=-1)
    return last + 1, header.chunk_start(last) + chunks[last].head.n_samples if chunks else 0


def _scan(data: bytes, position: int, header: Header) -> tuple[dict[int, Found], dict[str, str], End | None]:
    """Walk through the sections; after damage, go on at the next section that can be made out."""
    chunks: dict[int, Found] = {}
    tags: dict[str, str] = {}
    end = None
    for position, piece in _pieces(data, position, header):
        if isinstance(piece, Found):
            number = piece.head.number
            if number > max(chunks, default=-1) and number * MIN_CHUNK_BYTES <= position:
                chunks[number] = piece
        elif piece.kind == TAGS:
            tags = unpack_tags(piece.payload)
        elif piece.kind == END:
            end = _believable(unpack_end(piece.payload), chunks, position, header)
    return chunks, tags, end


def _believable(end: End, chunks: dict[int, Found], position: int, header: Header) -> End | None:
    """Return the end section if it fits the chunks and the file's size."""
    fits = end.n_chunks * MIN_CHUNK_BYTES <= position and max(chunks, default=-1) < end.n_chunks
    spans = header.chunk_start(end.n_chunks - 1) < end.n_samples <= header.chunk_start(end.n_chunks) if end.n_chunks else not end.n_samples
    return end if fits and spans else None


def _pieces(data: bytes, position: int, header: Header) -> Iterator[tuple[int, Found | Section]]:
    while position < len(data):
        piece, n_bytes = _piece(data, position, header)
        if piece is not None:
            yield position, piece
            position += n_bytes
            continue
        landmark = LANDMARK.search(data, position + 1)
        position = landmark.start() if landmark else len(data)


def _piece(data: bytes, position: int, header: Header) -> tuple[Found | Section | None, int]:
    """Return the chunk or the intact section at `position`, if there is one, and its size."""
    kind = data[position : position + 4]
    try:
        if kind == CODE:
            found = _chunk(data, position, header)
            return found, FRAME_BYTES + found.start + found.head.n_payload_bytes
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if length > MAX_HEAD_BYTES:
            return None, 0
        section = read_section(io.BytesIO(data[position : position + FRAME_BYTES + length]))
    except FormatError:
        return None, 0
    return (section, section.n_bytes) if section is not None and section.intact else (None, 0)


def _chunk(data: bytes, position: int, header: Header) -> Found:
    body = position + 8
    head, start = unpack_head(data[body : body + MAX_HEAD_BYTES], header)
    length = start + head.n_payload_bytes
    payload = data[body : body + length]
    frame = data[position : position + 4] + length.to_bytes(4, "little")
    check = int.from_bytes(data[body + length : body + length + 4], "little")
    return Found(head=head, payload=payload, start=start, intact=len(payload) == length and crc32c(frame, payload) == check)
