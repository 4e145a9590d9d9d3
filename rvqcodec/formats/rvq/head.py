"""Chunk heads: the blocks and payloads of a chunk, protected by a CRC-32C of their own (SPEC.md, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rvqcodec.encoded import ANGLE_STEPS, SILENT, Angles, Bools, Factors, Levels, no_levels
from rvqcodec.errors import DamageError, LimitError, VersionError
from rvqcodec.formats.entropy.payload import Mode
from rvqcodec.formats.rvq.fields import MAX_VARINT_BYTES, Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import crc32c
from rvqcodec.signal import Signal

MAX_CHUNKS = (1 << 32) - 1
MAX_PAYLOAD_BYTES = 1 << 16
MODE_STEPS = 8
"""A table entry holds the payload's length times this, plus its mode."""
MAX_ENTRY_BYTES = 3 + 2
MAX_FRAMES_BYTES = 2 * 2
MAX_WORK = 1 << 31
"""Limit on the sum of codes x codebook size over a chunk, which bounds the time that a reader spends on a small file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The table entry of one layer of one stream: bytes of its payload, entropy mode, and 16-bit check over its codes."""

    n_bytes: int
    mode: int
    check: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHead:
    """A chunk's head.

    Args:
        number: Index of the chunk, from 0.
        n_layers: Layers stored; at most the header's, fewer after damage, 0 for a lost chunk.
        n_samples: Source samples covered.
        block_frames: Frames of each block.
        levels: uint8 [blocks + 2, streams]: those of its blocks and of one on either side; [0, streams] without levels.
        angles: uint16 [blocks + 2], or [0] when the streams aren't rotated.
        factors: float32 [blocks, streams], or [0, streams] without factors.
        entries: By layer, then by stream; streams that are silent throughout the chunk have none.
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
        """Whether each frame has codes, bool [streams, frames]."""
        if not len(self.levels):
            return np.ones((self.levels.shape[1], self.n_frames), np.bool_)
        return np.repeat((self.levels[1:-1] != SILENT).T, self.block_frames, 1)


def frames_of(header: Header, number: int, n_samples: int) -> tuple[int, ...]:
    """Return the frames of each block of a chunk that covers `n_samples` source samples, as if the file ended with it."""
    signal, first = header.signal, number * header.chunk_blocks
    end = header.chunk_start(number) + n_samples
    return tuple(signal.frames_of_block(block, end) for block in range(first, signal.blocks_until(end)))


def min_head_bytes(header: Header) -> int:
    """Return the minimum size of the head of a whole chunk: levels, angles, factors, and one byte for each varint."""
    signal = header.signal
    numbers_and_crc = 1 + 1 + 1 + 4
    per_block = signal.n_streams * (signal.levels == "rms") + signal.rotated
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block + header.chunk_blocks * _factor_bytes(signal)


def max_head_bytes(header: Header) -> int:
    """Return the maximum size of a chunk's head."""
    signal = header.signal
    numbers_and_crc = MAX_VARINT_BYTES + 1 + MAX_VARINT_BYTES + MAX_FRAMES_BYTES + 4
    per_block = signal.n_streams + 2 * signal.rotated + _factor_bytes(signal)
    table = signal.n_layers * signal.n_streams * MAX_ENTRY_BYTES
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block + table


def _factor_bytes(signal: Signal) -> int:
    return 4 * signal.n_streams * (signal.levels == "factor")


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
    """Parse a chunk's head.

    Args:
        payload: Of its section.
        header: The file's header.

    Returns:
        The head, and the offset of the first layer payload.

    Raises:
        LimitError: A field exceeds its limit, or decoding the chunk would exceed `MAX_WORK`.
        TruncatedError: The section ends inside the head.
        DamageError: The head's CRC-32C doesn't match.
        VersionError: A payload has an unknown mode.
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
        raise DamageError("a chunk's head is damaged: its CRC-32C doesn't match")
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
    if work(head, signal) > MAX_WORK:
        raise LimitError("a chunk exceeds the limit on decoding work")
    _check_modes({entry.mode for entry in entries}, signal)
    return head, fields.position


def _check_modes(modes: set[int], signal: Signal) -> None:
    unknown = modes - set(Mode)
    if unknown:
        raise VersionError(f"a payload has mode {min(unknown)}, which is unknown to this version", "upgrade rvqcodec")
    if Mode.NETWORK in modes and max(signal.strides) > 1:
        raise LimitError("a payload has mode 3 where a layer has a stride")


def _unpack_frames(fields: Fields, least: tuple[int, ...], signal: Signal) -> tuple[int, ...]:
    """Parse the frames of a chunk's blocks; they are stored only with overlap, where they depend on what follows the chunk."""
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
        raise LimitError("a chunk's head: a factor isn't finite and positive")
    return factors


def _unpack_entry(fields: Fields) -> Entry:
    packed = fields.varint("length of a payload and its mode", 0, MODE_STEPS * (MAX_PAYLOAD_BYTES + 1) - 1)
    return Entry(packed // MODE_STEPS, packed % MODE_STEPS, fields.unsigned(2, "check"))


def check_frames(head: ChunkHead, header: Header) -> None:
    """Check that blocks have the frames of the grid (with overlap, at least those), and that factors are valid.

    Raises:
        ValueError: They don't, or a factor isn't finite and positive.
    """
    signal, least = header.signal, frames_of(header, head.number, head.n_samples)
    if len(head.block_frames) != len(least) or (not signal.overlap and head.block_frames != least):
        raise ValueError(f"chunk {head.number} has blocks of {head.block_frames} frames, not {least}")
    if signal.overlap:
        _check_missing([signal.frames_per_block - n for n in head.block_frames], least, signal)
    if not (np.isfinite(head.factors) & (head.factors > 0)).all():
        raise ValueError("a factor isn't finite and positive")


def _check_missing(missing: Sequence[int], least: Sequence[int], signal: Signal) -> None:
    for place, (n, needed) in enumerate(zip(missing, least, strict=True)):
        allowed = signal.frames_per_block - needed if place >= len(least) - 2 else 0
        if not 0 <= n <= allowed or n % signal.frame_multiple:
            raise ValueError(
                f"a block is {n} frames short: expected at most {allowed}, in multiples of the frame multiple"
            )


def work(head: ChunkHead, signal: Signal) -> int:
    """Return the work to decode a chunk: the sum of codes x codebook size over its payloads."""
    n_frames = int(head.active.sum())
    sizes = zip(signal.codebook_sizes[: head.n_layers], signal.strides, strict=False)
    return sum(n_frames // stride * size for size, stride in sizes)


def check_lengths(payload: bytes, start: int, head: ChunkHead) -> None:
    """Check that a chunk's payloads fill its section exactly.

    Raises:
        LimitError: They don't.
    """
    if len(payload) - start != head.n_payload_bytes:
        raise LimitError(
            f"chunk {head.number}: its table claims {head.n_payload_bytes} bytes, "
            f"its section holds {len(payload) - start}"
        )
