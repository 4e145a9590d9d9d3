"""Sequential WAV input and output, also on pipes: RIFF, RF64 and BW64 with PCM or floating-point samples.

Unlike libsndfile it can write WAV to a pipe, and read one of unknown length.

Source: RIFF MCI 1.0 (1991); EBU Tech 3306 (RF64); Microsoft, WAVEFORMATEXTENSIBLE.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from rvqcodec.formats.audio.pcm import Float32, Levels, SampleFormat, pack_levels, unpack_samples

_log = logging.getLogger(__name__)

MAX_HELD_BYTES = 16 << 20
"""Limit on the bytes of a header, and on those of all chunks of tags, held in memory."""

MAX_CHUNKS = 10_000
"""Limit on the chunks examined before the samples and after them; real files have a dozen."""

SIZE_32 = 0xFFFFFFFF
SIZE_64 = 0xFFFFFFFFFFFFFFFF
TAG_CHUNKS = (b"LIST", b"id3 ", b"ID3 ")

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_FORMATS = {
    (_PCM, 8): SampleFormat.U8,
    (_PCM, 16): SampleFormat.S16,
    (_PCM, 24): SampleFormat.S24,
    (_PCM, 32): SampleFormat.S32,
    (_FLOAT, 32): SampleFormat.F32,
    (_FLOAT, 64): SampleFormat.F64,
}
_SPEAKERS = (0, 0x4, 0x3, 0x7, 0x33, 0x37, 0x3F, 0x70F, 0x63F)


class ForwardReader(Protocol):
    """A sequential input."""

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes, fewer only at the end."""

    def skip(self, n_bytes: int) -> None:
        """Skip `n_bytes` bytes, or to the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WavHeader:
    """The header of a WAV.

    Attributes:
        sample_rate: In Hz.
        channels: Channels.
        sample_format: UNKNOWN if `WavReader` doesn't support it.
        n_data_bytes: Size of the samples, or None: until the end of the input.
        chunks: Chunks of tags, as identifier and payload.
    """

    sample_rate: int
    channels: int
    sample_format: SampleFormat
    n_data_bytes: int | None
    chunks: tuple[tuple[bytes, bytes], ...]


def read_header(stream: ForwardReader) -> WavHeader | None:
    """Read the header up to the first sample; return None if the input isn't a supported WAV."""
    riff = stream.read(12)
    if len(riff) < 12 or riff[:4] not in (b"RIFF", b"RF64", b"BW64") or riff[8:] != b"WAVE":
        return None
    position, size_64, layout = 12, None, None
    chunks = []
    for _ in range(MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return None
        name, size = head[:4], int.from_bytes(head[4:], "little")
        position += 8
        if name == b"data":
            if layout is None:
                return None
            n_data_bytes = _data_size(size, size_64, int.from_bytes(riff[4:8], "little") + 8 - position)
            rate, channels, sample_format = layout
            return WavHeader(
                sample_rate=rate,
                channels=channels,
                sample_format=sample_format,
                n_data_bytes=n_data_bytes,
                chunks=tuple(chunks),
            )
        padded = size + (size & 1)
        if position + padded > MAX_HELD_BYTES:
            return None
        payload = stream.read(padded)
        position += padded
        if name == b"fmt ":
            layout = _layout(payload)
        elif name == b"ds64" and len(payload) >= 16:
            size_64 = int.from_bytes(payload[8:16], "little")
        elif name in TAG_CHUNKS:
            chunks.append((name, payload[:size]))
    return None


def _data_size(size: int, size_64: int | None, n_left: int) -> int | None:
    """Return the size of the samples, or None for "until the end".

    A size of 0 means unknown, unless the size of the file implies that more chunks follow.
    """
    if size == SIZE_32 and size_64 is not None:
        return None if size_64 in (0, SIZE_64) else size_64
    if size == SIZE_32:
        return None
    closed = 8 <= n_left <= MAX_HELD_BYTES
    return None if size == 0 and not closed else size


def _layout(payload: bytes) -> tuple[int, int, SampleFormat] | None:
    """Return sample rate, channels and sample format of a `fmt ` chunk."""
    if len(payload) < 16:
        return None
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", payload)
    if tag == _EXTENSIBLE and len(payload) >= 40 and payload[26:40] == _GUID_TAIL:
        tag = int.from_bytes(payload[24:26], "little")
    sample_format = _FORMATS.get((tag, bits), SampleFormat.UNKNOWN)
    if frame_bytes != channels * sample_format.n_bytes or not channels:
        sample_format = SampleFormat.UNKNOWN
    return rate, channels, sample_format


class WavReader:
    """Reads the samples and then the chunks after them.

    Args:
        stream: Positioned after the header.
        header: From `read_header`, of a known sample format.
    """

    def __init__(self, stream: ForwardReader, header: WavHeader) -> None:
        self._stream = stream
        self._n_left = header.n_data_bytes
        self._frame_bytes = header.channels * header.sample_format.n_bytes
        self.header = header
        self.sample_rate, self.channels, self.sample_format = header.sample_rate, header.channels, header.sample_format

    @property
    def n_samples(self) -> int | None:
        """Samples per channel according to the header; a truncated file has fewer."""
        size = self.header.n_data_bytes
        return None if size is None else size // self._frame_bytes

    def read(self, n_samples: int) -> Float32:
        """Return the next samples, float32 [n, channels], fewer than `n_samples` only at the end."""
        requested = n_samples * self._frame_bytes
        data = self._stream.read(requested if self._n_left is None else min(requested, self._n_left))
        if self._n_left is not None:
            cut = len(data) < min(requested, self._n_left)
            self._n_left -= len(data)
            if cut:
                _log.warning("the WAV is truncated: %d bytes of samples are missing", self._n_left)
                self._n_left = 0
        whole = len(data) - len(data) % self._frame_bytes
        return unpack_samples(data[:whole], self.sample_format, self.channels)

    def read_tail(self) -> list[tuple[bytes, bytes]]:
        """Skip the remaining samples and return the chunks of tags after them."""
        if self.header.n_data_bytes is None:
            return []
        self._stream.skip((self._n_left or 0) + (self.header.n_data_bytes & 1))
        return read_chunks(self._stream)


def read_chunks(stream: ForwardReader) -> list[tuple[bytes, bytes]]:
    """Return the chunks of tags from here to the end; truncated chunks and those beyond `MAX_HELD_BYTES` are skipped."""
    chunks = []
    n_free = MAX_HELD_BYTES
    for _ in range(MAX_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            break
        size = int.from_bytes(head[4:], "little")
        if head[:4] not in TAG_CHUNKS or size > n_free:
            stream.skip(size + (size & 1))
            continue
        payload = stream.read(size)
        stream.skip(size & 1)
        n_free -= size
        if len(payload) == size:
            chunks.append((head[:4], payload))
    return chunks


def pack_chunk(name: bytes, payload: bytes, order: str = "<") -> bytes:
    """Return a padded chunk; byte order "<" for RIFF, ">" for AIFF."""
    return struct.pack(f"{order}4sI", name, len(payload)) + payload + bytes(len(payload) & 1)


class WavWriter:
    """Writes WAV sequentially, as RF64 if necessary; the sizes of a seekable file are updated at the end.

    Args:
        file: Opened for writing; not closed by this object.
        sample_rate: In Hz.
        channels: Channels.
        sample_format: Not UNKNOWN.
        n_samples: Samples per channel that will be written, or None. On a pipe None writes sizes of FFFFFFFF, which mean "until the end"; 0
            would mean an empty file.
        chunks: Whole chunks to write before the samples.
        rewindable: Whether the header can be rewritten at the end.
        always_rf64: Write RF64 at any length.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        sample_rate: int,
        channels: int,
        sample_format: SampleFormat,
        n_samples: int | None,
        chunks: bytes = b"",
        rewindable: bool = False,
        always_rf64: bool = False,
    ) -> None:
        self._file = file
        self._format = sample_format
        self._frame_bytes = channels * sample_format.n_bytes
        self._rewindable = rewindable
        self._always_rf64 = always_rf64
        self._n_declared = None if n_samples is None else n_samples * self._frame_bytes
        self._n_written = 0
        self._chunks = _format_chunk(sample_rate, channels, sample_format) + chunks
        self._reserved = always_rf64 or self._is_long(self._n_declared) or (rewindable and n_samples is None)
        write_all(file, self._header(self._n_declared))

    def _is_long(self, n_data_bytes: int | None) -> bool:
        """Return whether sizes exceed 32 bits, including the header and a margin for tags."""
        return n_data_bytes is not None and n_data_bytes + len(self._chunks) + (1 << 20) > SIZE_32

    def _header(self, n_data_bytes: int | None) -> bytes:
        """Return the header, of constant size; None means unknown sizes."""
        is_float = self._format in (SampleFormat.F32, SampleFormat.F64)
        n_samples = SIZE_32 if n_data_bytes is None else min(n_data_bytes // self._frame_bytes, SIZE_32)
        chunks = self._chunks + (pack_chunk(b"fact", struct.pack("<I", n_samples)) if is_float else b"")
        size = n_data_bytes or 0
        n_before = 4 + (36 if self._reserved else 0) + len(chunks) + 8
        riff_size = n_before + size + (size & 1)
        if self._reserved and (self._always_rf64 or self._is_long(n_data_bytes)) and n_data_bytes is not None:
            sizes = struct.pack("<QQQI", riff_size, size, size // self._frame_bytes, 0)
            name, space, riff_size, size = b"RF64", pack_chunk(b"ds64", sizes), SIZE_32, SIZE_32
        else:
            name, space = b"RIFF", pack_chunk(b"JUNK", bytes(28)) if self._reserved else b""
        if n_data_bytes is None:
            riff_size = size = SIZE_32
        return struct.pack("<4sI4s", name, riff_size, b"WAVE") + space + chunks + struct.pack("<4sI", b"data", size)

    def write(self, levels: Levels) -> None:
        """Write samples [n, channels] as returned by `pcm.quantize`.

        Raises:
            ValueError: There are more samples than declared.
        """
        data = pack_levels(levels, self._format)
        self._n_written += len(data)
        if self._n_declared is not None and self._n_written > self._n_declared:
            raise ValueError("more samples than the WAV header declares")
        write_all(self._file, data)

    def finish(self) -> None:
        """Pad, and update the sizes if they were unknown.

        Raises:
            ValueError: There were fewer samples than declared, on a pipe.
        """
        write_all(self._file, bytes(self._n_written & 1) if self._n_declared is not None or self._rewindable else b"")
        if self._n_written != self._n_declared and self._rewindable:
            self._file.seek(0)
            write_all(self._file, self._header(self._n_written))
        elif self._n_declared is not None and self._n_written < self._n_declared:
            raise ValueError("fewer samples than the WAV header declares")
        self._file.flush()


def _format_chunk(sample_rate: int, channels: int, sample_format: SampleFormat) -> bytes:
    """Return the `fmt ` chunk, extensible for more than two channels, to assign speakers."""
    tag = _FLOAT if sample_format in (SampleFormat.F32, SampleFormat.F64) else _PCM
    bits, frame_bytes = 8 * sample_format.n_bytes, channels * sample_format.n_bytes
    extensible = channels > 2
    byte_rate = min(sample_rate * frame_bytes, SIZE_32)
    fields = struct.pack(
        "<HHIIHH", _EXTENSIBLE if extensible else tag, channels, sample_rate, byte_rate, frame_bytes, bits
    )
    if extensible:
        fields += struct.pack("<HHIH", 22, bits, _SPEAKERS[channels], tag) + _GUID_TAIL
    elif tag == _FLOAT:
        fields += struct.pack("<H", 0)
    return pack_chunk(b"fmt ", fields)


def write_all(file: BinaryIO, data: bytes) -> None:
    """Write all of `data`, also if an unbuffered pipe accepts only parts of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) or 0 :]


def append_chunks(file: BinaryIO, chunks: bytes) -> None:
    """Append whole chunks to a complete WAV or AIFF file; on failure the file is unchanged.

    Args:
        file: Opened for reading and writing.
        chunks: Chunks, padded.

    Raises:
        ValueError: It is no such file, or its size field would overflow.
        OSError: The chunks can't be written.
    """
    file.seek(0)
    head = file.read(28)
    field, size = _size_field(head, len(chunks))
    length = file.seek(0, 2)
    try:
        write_all(file, bytes(length & 1) + chunks)
        file.flush()
    except OSError:
        file.truncate(length)
        raise
    file.seek(field)
    write_all(file, size)


def _size_field(head: bytes, n_more: int) -> tuple[int, bytes]:
    """Return the offset of a file's size field and its new contents."""
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        return 20, struct.pack("<Q", int.from_bytes(head[20:28], "little") + n_more)
    order = {b"RIFF": "<", b"FORM": ">"}.get(head[:4])
    if order is None:
        raise ValueError("neither WAV nor AIFF")
    (size,) = struct.unpack_from(f"{order}I", head, 4)
    size += (size & 1) + n_more
    if size >= SIZE_32:
        raise ValueError("no room for tags within 4 GiB")
    return 4, struct.pack(f"{order}I", size)
