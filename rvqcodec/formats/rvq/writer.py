"""Writes .rvq files front to back without seeking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO

from rvqcodec.encoded import CodedBlock
from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.rvq.chunk import pack_chunk
from rvqcodec.formats.rvq.head import ChunkHead, unpack_head
from rvqcodec.formats.rvq.header import Header, pack_header
from rvqcodec.formats.rvq.sections import CODE, END, HEAD, OPTIONAL, SIGNATURE, SOURCE, TAGS, pack_section
from rvqcodec.formats.rvq.tail import Source, Tally, pack_end, pack_source, pack_tags


class RvqWriter:
    """Writes an .rvq file chunk by chunk, to a file or a pipe.

    Args:
        file: The output; the header is written at once.
        header: Of the file.

    Attributes:
        tally: Running totals for the end section.
        n_bytes: Bytes written so far.
    """

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self.file = file
        self.header = header
        self.tally = Tally()
        self.n_bytes = 0
        self._write(SIGNATURE + pack_section(HEAD, pack_header(header)))

    def write_blocks(self, blocks: Sequence[CodedBlock], n_samples: int, tables: Tables, entropy: str) -> None:
        """Encode and write the next chunk (`chunk.pack_chunk`).

        Args:
            blocks: Its blocks: `header.chunk_blocks`, fewer only in the last chunk.
            n_samples: Source samples covered.
            tables: Entropy tables and network.
            entropy: Name of an entropy mode, or "auto".

        Raises:
            ValueError: Blocks contradict the grid, or the chunk is too large.
            ModelError: The tables of the requested mode are missing.
            OSError: The output can't be written.
        """
        payload = pack_chunk(self.header, len(self.tally.sizes), blocks, n_samples, tables, entropy)
        self.write_payload(payload, unpack_head(payload, self.header)[0])

    def write_payload(self, payload: bytes, head: ChunkHead) -> None:
        """Write the next chunk, given its packed section payload and its head."""
        section = pack_section(CODE, payload)
        self.tally.add(head.n_samples, head.entries, len(section))
        self._write(section)

    def finish(
        self, tags: Mapping[str, str], source: Source | None, extras: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Write the optional sections and the end section.

        Args:
            tags: Title, artist and the like.
            source: Provenance of the audio.
            extras: Payloads of the sections chan, covr and meta, by type.

        Raises:
            ValueError: A section exceeds its size limit.
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
