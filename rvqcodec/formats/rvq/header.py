"""The header section: the signal, the chunk length and the entropy tables of a file (SPEC.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rvqcodec.errors import LimitError, VersionError
from rvqcodec.formats.entropy.layers import NO_TABLES
from rvqcodec.formats.rvq.fields import Fields, pack_varint
from rvqcodec.signal import (
    KINDS,
    LEVELS,
    MAX_CHANNELS,
    MAX_CODEBOOK_SIZE,
    MAX_FRAME_MULTIPLE,
    MAX_LAYERS,
    MAX_SAMPLE_RATE,
    LayerGroup,
    Signal,
)

MAJOR, MINOR = 1, 0
MAX_CHUNK_FRAMES = 8192
MAX_SAMPLE_FORMAT = 6
MAX_NAME_BYTES = 64
ID_BYTES = len(NO_TABLES) // 2
LEVELS_MASK, ROTATED, SCALABLE, PAIRS, STATIC, NETWORK = 3, 4, 8, 16, 32, 64
"""Bits of the header's flags; the lowest two are the kind of levels, the highest is reserved."""
KIND_SHIFT, LAST_GROUP = 6, 128
"""Bits of a group's first byte above its number of layers - 1: its kind, and whether it is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A file's header.

    Args:
        signal: Description of the audio and the codec.
        chunk_blocks: Blocks per chunk; only the last chunk may have fewer.
        table_ids: Ids (8 hex digits) of the static tables and of the network, `NO_TABLES` for none; or of the static tables alone; or none.
        minor: Minor version of the format.
    """

    signal: Signal
    chunk_blocks: int
    table_ids: tuple[str, ...] = ()
    minor: int = MINOR

    @property
    def chunk_s(self) -> float:
        """Duration of a whole chunk in seconds."""
        return self.chunk_blocks * self.signal.block_s

    def chunk_start(self, number: int) -> int:
        """Return the index of a chunk's first source sample."""
        return self.signal.block_start(number * self.chunk_blocks)

    def spans(self, n_chunks: int, n_samples: int) -> bool:
        """Return whether `n_chunks` chunks can hold `n_samples` source samples: all whole except the last, which isn't empty."""
        if not n_chunks:
            return n_samples == 0
        return self.chunk_start(n_chunks - 1) < n_samples <= self.chunk_start(n_chunks)

    def with_layers(self, n_layers: int) -> Header:
        """Return the header of the same file with its first `n_layers` layers.

        Raises:
            ValueError: There are fewer, or `n_layers` is less than 1.
        """
        return replace(self, signal=self.signal.with_layers(n_layers))


def pack_header(header: Header) -> bytes:
    """Return the payload of the section HEAD (SPEC.md, section 3), with a minor version that this program writes."""
    signal = header.signal
    name = signal.model.encode()
    ids = [bytes.fromhex(name) for name in header.table_ids]
    static, network = (place < len(ids) and any(ids[place]) for place in (0, 1))
    flags = LEVELS.index(signal.levels) | ROTATED * signal.rotated | SCALABLE * signal.scalable
    flags |= PAIRS * (signal.channels_per_stream == 2) | STATIC * static | NETWORK * network
    numbers = (
        signal.model_sample_rate,
        0 if signal.sample_rate == signal.model_sample_rate else signal.sample_rate,
        signal.hop_length,
        signal.frames_per_block,
        signal.frame_multiple,
        signal.overlap,
        header.chunk_blocks,
    )
    return b"".join(
        (
            bytes([MAJOR, min(header.minor, MINOR), flags, signal.channels - 1 | signal.sample_format << 4]),
            *map(pack_varint, numbers),
            _pack_groups(signal),
            bytes.fromhex(signal.fingerprint),
            *(name for name in ids if any(name)),
            pack_varint(len(name)),
            name,
        )
    )


def _pack_groups(signal: Signal) -> bytes:
    packed = bytearray()
    for place, group in enumerate(signal.groups, 1):
        first = group.n_layers - 1 | KINDS.index(group.kind) << KIND_SHIFT
        packed.append(first | LAST_GROUP * (place == len(signal.groups)))
        packed += pack_varint(group.codebook_size - 1)
        if signal.frame_multiple > 1:
            packed.append(group.stride)
    return bytes(packed)


def unpack_header(payload: bytes) -> Header:
    """Read the payload of the section HEAD.

    Raises:
        VersionError: The file needs a newer reader.
        LimitError: A field exceeds its limit, or the fields contradict each other.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the header")
    minor = _unpack_version(fields)
    flags = fields.unsigned(1, "flags", 0, 2 * NETWORK - 1)
    if flags & LEVELS_MASK >= len(LEVELS):
        raise LimitError("the header: kind of levels is 3, outside 0 to 2")
    source = fields.unsigned(1, "channels and sample format")
    if source & 15 >= MAX_CHANNELS or source >> 4 > MAX_SAMPLE_FORMAT:
        raise LimitError(f"the header: {(source & 15) + 1} channels, sample format {source >> 4}")
    geometry, chunk_blocks = _unpack_geometry(fields)
    groups = _unpack_groups(fields, geometry["frame_multiple"])
    fingerprint = fields.take(8).hex()
    ids = _unpack_ids(fields, flags)
    name = fields.text(fields.varint("length of the model's name", 1, MAX_NAME_BYTES), "model name")
    if minor <= MINOR:
        fields.finish()
    if not name.isprintable():
        raise LimitError("the header's model name is not printable")
    try:
        signal = Signal(
            model=name,
            fingerprint=fingerprint,
            channels=(source & 15) + 1,
            sample_format=source >> 4,
            rotated=bool(flags & ROTATED),
            groups=groups,
            channels_per_stream=2 if flags & PAIRS else 1,
            levels=LEVELS[flags & LEVELS_MASK],
            scalable=bool(flags & SCALABLE),
            **geometry,
        )
    except ValueError as error:
        raise LimitError(f"the header: {error}") from error
    return Header(signal=signal, chunk_blocks=chunk_blocks, table_ids=ids, minor=minor)


def _unpack_version(fields: Fields) -> int:
    """Return the minor version."""
    major, minor = fields.unsigned(1, "major version"), fields.unsigned(1, "minor version")
    if major != MAJOR:
        raise VersionError(
            f"the file has version {major} of the format, this program reads version {MAJOR}", "upgrade rvqcodec"
        )
    return minor


def _unpack_geometry(fields: Fields) -> tuple[dict[str, int], int]:
    """Return the fields of `Signal` that define the grid, and the blocks per chunk."""
    model_rate = fields.varint("model sample rate", 1, MAX_SAMPLE_RATE)
    sample_rate = fields.varint("sample rate", 0, MAX_SAMPLE_RATE) or model_rate
    hop_length = fields.varint("hop length", 1, (1 << 16) - 1)
    frames_per_block = fields.varint("frames per block", 1, MAX_CHUNK_FRAMES)
    frame_multiple = fields.varint("frame multiple", 1, MAX_FRAME_MULTIPLE)
    overlap = fields.varint("overlap", 0, frames_per_block * hop_length // 2)
    geometry = {
        "sample_rate": sample_rate,
        "model_sample_rate": model_rate,
        "hop_length": hop_length,
        "frames_per_block": frames_per_block,
        "frame_multiple": frame_multiple,
        "block_step": frames_per_block * hop_length - overlap,
    }
    return geometry, fields.varint("blocks per chunk", 1, MAX_CHUNK_FRAMES // frames_per_block)


def _unpack_ids(fields: Fields, flags: int) -> tuple[str, ...]:
    """Return the ids of the entropy tables, `Header.table_ids`."""
    static, network = (fields.take(ID_BYTES).hex() if flags & bit else NO_TABLES for bit in (STATIC, NETWORK))
    if (flags & STATIC and static == NO_TABLES) or (flags & NETWORK and network == NO_TABLES):
        raise LimitError("the header: an id of entropy tables is 0")
    return (static, network) if flags & NETWORK else (static,) if flags & STATIC else ()


def _unpack_groups(fields: Fields, frame_multiple: int) -> tuple[LayerGroup, ...]:
    groups: list[LayerGroup] = []
    first = 0
    while not first & LAST_GROUP:
        if len(groups) == MAX_LAYERS:
            raise LimitError(f"the header: more than {MAX_LAYERS} groups of layers")
        first = fields.unsigned(1, "layers")
        size = fields.varint("codebook size", 1, MAX_CODEBOOK_SIZE - 1) + 1
        stride = fields.unsigned(1, "stride", 1) if frame_multiple > 1 else 1
        kind = KINDS[first >> KIND_SHIFT & 1]
        groups.append(LayerGroup(n_layers=(first & 63) + 1, codebook_size=size, stride=stride, kind=kind))
    return tuple(groups)
