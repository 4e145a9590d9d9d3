"""Bitstream truncation: drops the upper layers of an embedded stream by copying bytes, without model or re-encoding."""

from __future__ import annotations

from typing import BinaryIO

from rvqcodec.errors import ModelError
from rvqcodec.formats.rvq.head import pack_head
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.writer import RvqWriter


def trim(source: BinaryIO, target: BinaryIO, n_layers: int) -> RvqWriter:
    """Copy the first layers of an embedded stream; the result is byte-identical to encoding with that many layers.

    Args:
        source: The file, read sequentially.
        target: The output.
        n_layers: Layers to keep, at least 1; a file with fewer keeps what it has.

    Returns:
        The writer, with the totals of what was written.

    Raises:
        FormatError: The source is damaged.
        ModelError: The codes aren't bitrate-scalable.
        ValueError: `n_layers` is less than 1.
    """
    if n_layers < 1:
        raise ValueError("a file keeps at least 1 layer")
    reader = RvqReader(source)
    signal = reader.header.signal
    if not signal.scalable and n_layers < signal.n_layers:
        raise ModelError(f"codes of the model {signal.model} aren't bitrate-scalable: layers can't be dropped")
    writer = RvqWriter(target, reader.header.with_layers(min(n_layers, signal.n_layers)))
    for chunk in reader.chunks():
        head = chunk.head.with_layers(n_layers)
        kept = chunk.payload[chunk.start : chunk.start + head.n_payload_bytes]
        writer.write_payload(pack_head(head, writer.header) + kept, head)
    if reader.tail is not None:
        writer.finish(reader.tail.tags, reader.tail.source, reader.tail.extras)
    return writer
