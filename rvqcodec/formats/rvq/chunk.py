"""Chunks: some seconds of codes that are decodable by themselves, stored layer by layer, coarsest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import (
    ANGLE_STEPS,
    SILENT,
    Angles,
    Bools,
    CodedBlock,
    Codes,
    Factors,
    Levels,
    Signal,
    check_codes,
    no_levels,
)
from rvqcodec.errors import DamageError, LimitError, TruncatedError, VersionError
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, code_check
from rvqcodec.formats.rvq.fields import MAX_VARINT_BYTES, Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import crc32c

MAX_CHUNKS = (1 << 32) - 1
MAX_PAYLOAD_BYTES = 1 << 16
MODE_STEPS = 8
"""An entry of the table is its length times this, and its mode."""
MAX_ENTRY_BYTES = 3 + 2
MAX_FRAMES_BYTES = 2 * 2
MAX_WORK = 1 << 31
"""The most that codes times entries of their codebooks may be in a chunk, so that no small file keeps a reader busy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One layer of one stream in a chunk's table: bytes of its payload, entropy mode, and check over its codes."""

    n_bytes: int
    mode: int
    check: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHead:
    """What a chunk says before its payloads.

    number: Which chunk, from 0.
    n_layers: Layers that it holds; at most the header's, fewer after damage, 0 when it was lost.
    n_samples: Source samples that it covers.
    block_frames: Frames of each of its blocks.
    levels: uint8 [blocks + 2, streams]: its blocks and one on either side; [0, streams] without levels.
    angles: uint16 [blocks + 2], or [0] when the streams aren't rotated.
    factors: float32 [blocks, streams], or [0, streams] where there are none.
    entries: By layer, then by stream; streams that are silent throughout have none.
    """

    number: int
    n_layers: int
    n_samples: int
    block_frames: tuple[int, ...]
    levels: Levels
    angles: Angles
    factors: Factors
    entries: tuple[Entry, ...]

    def with_layers(self, n_layers: int) -> ChunkHead:
        """Return the head of the same chunk with at most `n_layers` layers."""
        kept = min(n_layers, self.n_layers)
        per_layer = len(self.entries) // max(1, self.n_layers)
        return replace(self, n_layers=kept, entries=self.entries[: kept * per_layer])

    @property
    def n_payload_bytes(self) -> int:
        """Bytes of all payloads together."""
        return sum(entry.n_bytes for entry in self.entries)

    @property
    def n_frames(self) -> int:
        """Frames of all blocks together."""
        return sum(self.block_frames)

    @property
    def active(self) -> Bools:
        """Which frames have codes, bool [streams, frames]."""
        if not len(self.levels):
            return np.ones((self.levels.shape[1], self.n_frames), np.bool_)
        return np.repeat((self.levels[1:-1] != SILENT).T, self.block_frames, 1)


def frames_of(header: Header, number: int, n_samples: int) -> tuple[int, ...]:
    """Return how many frames each block of a chunk that covers `n_samples` source samples has, as if the file ended there."""
    signal, first = header.signal, number * header.chunk_blocks
    end = header.chunk_start(number) + n_samples
    return tuple(signal.frames_of_block(block, end) for block in range(first, signal.blocks_until(end)))


def min_head_bytes(header: Header) -> int:
    """Return the least bytes that the head of a whole chunk has: levels, angles, factors, and one byte of each number."""
    signal = header.signal
    numbers_and_crc = 1 + 1 + 1 + 4
    per_block = signal.n_streams * (signal.levels == "rms") + signal.rotated
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block + header.chunk_blocks * _factor_bytes(signal)


def max_head_bytes(header: Header) -> int:
    """Return the most bytes that a chunk's head has."""
    signal = header.signal
    numbers_and_crc = MAX_VARINT_BYTES + 1 + MAX_VARINT_BYTES + MAX_FRAMES_BYTES + 4
    per_block = signal.n_streams + 2 * signal.rotated + _factor_bytes(signal)
    table = signal.n_layers * signal.n_streams * MAX_ENTRY_BYTES
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block + table


def _factor_bytes(signal: Signal) -> int:
    return 4 * signal.n_streams * (signal.levels == "factor")


def lost_chunk(header: Header, number: int, n_samples: int) -> bytes:
    """Return the payload of a chunk that stands in for one that was lost: silence of the same length."""
    signal, block_frames = header.signal, frames_of(header, number, n_samples)
    if signal.overlap:  # whether more blocks follow, so that the last are whole, isn't known here
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


def pack_chunk(
    header: Header, number: int, blocks: Sequence[CodedBlock], n_samples: int, tables: Tables, entropy: str
) -> bytes:
    """Return the payload of a section CODE (SPEC.md, section 5).

    Args:
        header: The file's header.
        number: Which chunk, from 0.
        blocks: Its blocks, header.chunk_blocks of them or fewer at the end.
        n_samples: Source samples that it covers.
        tables: What entropy modes know.
        entropy: A mode's name, or "auto".

    Raises:
        ValueError: Blocks contradict the grid, coarse codes don't repeat, or decoding the chunk would be too much work.
        DamageError: What was coded doesn't decode to the same codes (a fault of this machine).
    """
    signal = header.signal
    coded = [block.n_layers for block in blocks if block.active.any()]
    codes = np.concatenate([block.codes for block in blocks], 2)
    head = _head_of(header, number, blocks, n_samples, min(coded or [block.n_layers for block in blocks]))
    _check_frames(head, header)
    check_codes(signal, codes)
    active = head.active
    if _work(head, signal) > MAX_WORK:
        raise ValueError("a chunk has too many codes for a reader: shorter chunks are needed")
    streams = np.flatnonzero(active.any(1))
    coder = _coder(tables, header, active[streams], predicting=entropy in ("auto", Mode.NETWORK.name.lower()))
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
        raise DamageError(
            f"chunk {number} doesn't decode to what was coded: this machine's memory or processor is at fault"
        )
    return packed + body


def _head_of(header: Header, number: int, blocks: Sequence[CodedBlock], n_samples: int, n_layers: int) -> ChunkHead:
    """Return the head of a chunk of some blocks, without its table."""
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


def _check_frames(head: ChunkHead, header: Header) -> None:
    """Insist that blocks have the grid's frames, or where they overlap, no fewer than those.

    Raises:
        ValueError: They haven't, or a factor isn't finite and above 0.
    """
    signal, least = header.signal, frames_of(header, head.number, head.n_samples)
    if len(head.block_frames) != len(least) or (not signal.overlap and head.block_frames != least):
        raise ValueError(f"chunk {head.number} has blocks of {head.block_frames} frames, not {least}")
    if signal.overlap:
        _check_missing([signal.frames_per_block - n for n in head.block_frames], least, signal)
    if not (np.isfinite(head.factors) & (head.factors > 0)).all():
        raise ValueError("a factor is not finite and above 0")


def _check_missing(missing: Sequence[int], least: Sequence[int], signal: Signal) -> None:
    for place, (n, needed) in enumerate(zip(missing, least, strict=True)):
        allowed = signal.frames_per_block - needed if place >= len(least) - 2 else 0
        if not 0 <= n <= allowed or n % signal.frame_multiple:
            raise ValueError(f"a block lacks {n} frames; {allowed} may be missing, in multiples of the frame multiple")


def _coder(tables: Tables, header: Header, active: Bools, *, predicting: bool) -> LayerCoder:
    signal = header.signal
    lengths = [int(n) for n in active.sum(1)]
    return LayerCoder(tables, signal.codebook_sizes, signal.strides, lengths, predicting=predicting)


def _work(head: ChunkHead, signal: Signal) -> int:
    """Return what decoding a chunk is worth: codes times entries of their codebooks, of all payloads together."""
    n_frames = int(head.active.sum())
    sizes = zip(signal.codebook_sizes[: head.n_layers], signal.strides, strict=False)
    return sum(n_frames // stride * size for size, stride in sizes)


def pack_head(head: ChunkHead, header: Header) -> bytes:
    """Return a chunk's head with its CRC-32C."""
    signal = header.signal
    packed = bytearray(pack_varint(head.number) + bytes([head.n_layers]) + pack_varint(head.n_samples))
    for n_frames in head.block_frames[-2:] if signal.overlap else ():
        packed += pack_varint(signal.frames_per_block - n_frames)
    packed += head.levels.tobytes()
    before = 0
    for angle in map(int, head.angles):
        packed += pack_signed((angle - before + ANGLE_STEPS // 2) % ANGLE_STEPS - ANGLE_STEPS // 2)
        before = angle
    packed += head.factors.astype("<f4").tobytes()
    for entry in head.entries:
        packed += pack_varint(MODE_STEPS * entry.n_bytes + entry.mode) + entry.check.to_bytes(2, "little")
    return bytes(packed) + crc32c(bytes(packed)).to_bytes(4, "little")


def unpack_head(payload: bytes, header: Header) -> tuple[ChunkHead, int]:
    """Read a chunk's head from the payload of its section; return it and where the payloads start.

    Raises:
        LimitError: A field is past its limit, or decoding the chunk would be too much work.
        TruncatedError: The section ends inside the head.
        DamageError: The head's CRC-32C doesn't hold.
        VersionError: A payload has a mode that is unknown.
    """
    signal = header.signal
    fields = Fields(payload, "a chunk's head")
    number = fields.varint("number", 0, MAX_CHUNKS - 1)
    n_layers = fields.unsigned(1, "layers", 0, signal.n_layers)
    whole = header.chunk_start(number + 1) - header.chunk_start(number)
    n_samples = fields.varint("samples", 1, whole)
    block_frames = _unpack_frames(fields, frames_of(header, number, n_samples), signal)
    n_blocks, n_streams = len(block_frames), signal.n_streams
    n_levels = n_blocks + 2 if signal.levels == "rms" else 0
    levels = np.frombuffer(fields.take(n_levels * n_streams), np.uint8).reshape(n_levels, n_streams)
    steps = [fields.signed("angle", ANGLE_STEPS // 2) for _ in range(n_blocks + 2 if signal.rotated else 0)]
    angles = (np.cumsum(steps, dtype=np.int64) % ANGLE_STEPS).astype(np.uint16)
    factors = _unpack_factors(fields, n_blocks, signal)
    n_coded = int((levels[1:-1] != SILENT).any(0).sum()) if n_levels else n_streams
    entries = tuple(_unpack_entry(fields) for _ in range(n_layers * n_coded))
    end = fields.position
    if crc32c(payload[:end]) != fields.unsigned(4, "CRC"):
        raise DamageError("a chunk's head is damaged: its CRC-32C doesn't hold")
    if not signal.scalable and n_layers not in (0, signal.n_layers):
        raise LimitError("a chunk has fewer layers than its codec can decode")
    head = ChunkHead(
        number=number,
        n_layers=n_layers,
        n_samples=n_samples,
        block_frames=block_frames,
        levels=levels,
        angles=angles,
        factors=factors,
        entries=entries,
    )
    if _work(head, signal) > MAX_WORK:
        raise LimitError("a chunk has more codes than a reader has to decode")
    _check_modes({entry.mode for entry in entries}, signal)
    return head, fields.position


def _check_modes(modes: set[int], signal: Signal) -> None:
    unknown = modes - set(Mode)
    if unknown:
        raise VersionError(f"a payload has mode {min(unknown)}, which this version doesn't know", "upgrade rvqcodec")
    if Mode.NETWORK in modes and max(signal.strides) > 1:
        raise LimitError("a payload has mode 3 where a layer has a stride")


def _unpack_frames(fields: Fields, least: tuple[int, ...], signal: Signal) -> tuple[int, ...]:
    """Read the frames of a chunk's blocks, which stand in its head where blocks overlap and so depend on what follows."""
    if not signal.overlap:
        return least
    size = signal.frames_per_block
    missing = [fields.varint("missing frames", 0, size - 1) for _ in least[-2:]]
    padded = [0] * (len(least) - len(missing)) + missing
    try:
        _check_missing(padded, least, signal)
    except ValueError as error:
        raise LimitError(f"a chunk's head: {error}") from error
    return tuple(size - n for n in padded)


def _unpack_factors(fields: Fields, n_blocks: int, signal: Signal) -> Factors:
    if signal.levels != "factor":
        return no_levels().reshape(0, signal.n_streams)
    raw = np.frombuffer(fields.take(n_blocks * _factor_bytes(signal)), "<f4")
    factors: Factors = raw.astype(np.float32).reshape(n_blocks, signal.n_streams)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise LimitError("a chunk's head: a factor is not finite and above 0")
    return factors


def unpack_blocks(head: ChunkHead, codes: Codes) -> Iterator[CodedBlock]:
    """Yield a chunk's blocks, from its head and its codes [streams, layers, frames]."""
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
    """Decode a chunk's payloads as far as they are intact.

    Args:
        payload: The payload of its section.
        start: Where in it the first payload starts.
        head: The chunk's head.
        header: The file's header.
        tables: What entropy modes know.

    Returns:
        The codes, uint16 [streams, header's layers, frames], zero where there are none, and how many layers are whole
        in all streams.

    Raises:
        ModelError: A payload's mode or its tables aren't at hand.
    """
    signal, active = header.signal, head.active
    streams = np.flatnonzero(active.any(1))
    codes = np.zeros((signal.n_streams, signal.n_layers, head.n_frames), np.uint16)
    predicting = any(entry.mode == Mode.NETWORK for entry in head.entries)
    coder = _coder(tables, header, active[streams], predicting=predicting)
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
    """Return a layer's codes of each stream, from their payloads between `ends`."""
    pieces = [payload[first:last] for first, last in itertools.pairwise(ends.tolist())]
    if any(len(piece) < entry.n_bytes for piece, entry in zip(pieces, entries, strict=True)):
        raise TruncatedError("a payload ends early")
    rows = coder.decode(pieces, [entry.mode for entry in entries])
    if any(code_check(row) != entry.check for row, entry in zip(rows, entries, strict=True)):
        raise DamageError("a layer's check doesn't hold")
    return rows


def _unpack_entry(fields: Fields) -> Entry:
    packed = fields.varint("length of a payload and its mode", 0, MODE_STEPS * (MAX_PAYLOAD_BYTES + 1) - 1)
    return Entry(packed // MODE_STEPS, packed % MODE_STEPS, fields.unsigned(2, "check"))


def check_lengths(payload: bytes, start: int, head: ChunkHead) -> None:
    """Insist that a chunk's payloads fill its section exactly.

    Raises:
        LimitError: They don't.
    """
    if len(payload) - start != head.n_payload_bytes:
        raise LimitError(
            f"chunk {head.number}: its table claims {head.n_payload_bytes} bytes, "
            f"its section holds {len(payload) - start}"
        )
