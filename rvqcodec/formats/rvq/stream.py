"""Whole .rvq files: written front to back without seeking, read front to back or by the index."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from rvqcodec.encoded import CodedBlock, Codes
from rvqcodec.errors import DamageError, FormatError, LimitError, ModelError, TruncatedError, VersionError
from rvqcodec.formats.entropy.layers import NOTHING, Tables
from rvqcodec.formats.rvq.chunk import decode_codes, pack_chunk, unpack_blocks
from rvqcodec.formats.rvq.head import ChunkHead, check_lengths, unpack_head
from rvqcodec.formats.rvq.header import Header, pack_header, unpack_header
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
    pack_section,
    read_section,
    read_signature,
)
from rvqcodec.formats.rvq.tail import (
    MAX_BACKWARD_BYTES,
    End,
    Source,
    Tally,
    end_section_bytes,
    pack_end,
    pack_source,
    pack_tags,
    unpack_end,
    unpack_metadata,
    unpack_source,
    unpack_tags,
)
from rvqcodec.times import format_time

RECOVER_HINT = "`rvq recover` writes a whole file with what is intact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """What stands after the chunks.

    end: The end section.
    n_end_bytes: Its size.
    sizes: Bytes of all chunks' sections.
    tags, source: From the sections of these names.
    extras: The other known optional sections (chan, covr, meta) by type, as they are.
    """

    end: End
    n_end_bytes: int
    sizes: list[int]
    tags: dict[str, str] = field(default_factory=dict)
    source: Source | None = None
    extras: dict[bytes, bytes] = field(default_factory=dict)


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

    def finish(
        self, tags: Mapping[str, str], source: Source | None, extras: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Write what stands after the chunks.

        Args:
            tags: Title, artist and the like.
            source: Where the audio came from.
            extras: Payloads of the sections chan, covr and meta, by type.

        Raises:
            ValueError: A section is larger than it may be.
        """
        payloads = dict(extras or {})
        if tags:
            payloads[TAGS] = pack_tags(tags)
        if source is not None:
            payloads[SOURCE] = pack_source(source)
        optional = b"".join(pack_section(kind, payloads[kind]) for kind in OPTIONAL if kind in payloads)
        self._write(optional + pack_section(END, pack_end(self.tally.end(len(optional)))))

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
        before: list[ChunkHead] = []
        section = self._next(tally)
        while section.kind == CODE:
            chunk = self._unpack(section, len(tally.sizes), tables)
            if tally.n_samples != self.header.chunk_start(len(tally.sizes)):
                raise LimitError(f"chunk {len(tally.sizes) - 1} is not the last and covers less than a whole chunk")
            tally.add(chunk.head.n_samples, chunk.head.entries, section.n_bytes)
            if any(self._short_of(head, tally.n_samples) for head in before):
                raise DamageError(f"{self.place(len(tally.sizes) - 1)} follows blocks that end early", RECOVER_HINT)
            before = [*before[-1:], chunk.head]
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
        return unpack_blocks(chunk.head, self.codes(chunk, tables))

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
        """Return the end section of a file of `size` bytes, found from its end, and its size."""
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
            covers = self.header.chunk_start(number) + chunk.head.n_samples == end
            if not covers or self._short_of(chunk.head, tail.end.n_samples):
                raise DamageError(f"{self.place(number)} doesn't cover what the end section says", RECOVER_HINT)
            yield chunk

    def rewind(self) -> None:
        """Go back to the first chunk, in a file that can seek."""
        if self.file.seekable():
            self.file.seek(self.first_chunk)

    def size(self, tail: Tail) -> int:
        """Return the file's size in bytes."""
        return self.first_chunk + sum(tail.sizes) + tail.end.n_optional_bytes + tail.n_end_bytes

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

    def _short_of(self, head: ChunkHead, n_samples: int) -> bool:
        """Tell whether a block has fewer frames than it has in a file of `n_samples` source samples."""
        signal, first = self.header.signal, head.number * self.header.chunk_blocks
        blocks = enumerate(head.block_frames, first)
        return bool(signal.overlap) and any(n < signal.frames_of_block(block, n_samples) for block, n in blocks)

    def _optional(self, section: Section | None) -> tuple[Tail, Section | None]:
        """Read the optional sections, from `section` or the file on; return them, their size as the end, and the next section."""
        payloads: dict[bytes, bytes] = {}
        n_optional = 0
        section = section or read_section(self.file)
        while section is not None and is_optional(section.kind):
            if section.kind in payloads.keys() & LIMITS.keys():
                raise DamageError(f"the section {section.kind.decode()} stands in the file twice", RECOVER_HINT)
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
            raise DamageError(f"a section {last.kind.decode()} stands where the end section should", RECOVER_HINT)
        if last.kind != END:
            raise VersionError(
                f"the file has a section {last.kind.decode()} that this version doesn't know", "upgrade rvqcodec"
            )
        end = unpack_end(intact(last, "the end section"))
        if end != tally.end(tail.end.n_optional_bytes):
            raise DamageError("the end section contradicts the chunks", RECOVER_HINT)
        if self.file.read(1):
            raise LimitError("there are bytes after the end section", RECOVER_HINT)
        return replace(tail, end=end, n_end_bytes=last.n_bytes, sizes=tally.sizes)
