"""Whole .rvq files: written front to back without seeking, read front to back or by the index."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from rvqcodec.encoded import CodedBlock, Codes
from rvqcodec.errors import DamageError, FormatError, LimitError, ModelError, TruncatedError, VersionError
from rvqcodec.formats.entropy.layers import NOTHING, Tables
from rvqcodec.formats.rvq.chunk import ChunkHead, check_lengths, decode_codes, pack_chunk, unpack_blocks, unpack_head
from rvqcodec.formats.rvq.header import Header, pack_header, unpack_header
from rvqcodec.formats.rvq.sections import (
    CODE,
    END,
    HEAD,
    INDEX,
    LIMITS,
    SIGNATURE,
    SOURCE,
    TAGS,
    Section,
    crc32c,
    intact,
    is_optional,
    pack_section,
    read_section,
    read_signature,
)
from rvqcodec.formats.rvq.tail import (
    END_BYTES,
    END_SECTION_BYTES,
    End,
    Source,
    Tally,
    pack_end,
    pack_index,
    pack_source,
    pack_tags,
    unpack_end,
    unpack_index,
    unpack_source,
    unpack_tags,
)
from rvqcodec.times import format_time

RECOVER_HINT = "`rvq recover` writes a whole file with what is intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What stands after the chunks."""

    end: End
    sizes: list[int]
    tags: dict[str, str] = field(default_factory=dict)
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedChunk:
    """A chunk whose checks held but whose payloads weren't decoded."""

    head: ChunkHead
    payload: bytes
    start: int


class RvqWriter:
    """Writes an .rvq file, chunk by chunk, to a file or a pipe.

    Args:
        file: Where to; the header is written at once.
        header: What the file is.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.file = file
        self.header = header
        self.tally = Tally()
        self.n_bytes = 0
        self._write(SIGNATURE + pack_section(HEAD, pack_header(header)))

    def write_blocks(self, blocks: Sequence[CodedBlock], n_samples: int, tables: Tables, entropy: str) -> None:
        """Code and write the next chunk.

        Args:
            blocks: Its blocks: as many as a chunk has, fewer only in the last.
            n_samples: Source samples that they cover.
            tables: What entropy modes know.
            entropy: A mode's name, or "auto".
        """
        payload = pack_chunk(self.header, len(self.tally.sizes), blocks, n_samples, tables, entropy)
        self.write_payload(payload, unpack_head(payload, self.header)[0])

    def write_payload(self, payload: bytes, head: ChunkHead) -> None:
        """Write the next chunk as it is already packed."""
        section = pack_section(CODE, payload)
        self.tally.add(head.n_samples, head.entries, len(section))
        self._write(section)

    def finish(self, tags: Mapping[str, str], source: Source | None) -> None:
        """Write what stands after the chunks."""
        optional = pack_section(TAGS, pack_tags(tags)) if tags else b""
        if source is not None:
            optional += pack_section(SOURCE, pack_source(source))
        index = pack_section(INDEX, pack_index(self.tally.sizes))
        end = self.tally.end(len(index), len(optional))
        self._write(optional + index + pack_section(END, pack_end(end)))

    def _write(self, data: bytes) -> None:
        self.file.write(data)
        self.n_bytes += len(data)


class RvqReader:
    """Reads an .rvq file; the header is read at once.

    Args:
        file: Where from: a file, or a pipe that may still grow.

    Raises:
        FormatError: The signature or the header isn't whole.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        read_signature(file)
        section = read_section(file)
        if section is None:
            raise TruncatedError("the file ends before its header")
        if section.kind != HEAD:
            raise DamageError(f"the file starts with a section {section.kind.decode()}, not with its header")
        self.header = unpack_header(intact(section, "the header"))
        self.first_chunk = len(SIGNATURE) + section.n_bytes
        self.tail: Tail | None = None

    def chunks(self, tables: Tables = NOTHING) -> Iterator[PackedChunk]:
        """Yield all chunks in order, and set `tail`; every check of the file is made on the way.

        Args:
            tables: Only for the message when a chunk is damaged: they tell in which layer.

        Raises:
            FormatError: The file is damaged or truncated.
        """
        tally = Tally()
        section = self._next(tally)
        while section.kind == CODE:
            chunk = self._unpack(section, len(tally.sizes), tables)
            if tally.n_samples != self.header.chunk_start(len(tally.sizes)):
                raise LimitError(f"chunk {len(tally.sizes) - 1} is not the last and covers less than a whole chunk")
            tally.add(chunk.head.n_samples, chunk.head.entries, section.n_bytes)
            yield chunk
            section = self._next(tally)
        self.tail = self._read_tail(section, tally)

    def blocks(self, tables: Tables) -> Iterator[CodedBlock]:
        """Yield all blocks in order, decoded, and set `tail`.

        Raises:
            FormatError: The file is damaged or truncated.
            ModelError: The file uses tables that aren't at hand.
        """
        for chunk in self.chunks(tables):
            yield from self.decoded_blocks(chunk, tables)

    def decoded_blocks(self, chunk: PackedChunk, tables: Tables) -> Iterator[CodedBlock]:
        """Yield the blocks of one chunk.

        Raises:
            DamageError: A layer's check doesn't hold: damage, or other tables than the file's.
            ModelError: The file uses tables that aren't at hand.
        """
        return unpack_blocks(chunk.head, self.codes(chunk, tables), self.header.signal)

    def codes(self, chunk: PackedChunk, tables: Tables) -> Codes:
        """Return one chunk's codes, uint16 [streams, layers, frames].

        Raises:
            DamageError: A layer's check doesn't hold.
            ModelError: The file uses tables that aren't at hand.
        """
        codes, n_intact = decode_codes(chunk.payload, chunk.start, chunk.head, self.header, tables)
        if n_intact < chunk.head.n_layers:
            raise DamageError(f"{self.place(chunk.head.number)} is damaged in layer {n_intact + 1}", RECOVER_HINT)
        return codes

    def read_tail(self) -> Tail:
        """Read what stands after the chunks, from the end of a file that can seek.

        Raises:
            TruncatedError: The file doesn't end with an end section.
            FormatError: The tail is damaged.
        """
        size = self.file.seek(0, os.SEEK_END)
        if size < self.first_chunk + END_SECTION_BYTES:
            raise TruncatedError("the file ends before its end section", RECOVER_HINT)
        self.file.seek(size - END_SECTION_BYTES)
        last = self.file.read(END_SECTION_BYTES)
        frame = END + END_BYTES.to_bytes(4, "little")
        if last[:8] != frame or crc32c(last[:-4]) != int.from_bytes(last[-4:], "little"):
            raise TruncatedError("the file doesn't end with an intact end section", RECOVER_HINT)
        end = unpack_end(last[8:-4])
        start = size - END_SECTION_BYTES - end.n_index_bytes - end.n_optional_bytes
        if start < self.first_chunk:
            raise LimitError("the end section claims more than the file holds", RECOVER_HINT)
        self.file.seek(start)
        tail = self._optional_and_index()
        if self.first_chunk + sum(tail.sizes) != start or tail.end.n_index_bytes != end.n_index_bytes:
            raise DamageError("the index contradicts the file's size", RECOVER_HINT)
        if len(tail.sizes) != end.n_chunks or not self.header.spans(end.n_chunks, end.n_samples):
            raise DamageError("the end section contradicts the chunks", RECOVER_HINT)
        return Tail(end=end, sizes=tail.sizes, tags=tail.tags, source=tail.source)

    def seek_chunks(self, tail: Tail, first: int, tables: Tables) -> Iterator[PackedChunk]:
        """Yield the chunks from number `first` on, of a file that can seek, and read no other.

        Raises:
            FormatError: One of them is damaged.
        """
        offsets = list(itertools.accumulate(tail.sizes, initial=self.first_chunk))
        for number in range(first, len(tail.sizes)):
            self.file.seek(offsets[number])
            section = read_section(self.file)
            if section is None or section.kind != CODE or section.n_bytes != tail.sizes[number]:
                raise DamageError(f"{self.place(number)} is not where the index says", RECOVER_HINT)
            chunk = self._unpack(section, number, tables)
            end = min(tail.end.n_samples, self.header.chunk_start(number + 1))
            if self.header.chunk_start(number) + chunk.head.n_samples != end:
                raise DamageError(f"{self.place(number)} doesn't cover what the end section says", RECOVER_HINT)
            yield chunk

    def rewind(self) -> None:
        """Go back to the first chunk, in a file that can seek."""
        if self.file.seekable():
            self.file.seek(self.first_chunk)

    def size(self, tail: Tail) -> int:
        """Return the file's size in bytes."""
        return (
            self.first_chunk + sum(tail.sizes) + tail.end.n_optional_bytes + tail.end.n_index_bytes + END_SECTION_BYTES
        )

    def place(self, number: int) -> str:
        """Return how messages name a chunk: its number and its time."""
        start = number * self.header.chunk_s
        return f"chunk {number} ({format_time(start)} to {format_time(start + self.header.chunk_s)})"

    def _next(self, tally: Tally) -> Section:
        after = format_time(len(tally.sizes) * self.header.chunk_s)
        try:
            section = read_section(self.file)
        except TruncatedError as error:
            raise TruncatedError(f"the file is cut off after {after}", RECOVER_HINT) from error
        except FormatError as error:
            raise DamageError(f"{self.place(len(tally.sizes))} or what follows it is damaged", RECOVER_HINT) from error
        if section is None:
            raise TruncatedError(f"the file is cut off after {after}: its end section is missing", RECOVER_HINT)
        return section

    def _unpack(self, section: Section, number: int, tables: Tables) -> PackedChunk:
        try:
            head, start = unpack_head(section.payload, self.header)
        except FormatError as error:
            raise type(error)(f"{self.place(number)} is damaged: {error.message}", RECOVER_HINT) from error
        if head.number != number:
            raise DamageError(f"chunk {number} is missing: chunk {head.number} stands in its place", RECOVER_HINT)
        if not section.intact:
            raise DamageError(
                f"{self.place(number)} is damaged{self._layer(section, head, start, tables)}", RECOVER_HINT
            )
        check_lengths(section.payload, start, head)
        return PackedChunk(head=head, payload=section.payload, start=start)

    def _layer(self, section: Section, head: ChunkHead, start: int, tables: Tables) -> str:
        try:
            n_intact = decode_codes(section.payload, start, head, self.header, tables)[1]
        except ModelError:  # without the tables, the layer can't be told
            return ""
        return f" in layer {n_intact + 1}" if n_intact < head.n_layers else ""

    def _optional_and_index(self, section: Section | None = None) -> Tail:
        """Read the optional sections and the index; of the end, only their sizes are filled in."""
        tags: dict[str, str] = {}
        source = None
        n_optional = 0
        section = section or read_section(self.file)
        seen: set[bytes] = set()
        while section is not None and is_optional(section.kind):
            if section.kind in seen & LIMITS.keys():
                raise DamageError(f"the section {section.kind.decode()} stands in the file twice", RECOVER_HINT)
            seen.add(section.kind)
            payload = intact(section, f"the section {section.kind.decode()}")
            tags = unpack_tags(payload) if section.kind == TAGS else tags
            source = unpack_source(payload) if section.kind == SOURCE else source
            n_optional += section.n_bytes
            section = read_section(self.file)
        if section is None:
            raise TruncatedError("the file ends before its index", RECOVER_HINT)
        if section.kind in (HEAD, CODE, END):
            raise DamageError(f"a section {section.kind.decode()} stands where the index should", RECOVER_HINT)
        if section.kind != INDEX:
            raise VersionError(
                f"the file has a section {section.kind.decode()} that this version doesn't know", "upgrade rvqcodec"
            )
        sizes = unpack_index(intact(section, "the index"))
        return Tail(end=Tally().end(section.n_bytes, n_optional), sizes=sizes, tags=tags, source=source)

    def _read_tail(self, section: Section, tally: Tally) -> Tail:
        tail = self._optional_and_index(section)
        last = read_section(self.file)
        if last is None or last.kind != END:
            raise TruncatedError("the file ends before its end section", RECOVER_HINT)
        end = unpack_end(intact(last, "the end section"))
        if tail.sizes != tally.sizes:
            raise DamageError("the index contradicts the chunks", RECOVER_HINT)
        if end != tally.end(tail.end.n_index_bytes, tail.end.n_optional_bytes):
            raise DamageError("the end section contradicts the chunks", RECOVER_HINT)
        if self.file.read(1):
            raise LimitError("there are bytes after the end section", RECOVER_HINT)
        return Tail(end=end, sizes=tail.sizes, tags=tail.tags, source=tail.source)
