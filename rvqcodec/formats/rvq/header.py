"""The header: the first section, which tells what the codes are and what it takes to decode them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rvqcodec.encoded import MAX_CHANNELS, MAX_SAMPLE_RATE, Signal
from rvqcodec.errors import LimitError, VersionError
from rvqcodec.formats.rvq.fields import Fields

MAJOR, MINOR = 1, 0
MAX_LAYERS = 64
MAX_CHUNK_FRAMES = 8192
MAX_SAMPLE_FORMAT = 6
MAX_TABLES = 4
MAX_NAME_BYTES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The signal, the blocks of a chunk, and the ids of the entropy tables that the file may use (16 hex digits)."""

    signal: Signal
    chunk_blocks: int
    table_ids: tuple[str, ...] = ()
    minor: int = MINOR

    @property
    def chunk_s(self) -> float:
        """Seconds of a whole chunk."""
        return self.chunk_blocks * self.signal.block_s

    def chunk_start(self, number: int) -> int:
        """Return the first source sample of a chunk."""
        return self.signal.block_start(number * self.chunk_blocks)

    def spans(self, n_chunks: int, n_samples: int) -> bool:
        """Tell whether so many chunks hold so many source samples: all are whole but the last, which isn't empty."""
        if not n_chunks:
            return n_samples == 0
        return self.chunk_start(n_chunks - 1) < n_samples <= self.chunk_start(n_chunks)

    def with_layers(self, n_layers: int) -> Header:
        """Return the header of the same file with fewer layers."""
        return replace(self, signal=replace(self.signal, n_layers=n_layers))


def pack_header(header: Header) -> bytes:
    """Return the payload of the section HEAD (SPEC.md, section 3), with no newer minor version than what it holds."""
    signal = header.signal
    name = signal.model.encode()
    fields = (
        (MAJOR, 1),
        (min(header.minor, MINOR), 1),
        (signal.sample_rate, 4),
        (signal.channels, 1),
        (signal.sample_format, 1),
        (int(signal.rotated), 1),
        (signal.n_layers, 1),
        (signal.codebook_size - 1, 2),
        (signal.model_sample_rate, 4),
        (signal.hop_length, 2),
        (signal.frames_per_block, 2),
        (header.chunk_blocks, 2),
        (signal.nominal_bitrate, 4),
        (0, 2),
    )
    packed = b"".join(value.to_bytes(size, "little") for value, size in fields)
    tables = b"".join(map(bytes.fromhex, header.table_ids))
    ids = bytes([len(header.table_ids)]) + tables
    return packed + bytes.fromhex(signal.fingerprint) + ids + bytes([len(name)]) + name


def unpack_header(payload: bytes) -> Header:
    """Read the payload of the section HEAD.

    Raises:
        VersionError: The file needs a newer reader.
        LimitError: A field is past its limit, or the fields contradict each other.
        TruncatedError: The payload ends early.
    """
    fields = Fields(payload, "the header")
    major, minor = fields.unsigned(1, "major version"), fields.unsigned(1, "minor version")
    if major != MAJOR:
        raise VersionError(
            f"the file has version {major} of the format, this program reads version {MAJOR}", "upgrade rvqcodec"
        )
    sample_rate = fields.unsigned(4, "sample rate", 1, MAX_SAMPLE_RATE)
    channels = fields.unsigned(1, "channels", 1, MAX_CHANNELS)
    sample_format = fields.unsigned(1, "sample format", 0, MAX_SAMPLE_FORMAT)
    rotated = fields.unsigned(1, "stereo", 0, int(channels == 2))
    n_layers = fields.unsigned(1, "layers", 1, MAX_LAYERS)
    codebook_size = fields.unsigned(2, "codebook size", 1) + 1
    model_rate = fields.unsigned(4, "model sample rate", 1, MAX_SAMPLE_RATE)
    hop_length = fields.unsigned(2, "hop length", 1)
    frames_per_block = fields.unsigned(2, "frames per block", 1, MAX_CHUNK_FRAMES)
    chunk_blocks = fields.unsigned(2, "blocks per chunk", 1, MAX_CHUNK_FRAMES // frames_per_block)
    bitrate = fields.unsigned(4, "nominal bitrate")
    fields.unsigned(2, "reserved field", 0, 0)
    if sample_rate * hop_length < model_rate:
        raise LimitError("the header's frames are shorter than a source sample")
    fingerprint = fields.take(8).hex()
    table_ids = tuple(fields.take(8).hex() for _ in range(fields.unsigned(1, "number of tables", 0, MAX_TABLES)))
    name = fields.text(fields.unsigned(1, "length of the model's name", 1, MAX_NAME_BYTES), "model name")
    if minor <= MINOR:
        fields.finish()
    signal = Signal(
        model=name,
        fingerprint=fingerprint,
        sample_rate=sample_rate,
        channels=channels,
        sample_format=sample_format,
        rotated=bool(rotated),
        n_layers=n_layers,
        codebook_size=codebook_size,
        model_sample_rate=model_rate,
        hop_length=hop_length,
        frames_per_block=frames_per_block,
    )
    if signal.nominal_bitrate != bitrate:
        raise LimitError(f"the header's nominal bitrate is {bitrate}, its other fields give {signal.nominal_bitrate}")
    if not name.isprintable():
        raise LimitError("the header's model name is not printable")
    return Header(signal=signal, chunk_blocks=chunk_blocks, table_ids=table_ids, minor=minor)
