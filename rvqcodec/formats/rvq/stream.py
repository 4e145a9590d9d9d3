"""Reads .rvq files: sequentially, as from a pipe, or by random access through the index."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from rvqcodec.encoded import CodedBlock, Codes
from rvqcodec.errors import DamageError, FormatError, LimitError, ModelError, TruncatedError, VersionError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.rvq.chunk import decode_codes, unpack_blocks
from rvqcodec.formats.rvq.head import ChunkHead, check_lengths, unpack_head
from rvqcodec.formats.rvq.header import unpack_header
from rvqcodec.formats.rvq.sections import (
    CODE,
    END,
    HEAD,
    LIMITS,
    METADATA,
    MIN_FRAME_BYTES,
    OPTIONAL,
    SIGNATURE,
    SOURCE,
    TAGS,
    Section,
    intact,
    is_optional,
    read_section,
    read_signature,
)
from rvqcodec.formats.rvq.tail import (
    MAX_BACKWARD_BYTES,
    End,
    Source,
    Tally,
    end_section_bytes,
    unpack_end,
    unpack_metadata,
    unpack_source,
    unpack_tags,
)
from rvqcodec.times import format_time

RECOVER_HINT = "`rvq recover` writes a whole file with what is intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The sections after the chunks.

    Args:
        end: The end section.
        n_end_bytes: Its size.
        sizes: Bytes of each chunk's section.
        tags, source: Contents of the sections `tags` and `srce`.
        extras: Payloads of the other known optional sections (chan, covr, meta), by type.
    """

    end: End
    n_end_bytes: int
    sizes: list[int]
    tags: dict[str, str] = field(default_factory=dict)
    source: Source | None = None
    extras: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedChunk:
    """A chunk whose checks match, not yet entropy-decoded: its head, its section payload, and the offset of the first layer payload."""

    head: ChunkHead
    payload: bytes
    start: int


class RvqReader:
    """Reads an .rvq file; the header is read at once.

    Args:
        file: A file, or a pipe that may still grow.

    Raises:
        FormatError: The signature or the header is damaged or truncated.

    Attributes:
        header: The file's header.
        first_chunk: Offset of the first chunk in the file.
        tail: The sections after the chunks, once `chunks()` is exhausted.
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

    def chunks(self, tables: Tables = EMPTY_TABLES) -> Iterator[PackedChunk]:
        """Yield all chunks in order and set `tail`, verifying every checksum and count of the file.

        Args:
            tables: Entropy tables and network, used only to name the damaged layer in an error.

        Raises:
            FormatError: The file is damaged or truncated.
        """
        tally = Tally()
        before: list[ChunkHead] = []
        section = self._next(tally)
        while section.kind == CODE:
            chunk = self._unpack(section, len(tally.sizes), tables)
            if tally.n_samples != self.header.chunk_start(len(tally.sizes)):
                raise LimitError(f"chunk {len(tally.sizes) - 1} is not the last and covers less than a whole chunk")
            tally.add(chunk.head.n_samples, chunk.head.entries, section.n_bytes)
            if any(self._short_of(head, tally.n_samples) for head in before):
                raise DamageError(f"{self.describe(len(tally.sizes) - 1)} follows blocks that end early", RECOVER_HINT)
            before = [*before[-1:], chunk.head]
            yield chunk
            section = self._next(tally)
        self.tail = self._read_tail(section, tally)

    def blocks(self, tables: Tables) -> Iterator[CodedBlock]:
        """Yield all blocks in order, entropy-decoded, and set `tail`.

        Raises:
            FormatError: The file is damaged or truncated.
            ModelError: The file uses entropy tables that are missing.
        """
        for chunk in self.chunks(tables):
            yield from self.decoded_blocks(chunk, tables)

    def decoded_blocks(self, chunk: PackedChunk, tables: Tables) -> Iterator[CodedBlock]:
        """Yield the blocks of one chunk.

        Raises:
            DamageError: A layer's check doesn't match: damage, or tables other than the file's.
            ModelError: The file uses entropy tables that are missing.
        """
        return unpack_blocks(chunk.head, self.codes(chunk, tables))

    def codes(self, chunk: PackedChunk, tables: Tables) -> Codes:
        """Return one chunk's codes, uint16 [streams, layers, frames].

        Raises:
            DamageError: A layer's check doesn't match.
            ModelError: The file uses entropy tables that are missing.
        """
        codes, n_intact = decode_codes(chunk.payload, chunk.start, chunk.head, self.header, tables)
        if n_intact < chunk.head.n_layers:
            raise DamageError(f"{self.describe(chunk.head.number)} is damaged in layer {n_intact + 1}", RECOVER_HINT)
        return codes

    def read_tail(self) -> Tail:
        """Read the sections after the chunks of a seekable file, from its end.

        Raises:
            TruncatedError: The file doesn't end with an intact end section.
            FormatError: The sections after the chunks are damaged.
        """
        size = self.file.seek(0, os.SEEK_END)
        end, n_end_bytes = self._last_section(size)
        start = size - n_end_bytes - end.n_optional_bytes
        sizes = [*end.sizes, start - self.first_chunk - sum(end.sizes)] if end.n_chunks else []
        if start < self.first_chunk or sizes[-1:] < [MIN_FRAME_BYTES + 1] * min(1, end.n_chunks):
            raise LimitError("the end section claims more than the file holds", RECOVER_HINT)
        if self.first_chunk + sum(sizes) != start or not self.header.spans(end.n_chunks, end.n_samples):
            raise DamageError("the end section contradicts the chunks", RECOVER_HINT)
        self.file.seek(start)
        found, section = self._optional(None)
        if section is None or section.kind != END or found.end.n_optional_bytes != end.n_optional_bytes:
            raise DamageError("the end section contradicts the sections before it", RECOVER_HINT)
        return replace(found, end=end, n_end_bytes=n_end_bytes, sizes=sizes)

    def _last_section(self, size: int) -> tuple[End, int]:
        """Locate the end section of a file of `size` bytes from its end; return it and its size."""
        try:
            self.file.seek(max(self.first_chunk, size - MAX_BACKWARD_BYTES))
            n_bytes = end_section_bytes(self.file.read(MAX_BACKWARD_BYTES))
            if n_bytes > size - self.first_chunk:
                raise LimitError("the end section claims more than the file holds")
            self.file.seek(size - n_bytes)
            section = read_section(self.file)
            if section is None or section.kind != END or section.n_bytes != n_bytes:
                raise LimitError("the file doesn't end with an end section")
            return unpack_end(intact(section, "the end section")), n_bytes
        except FormatError as error:
            raise TruncatedError("the file doesn't end with an intact end section", RECOVER_HINT) from error

    def seek_chunks(self, tail: Tail, first: int, tables: Tables) -> Iterator[PackedChunk]:
        """Yield the chunks of a seekable file from index `first` on, without reading those before.

        Raises:
            FormatError: One of them is damaged.
        """
        offsets = list(itertools.accumulate(tail.sizes, initial=self.first_chunk))
        for number in range(first, len(tail.sizes)):
            self.file.seek(offsets[number])
            section = read_section(self.file)
            if section is None or section.kind != CODE or section.n_bytes != tail.sizes[number]:
                raise DamageError(f"{self.describe(number)} isn't where the index says", RECOVER_HINT)
            chunk = self._unpack(section, number, tables)
            end = min(tail.end.n_samples, self.header.chunk_start(number + 1))
            covers = self.header.chunk_start(number) + chunk.head.n_samples == end
            if not covers or self._short_of(chunk.head, tail.end.n_samples):
                raise DamageError(f"{self.describe(number)} doesn't cover what the end section says", RECOVER_HINT)
            yield chunk

    def rewind(self) -> None:
        """Seek to the first chunk, where the file is seekable."""
        if self.file.seekable():
            self.file.seek(self.first_chunk)

    def size(self, tail: Tail) -> int:
        """Return the file's size in bytes."""
        return self.first_chunk + sum(tail.sizes) + tail.end.n_optional_bytes + tail.n_end_bytes

    def describe(self, number: int) -> str:
        """Return a chunk's number and time range, for messages."""
        start = number * self.header.chunk_s
        return f"chunk {number} ({format_time(start)} to {format_time(start + self.header.chunk_s)})"

    def _next(self, tally: Tally) -> Section:
        after = format_time(len(tally.sizes) * self.header.chunk_s)
        try:
            section = read_section(self.file)
        except TruncatedError as error:
            raise TruncatedError(f"the file is cut off after {after}", RECOVER_HINT) from error
        except FormatError as error:
            raise DamageError(
                f"{self.describe(len(tally.sizes))} or what follows it is damaged", RECOVER_HINT
            ) from error
        if section is None:
            raise TruncatedError(f"the file is cut off after {after}: its end section is missing", RECOVER_HINT)
        return section

    def _unpack(self, section: Section, number: int, tables: Tables) -> PackedChunk:
        try:
            head, start = unpack_head(section.payload, self.header)
        except FormatError as error:
            raise type(error)(f"{self.describe(number)} is damaged: {error.message}", RECOVER_HINT) from error
        if head.number != number:
            raise DamageError(f"chunk {number} is missing: found chunk {head.number} instead", RECOVER_HINT)
        if not section.intact:
            raise DamageError(
                f"{self.describe(number)} is damaged{self._layer(section, head, start, tables)}", RECOVER_HINT
            )
        check_lengths(section.payload, start, head)
        return PackedChunk(head=head, payload=section.payload, start=start)

    def _layer(self, section: Section, head: ChunkHead, start: int, tables: Tables) -> str:
        try:
            n_intact = decode_codes(section.payload, start, head, self.header, tables)[1]
        except ModelError:  # without the tables the damaged layer is unknown
            return ""
        return f" in layer {n_intact + 1}" if n_intact < head.n_layers else ""

    def _short_of(self, head: ChunkHead, n_samples: int) -> bool:
        """Return whether a block has fewer frames than the grid requires in a file of `n_samples` source samples."""
        signal, first = self.header.signal, head.number * self.header.chunk_blocks
        blocks = enumerate(head.block_frames, first)
        return bool(signal.overlap) and any(n < signal.frames_of_block(block, n_samples) for block, n in blocks)

    def _optional(self, section: Section | None) -> tuple[Tail, Section | None]:
        """Read the optional sections, starting with `section` or the next one; return them, and the section that follows them."""
        payloads: dict[bytes, bytes] = {}
        n_optional = 0
        section = section or read_section(self.file)
        while section is not None and is_optional(section.kind):
            if section.kind in payloads.keys() & LIMITS.keys():
                raise DamageError(f"the section {section.kind.decode()} occurs twice", RECOVER_HINT)
            payloads[section.kind] = intact(section, f"the section {section.kind.decode()}")
            n_optional += section.n_bytes
            section = read_section(self.file)
        if METADATA in payloads:
            unpack_metadata(payloads[METADATA])
        tail = Tail(
            end=Tally().end(n_optional),
            n_end_bytes=0,
            sizes=[],
            tags=unpack_tags(payloads[TAGS]) if TAGS in payloads else {},
            source=unpack_source(payloads[SOURCE]) if SOURCE in payloads else None,
            extras={kind: payloads[kind] for kind in OPTIONAL if kind in payloads and kind not in (TAGS, SOURCE)},
        )
        return tail, section

    def _read_tail(self, section: Section, tally: Tally) -> Tail:
        tail, last = self._optional(section)
        if last is None:
            raise TruncatedError("the file ends before its end section", RECOVER_HINT)
        if last.kind in (HEAD, CODE):
            raise DamageError(f"found a section {last.kind.decode()} instead of the end section", RECOVER_HINT)
        if last.kind != END:
            raise VersionError(
                f"the file has a section {last.kind.decode()} that is unknown to this version", "upgrade rvqcodec"
            )
        end = unpack_end(intact(last, "the end section"))
        if end != tally.end(tail.end.n_optional_bytes):
            raise DamageError("the end section contradicts the chunks", RECOVER_HINT)
        if self.file.read(1):
            raise LimitError("trailing bytes after the end section", RECOVER_HINT)
        return replace(tail, end=end, n_end_bytes=last.n_bytes, sizes=tally.sizes)
