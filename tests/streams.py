"""Bytes of .rvq files from codes and back, and a pipe to read them from."""

from __future__ import annotations

import io

from rvqcodec.encoded import CodedBlock, gather
from rvqcodec.formats.entropy.layers import EMPTY_TABLES
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.writer import RvqWriter


def write_file(encoded, tables=EMPTY_TABLES, entropy="auto", chunk_blocks=2, tags=None, source=None, extras=None):
    """Return an .rvq file as bytes."""
    header = Header(signal=encoded.signal, chunk_blocks=chunk_blocks, table_ids=tables.ids)
    file = io.BytesIO()
    writer = RvqWriter(file, header)
    blocks = list(encoded.blocks())
    for number, first in enumerate(range(0, len(blocks), chunk_blocks)):
        start, end = header.chunk_start(number), min(encoded.n_samples, header.chunk_start(number + 1))
        writer.write_blocks(blocks[first : first + chunk_blocks], end - start, tables, entropy)
    writer.finish(tags or {}, source, extras)
    assert writer.n_bytes == len(file.getvalue())
    return file.getvalue()


def read_file(data, tables=EMPTY_TABLES):
    """Return an .rvq file's bytes as an `Encoded`."""
    reader = RvqReader(io.BytesIO(data) if isinstance(data, bytes) else data)
    blocks: list[CodedBlock] = list(reader.blocks(tables))
    return gather(reader.header.signal, blocks, reader.tail.end.n_samples)


class Pipe(io.RawIOBase):
    """Bytes that can't seek and come in pieces of a few at a time."""

    def __init__(self, data, size=7):
        super().__init__()
        self._data = io.BytesIO(data)
        self._size = size

    def readable(self):
        return True

    def read(self, n_bytes=-1):
        return self._data.read(self._size if n_bytes < 0 else min(n_bytes, self._size))
