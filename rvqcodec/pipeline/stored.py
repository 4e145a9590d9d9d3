"""Codes, levels and angles of .rvq files as arrays, and back: no model and no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeVar

from rvqcodec.encoded import Encoded, gather
from rvqcodec.errors import ArgumentError
from rvqcodec.formats.entropy.layers import ENTROPIES, Tables
from rvqcodec.formats.rvq.header import MAX_CHUNK_FRAMES, Header
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.pipeline.opening import Place, open_rvq, opened_output, output_at
from rvqcodec.pipeline.options import DEFAULT_CHUNK_S, check_choice
from rvqcodec.pipeline.tables import tables_for, tables_to_write
from rvqcodec.signal import Signal

Item = TypeVar("Item")


def read_encoded(source: Place) -> Encoded:
    """Read an .rvq file's codes, levels and angles; no model and no torch.

    Raises:
        FormatError: The file is damaged or truncated.
        ModelError: The entropy tables that the file uses aren't at hand.
    """
    with open_rvq(source) as opened:
        reader = opened.reader
        blocks = list(reader.blocks(tables_for(reader.header)))
        return gather(reader.header.signal, blocks, reader.tail.end.n_samples if reader.tail else 0)


def write_encoded(
    target: Place,
    encoded: Encoded,
    *,
    entropy: str = "auto",
    chunk_s: int = DEFAULT_CHUNK_S,
    tags: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> int:
    """Write codes, levels and angles as an .rvq file and return its size in bytes; no model and no torch.

    Raises:
        OutputError: The target exists or can't be written.
        ModelError: The entropy mode asked for needs what the model doesn't have.
        ValueError: An option is out of range, or a chunk would mix blocks of which a recovered file kept different layers.
    """
    check_choice("entropy", entropy, ENTROPIES)
    signal = encoded.signal
    tables = tables_to_write(signal.fingerprint, entropy)
    header = chunk_header(signal, chunk_s, tables)
    if any(len(set(layers)) > 1 for layers in batched(encoded.layers.tolist(), header.chunk_blocks)):
        raise ValueError(f"chunks of {chunk_s} s would lose layers: these codes were recovered in shorter ones")
    with opened_output(output_at(target, None, overwrite=overwrite)) as file:
        writer = RvqWriter(file, header)
        for number, chunk in enumerate(batched(encoded.blocks(), header.chunk_blocks)):
            end = min(encoded.n_samples, header.chunk_start(number + 1))
            writer.write_blocks(chunk, end - header.chunk_start(number), tables, entropy)
        writer.finish(tags or {}, None)
        return writer.n_bytes


def transcode(source: BinaryIO, target: BinaryIO, entropy: str, weights: Path | None = None) -> RvqWriter:
    """Write an .rvq file's codes with another entropy mode, or with the newest network; no model and no torch.

    Args:
        source: The file, at its start.
        target: Where to.
        entropy: A mode's name, or "auto".
        weights: A weights file, beside which tables and networks are looked for first.

    Raises:
        FormatError: The source is damaged.
        ModelError: Entropy tables that the source uses or that the mode needs aren't at hand.
        ValueError: `entropy` is neither.
    """
    check_choice("entropy", entropy, ENTROPIES)
    reader = RvqReader(source)
    old, new = tables_for(reader.header, weights), tables_to_write(reader.header.signal.fingerprint, entropy, weights)
    writer = RvqWriter(target, replace(reader.header, table_ids=new.ids))
    for chunk in reader.chunks(old):
        writer.write_blocks(list(reader.decoded_blocks(chunk, old)), chunk.head.n_samples, new, entropy)
    if reader.tail is not None:
        writer.finish(reader.tail.tags, reader.tail.source, reader.tail.extras)
    return writer


def chunk_header(signal: Signal, chunk_s: int, tables: Tables) -> Header:
    """Return the header of a file with chunks of about `chunk_s` seconds, whole blocks.

    Raises:
        ArgumentError: The chunks' length is out of range.
    """
    n_blocks = round(chunk_s / signal.block_s) if 0 < chunk_s < math.inf else 0
    most = MAX_CHUNK_FRAMES // signal.frames_per_block
    if not 1 <= n_blocks <= most:
        raise ArgumentError(f"a chunk has 1 to {int(most * signal.block_s)} seconds", {"chunk_s": chunk_s})
    return Header(signal=signal, chunk_blocks=n_blocks, table_ids=tables.ids)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last perhaps shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
