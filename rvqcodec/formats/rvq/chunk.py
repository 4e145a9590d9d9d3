"""Chunks: a few seconds of codes that can be decoded independently, stored layer by layer, coarsest first (SPEC.md, section 5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Bools, CodedBlock, Codes, check_codes, no_levels
from rvqcodec.errors import DamageError, TruncatedError
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, code_check
from rvqcodec.formats.rvq.head import MAX_WORK, ChunkHead, Entry, check_frames, frames_of, pack_head, work
from rvqcodec.formats.rvq.header import Header


def pack_chunk(
    header: Header, number: int, blocks: Sequence[CodedBlock], n_samples: int, tables: Tables, entropy: str
) -> bytes:
    """Return the payload of a section CODE (SPEC.md, section 5).

    Args:
        header: The file's header.
        number: Index of the chunk, from 0.
        blocks: Its blocks: `header.chunk_blocks`, fewer only in the last chunk.
        n_samples: Source samples covered.
        tables: Entropy tables and network.
        entropy: Name of an entropy mode, or "auto".

    Raises:
        ValueError: Blocks contradict the grid, codes of a strided layer don't repeat, or decoding would exceed `MAX_WORK`.
        ModelError: The tables of the requested mode are missing.
        DamageError: The chunk doesn't decode to the same codes: a hardware fault.
    """
    signal = header.signal
    coded = [block.n_layers for block in blocks if block.active.any()]
    codes = np.concatenate([block.codes for block in blocks], 2)
    head = _head_of(header, number, blocks, n_samples, min(coded or [block.n_layers for block in blocks]))
    check_frames(head, header)
    check_codes(signal, codes)
    active = head.active
    if work(head, signal) > MAX_WORK:
        raise ValueError("a chunk exceeds the limit on decoding work: use shorter chunks")
    streams = np.flatnonzero(active.any(1))
    coder = _coder(tables, header, active[streams], use_network=entropy in ("auto", Mode.NETWORK.name.lower()))
    entries, payloads = [], []
    for layer, stride in enumerate(signal.strides[: head.n_layers]):
        rows = [codes[stream, layer, active[stream]][::stride] for stream in streams]
        for row, (mode, payload) in zip(rows, coder.encode(rows, entropy), strict=True):
            entries.append(Entry(len(payload), mode, code_check(row)))
            payloads.append(payload)
    head = replace(head, entries=tuple(entries))
    packed, body = pack_head(head, header), b"".join(payloads)
    decoded, n_intact = decode_codes(body, 0, head, header, tables)
    n_layers = head.n_layers
    if n_intact < n_layers or not np.array_equal(
        decoded[:, :n_layers], np.where(active[:, None], codes[:, :n_layers], 0)
    ):
        raise DamageError(f"chunk {number} doesn't decode to what was encoded: memory or processor fault")
    return packed + body


def _head_of(header: Header, number: int, blocks: Sequence[CodedBlock], n_samples: int, n_layers: int) -> ChunkHead:
    """Return the head of a chunk, its table still empty."""
    signal, n_streams = header.signal, header.signal.n_streams
    levels, angles = [], []
    if signal.levels == "rms":
        levels = [blocks[0].levels[0], *(block.levels[1] for block in blocks), blocks[-1].levels[2]]
    if signal.rotated:
        angles = [blocks[0].angles[0], *(block.angles[1] for block in blocks), blocks[-1].angles[2]]
    factors = [block.factors for block in blocks if signal.levels == "factor"]
    return ChunkHead(
        number=number,
        n_layers=n_layers,
        n_samples=n_samples,
        block_frames=tuple(block.codes.shape[2] for block in blocks),
        levels=np.array(levels, np.uint8).reshape(len(levels), n_streams),
        angles=np.array(angles, np.uint16),
        factors=np.array(factors, np.float32).reshape(len(factors), n_streams),
        entries=(),
    )


def lost_chunk(header: Header, number: int, n_samples: int) -> bytes:
    """Return the section payload of a chunk of no layers, which replaces a lost one and decodes to silence of the same length."""
    signal, block_frames = header.signal, frames_of(header, number, n_samples)
    if signal.overlap:  # the last blocks are short only if the file ends here, which is unknown
        block_frames = (signal.frames_per_block,) * len(block_frames)
    n_blocks, n_streams = len(block_frames), signal.n_streams
    head = ChunkHead(
        number=number,
        n_layers=0,
        n_samples=n_samples,
        block_frames=block_frames,
        levels=np.zeros((n_blocks + 2 if signal.levels == "rms" else 0, n_streams), np.uint8),
        angles=np.zeros(n_blocks + 2 if signal.rotated else 0, np.uint16),
        factors=np.ones((n_blocks if signal.levels == "factor" else 0, n_streams), np.float32),
        entries=(),
    )
    return pack_head(head, header)


def unpack_blocks(head: ChunkHead, codes: Codes) -> Iterator[CodedBlock]:
    """Yield a chunk's blocks, given its head and its codes, uint16 [streams, layers, frames]."""
    ends = itertools.accumulate(head.block_frames)
    no_level = head.levels[:0]
    for block, end in enumerate(ends):
        yield CodedBlock(
            codes=codes[:, :, end - head.block_frames[block] : end],
            n_layers=head.n_layers,
            levels=head.levels[block : block + 3] if len(head.levels) else no_level,
            angles=head.angles[block : block + 3],
            factors=head.factors[block] if len(head.factors) else no_levels(),
        )


def decode_codes(payload: bytes, start: int, head: ChunkHead, header: Header, tables: Tables) -> tuple[Codes, int]:
    """Decode a chunk's payloads up to the first damaged layer.

    Args:
        payload: Of the chunk's section.
        start: Offset of the first layer payload in it.
        head: The chunk's head.
        header: The file's header.
        tables: Entropy tables and network.

    Returns:
        The codes, uint16 [streams, header's layers, frames], zero where there are none; and the number of layers that are intact in
        all streams.

    Raises:
        ModelError: The tables of a payload's mode are missing.
    """
    signal, active = header.signal, head.active
    streams = np.flatnonzero(active.any(1))
    codes = np.zeros((signal.n_streams, signal.n_layers, head.n_frames), np.uint16)
    use_network = any(entry.mode == Mode.NETWORK for entry in head.entries)
    coder = _coder(tables, header, active[streams], use_network=use_network)
    for layer, stride in enumerate(signal.strides[: head.n_layers]):
        entries = head.entries[layer * len(streams) : (layer + 1) * len(streams)]
        ends = np.cumsum([start, *(entry.n_bytes for entry in entries)])
        try:
            rows = _decode_layer(payload, ends, entries, coder)
        except (DamageError, TruncatedError):
            codes[:, layer:] = 0
            return codes, layer
        for stream, row in zip(streams, rows, strict=True):
            codes[stream, layer, active[stream]] = np.repeat(row, stride) if stride > 1 else row
        start = int(ends[-1])
    return codes, head.n_layers


def _decode_layer(
    payload: bytes, ends: npt.NDArray[np.int64], entries: Sequence[Entry], coder: LayerCoder
) -> list[Codes]:
    """Return a layer's codes, one array per stream; payload i is `payload[ends[i] : ends[i + 1]]`."""
    pieces = [payload[first:last] for first, last in itertools.pairwise(ends.tolist())]
    if any(len(piece) < entry.n_bytes for piece, entry in zip(pieces, entries, strict=True)):
        raise TruncatedError("a payload ends early")
    rows = coder.decode(pieces, [entry.mode for entry in entries])
    if any(code_check(row) != entry.check for row, entry in zip(rows, entries, strict=True)):
        raise DamageError("a layer's check doesn't match")
    return rows


def _coder(tables: Tables, header: Header, active: Bools, *, use_network: bool) -> LayerCoder:
    signal = header.signal
    lengths = [int(n) for n in active.sum(1)]
    return LayerCoder(tables, signal.codebook_sizes, signal.strides, lengths, use_network=use_network)
