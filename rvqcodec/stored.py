"""Codes, levels and angles of .rvq files as arrays, and back: no model and no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TypeVar

from rvqcodec.encoded import Encoded, Signal, gather
from rvqcodec.errors import ModelError
from rvqcodec.formats.entropy import StaticTables
from rvqcodec.formats.header import MAX_CHUNK_FRAMES, Header
from rvqcodec.formats.stream import RvqReader, RvqWriter
from rvqcodec.opening import Place, open_output, open_rvq
from rvqcodec.tables import static_tables, tables_for

DEFAULT_CHUNK_S = 10
ENTROPIES = ("auto", "raw", "static")
Item = TypeVar("Item")


def read_encoded(source: Place) -> Encoded:
    """Read an .rvq file's codes, levels and angles; no model and no torch.

    Raises:
        FormatError: The file is damaged or truncated.
        ModelError: The entropy tables that the file uses aren't at hand.
    """
    with ExitStack() as stack:
        reader = RvqReader(open_rvq(stack, source))
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
        ModelError: "static" is asked for and the model's entropy tables aren't at hand.
        ValueError: An option is out of range, or a chunk would mix blocks of which a recovered file kept different layers.
    """
    signal = encoded.signal
    tables = tables_to_write(signal.fingerprint, entropy)
    header = chunk_header(signal, chunk_s, tables)
    if any(len(set(layers)) > 1 for layers in batched(encoded.layers.tolist(), header.chunk_blocks)):
        raise ValueError(f"chunks of {chunk_s} s would lose layers: these codes were recovered in shorter ones")
    with ExitStack() as stack:
        writer = RvqWriter(open_output(stack, None, target, overwrite), header)
        for number, chunk in enumerate(batched(encoded.blocks(), header.chunk_blocks)):
            end = min(encoded.n_samples, header.chunk_start(number + 1))
            writer.write_blocks(chunk, end - header.chunk_start(number), tables, entropy)
        writer.finish(tags or {}, None)
        return writer.n_bytes


def tables_to_write(fingerprint: str, entropy: str) -> StaticTables | None:
    """Return the static entropy tables that a writer may use.

    Args:
        fingerprint: Of the model.
        entropy: "auto", "raw" or "static".

    Raises:
        ModelError: "static" is asked for and the model's tables aren't at hand.
        ValueError: `entropy` is none of the three.
    """
    if entropy not in ENTROPIES:
        raise ValueError(f"entropy {entropy!r} is none of {', '.join(ENTROPIES)}")
    tables = static_tables(fingerprint) if entropy != "raw" else None
    if entropy == "static" and tables is None:
        raise ModelError(
            f"there are no static entropy tables of the model {fingerprint}", "--entropy auto does without"
        )
    return tables


def chunk_header(signal: Signal, chunk_s: int, tables: StaticTables | None) -> Header:
    """Return the header of a file with chunks of about `chunk_s` seconds, whole blocks.

    Raises:
        ValueError: The chunks' length is out of range.
    """
    n_blocks = round(chunk_s / signal.block_s) if 0 < chunk_s < math.inf else 0
    most = MAX_CHUNK_FRAMES // signal.frames_per_block
    if not 1 <= n_blocks <= most:
        raise ValueError(f"chunks of {chunk_s} s: the length is 1 to {int(most * signal.block_s)} s")
    return Header(signal=signal, chunk_blocks=n_blocks, table_ids=() if tables is None else (tables.id,))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last perhaps shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
