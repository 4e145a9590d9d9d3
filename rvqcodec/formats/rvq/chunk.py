"""Chunks: some seconds of codes that are decodable by themselves, stored layer by layer, coarsest first."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import ANGLE_STEPS, SILENT, Angles, CodedBlock, Codes, Levels, Signal
from rvqcodec.errors import DamageError, LimitError, TruncatedError
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, code_check
from rvqcodec.formats.rvq.fields import MAX_VARINT_BYTES, Fields, pack_signed, pack_varint
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import crc32c

MAX_CHUNKS = (1 << 32) - 1
MAX_PAYLOAD_BYTES = 1 << 16
MAX_ENTRY_BYTES = 3 + 2


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
    levels: uint8 [blocks + 2, streams]: its blocks and one on either side.
    angles: uint16 [blocks + 2], or [0] when the streams aren't rotated.
    entries: By layer, then by stream; streams that are silent throughout have none.
    """

    number: int
    n_layers: int
    n_samples: int
    levels: Levels
    angles: Angles
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


def frames_of(header: Header, number: int, n_samples: int) -> int:
    """Return how many frames a chunk that covers `n_samples` source samples has."""
    first = number * header.chunk_blocks * header.signal.frames_per_block
    return header.signal.frames_until(header.chunk_start(number) + n_samples) - first


def min_head_bytes(header: Header) -> int:
    """Return the least bytes that the head of a whole chunk has: levels, angles, and one byte of each number."""
    numbers_and_crc = 1 + 1 + 1 + 4
    per_block = header.signal.n_streams + header.signal.rotated
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block


def max_head_bytes(header: Header) -> int:
    """Return the most bytes that a chunk's head has."""
    signal = header.signal
    numbers_and_crc = MAX_VARINT_BYTES + 1 + MAX_VARINT_BYTES + 4
    per_block = signal.n_streams + 2 * signal.rotated
    table = signal.n_layers * signal.n_streams * MAX_ENTRY_BYTES
    return numbers_and_crc + (header.chunk_blocks + 2) * per_block + table


def sounding(
    head_levels: Levels, n_frames: int, frames_per_block: int
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Return which frames have codes, bool [streams, frames], from the levels [blocks + 2, streams] of a chunk."""
    blocks = (head_levels[1:-1] != SILENT).T
    return np.repeat(blocks, frames_per_block, 1)[:, :n_frames]


def lost_chunk(header: Header, number: int, n_samples: int) -> bytes:
    """Return the payload of a chunk that stands in for one that was lost: silence of the same length."""
    n_blocks = -(-frames_of(header, number, n_samples) // header.signal.frames_per_block)
    head = ChunkHead(
        number=number,
        n_layers=0,
        n_samples=n_samples,
        levels=np.zeros((n_blocks + 2, header.signal.n_streams), np.uint8),
        angles=np.zeros(n_blocks + 2 if header.signal.rotated else 0, np.uint16),
        entries=(),
    )
    return pack_head(head)


def pack_chunk(
    header: Header, number: int, blocks: Sequence[CodedBlock], n_samples: int, tables: Tables, entropy: str
) -> bytes:
    """Return the payload of a section CODE (SPEC.md, section 4).

    Args:
        header: The file's header.
        number: Which chunk, from 0.
        blocks: Its blocks, header.chunk_blocks of them or fewer at the end.
        n_samples: Source samples that it covers.
        tables: What entropy modes know.
        entropy: A mode's name, or "auto".

    Raises:
        DamageError: What was coded doesn't decode to the same codes (a fault of this machine).
    """
    signal = header.signal
    coded = [block.n_layers for block in blocks if block.levels[1].any()]
    n_layers = min(coded or [block.n_layers for block in blocks])
    levels = np.stack([blocks[0].levels[0], *(block.levels[1] for block in blocks), blocks[-1].levels[2]])
    angles = (
        [blocks[0].angles[0], *(block.angles[1] for block in blocks), blocks[-1].angles[2]] if signal.rotated else []
    )
    codes = np.concatenate([block.codes for block in blocks], 2)
    audible = sounding(levels, codes.shape[2], signal.frames_per_block)
    streams = np.flatnonzero(audible.any(1))
    coder = _coder(tables, header, audible[streams], predicting=entropy in ("auto", Mode.NETWORK.name.lower()))
    entries, payloads = [], []
    for layer in range(n_layers):
        rows = [codes[stream, layer, audible[stream]] for stream in streams]
        for row, (mode, payload) in zip(rows, coder.encode(rows, entropy), strict=True):
            entries.append(Entry(len(payload), mode, code_check(row)))
            payloads.append(payload)
    head = ChunkHead(
        number=number,
        n_layers=n_layers,
        n_samples=n_samples,
        levels=levels,
        angles=np.array(angles, np.uint16),
        entries=tuple(entries),
    )
    packed, body = pack_head(head), b"".join(payloads)
    decoded, n_intact = decode_codes(body, 0, head, header, tables)
    if n_intact < n_layers or not np.array_equal(
        decoded[:, :n_layers], np.where(audible[:, None], codes[:, :n_layers], 0)
    ):
        raise DamageError(
            f"chunk {number} doesn't decode to what was coded: this machine's memory or processor is at fault"
        )
    return packed + body


def _coder(
    tables: Tables, header: Header, audible: np.ndarray[tuple[int, int], np.dtype[np.bool_]], *, predicting: bool
) -> LayerCoder:
    return LayerCoder(tables, header.signal.codebook_size, [int(n) for n in audible.sum(1)], predicting=predicting)


def pack_head(head: ChunkHead) -> bytes:
    """Return a chunk's head with its CRC-32C."""
    packed = bytearray(pack_varint(head.number) + bytes([head.n_layers]) + pack_varint(head.n_samples))
    packed += head.levels.tobytes()
    before = 0
    for angle in map(int, head.angles):
        packed += pack_signed((angle - before + ANGLE_STEPS // 2) % ANGLE_STEPS - ANGLE_STEPS // 2)
        before = angle
    for entry in head.entries:
        packed += pack_varint(4 * entry.n_bytes + entry.mode) + entry.check.to_bytes(2, "little")
    return bytes(packed) + crc32c(bytes(packed)).to_bytes(4, "little")


def unpack_head(payload: bytes, header: Header) -> tuple[ChunkHead, int]:
    """Read a chunk's head from the payload of its section; return it and where the payloads start.

    Raises:
        LimitError: A field is past its limit.
        TruncatedError: The section ends inside the head.
        DamageError: The head's CRC-32C doesn't hold.
    """
    signal = header.signal
    fields = Fields(payload, "a chunk's head")
    number = fields.varint("number", 0, MAX_CHUNKS - 1)
    n_layers = fields.unsigned(1, "layers", 0, signal.n_layers)
    whole = header.chunk_start(number + 1) - header.chunk_start(number)
    n_samples = fields.varint("samples", 1, whole)
    n_frames = frames_of(header, number, n_samples)
    n_blocks = -(-n_frames // signal.frames_per_block)
    raw_levels = np.frombuffer(fields.take((n_blocks + 2) * signal.n_streams), np.uint8)
    levels = raw_levels.reshape(n_blocks + 2, signal.n_streams)
    steps = [fields.signed("angle", ANGLE_STEPS // 2) for _ in range(n_blocks + 2 if signal.rotated else 0)]
    angles = (np.cumsum(steps, dtype=np.int64) % ANGLE_STEPS).astype(np.uint16)
    n_coded = int((levels[1:-1] != SILENT).any(0).sum())
    entries = tuple(_unpack_entry(fields) for _ in range(n_layers * n_coded))
    end = fields.position
    if crc32c(payload[:end]) != fields.unsigned(4, "CRC"):
        raise DamageError("a chunk's head is damaged: its CRC-32C doesn't hold")
    head = ChunkHead(
        number=number, n_layers=n_layers, n_samples=n_samples, levels=levels, angles=angles, entries=entries
    )
    return head, fields.position


def unpack_blocks(head: ChunkHead, codes: Codes, signal: Signal) -> Iterator[CodedBlock]:
    """Yield a chunk's blocks, from its head and its codes [streams, layers, frames]."""
    size = signal.frames_per_block
    for block in range(len(head.levels) - 2):
        yield CodedBlock(
            codes=codes[:, :, block * size : (block + 1) * size],
            n_layers=head.n_layers,
            levels=head.levels[block : block + 3],
            angles=head.angles[block : block + 3],
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
    signal = header.signal
    n_frames = frames_of(header, head.number, head.n_samples)
    audible = sounding(head.levels, n_frames, signal.frames_per_block)
    streams = np.flatnonzero(audible.any(1))
    codes = np.zeros((signal.n_streams, signal.n_layers, n_frames), np.uint16)
    predicting = any(entry.mode == Mode.NETWORK for entry in head.entries)
    coder = _coder(tables, header, audible[streams], predicting=predicting)
    for layer in range(head.n_layers):
        entries = head.entries[layer * len(streams) : (layer + 1) * len(streams)]
        ends = np.cumsum([start, *(entry.n_bytes for entry in entries)])
        try:
            rows = _decode_layer(payload, ends, entries, coder)
        except (DamageError, TruncatedError):
            codes[:, layer:] = 0
            return codes, layer
        for stream, row in zip(streams, rows, strict=True):
            codes[stream, layer, audible[stream]] = row
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
    packed = fields.varint("length of a payload", 0, 4 * MAX_PAYLOAD_BYTES + 3)
    return Entry(packed // 4, packed % 4, fields.unsigned(2, "check"))


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
