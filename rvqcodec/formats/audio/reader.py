"""Block-wise audio input: WAV by `wav`, other containers by libsndfile."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from rvqcodec.errors import AudioError, reason_of
from rvqcodec.formats.audio.pcm import MIN_SAMPLE_RATE, Float32, SampleFormat
from rvqcodec.formats.audio.provenance import BackgroundHash, HashingReader, Provenance
from rvqcodec.formats.audio.sndfile import LibrarySamples, decoding
from rvqcodec.formats.audio.tags import chunk_tags, clean_tags, read_tags
from rvqcodec.formats.audio.wav import WavHeader, WavReader, read_header
from rvqcodec.formats.audio.writer import AudioWriter, open_writer
from rvqcodec.formats.files import closing_on_error
from rvqcodec.signal import MAX_CHANNELS, MAX_SAMPLE_RATE

__all__ = ["AudioReader", "AudioWriter", "Provenance", "SampleFormat", "open_reader", "open_writer"]


class _Samples(Protocol):
    """A sequential source of samples, with the properties that its header declares (`AudioReader`)."""

    @property
    def sample_rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def sample_format(self) -> SampleFormat: ...

    @property
    def n_samples(self) -> int | None: ...

    def read(self, n_samples: int) -> Float32:
        """Return the next samples, fewer than `n_samples` only at the end."""


class AudioReader:
    """Audio as float32 blocks of one second; a context manager.

    Attributes:
        sample_rate: In Hz.
        channels: 1 to 8.
        sample_format: Of the source; UNKNOWN for lossy encodings.
        n_samples: Samples per channel according to the source, or None; the exact number once `blocks()` is exhausted.
    """

    def __init__(
        self,
        samples: _Samples,
        finish: Callable[[], tuple[dict[str, str], Provenance]],
        resources: contextlib.ExitStack,
        begin: Callable[[], None] = lambda: None,
        file: BinaryIO | None = None,
        hashed: BackgroundHash | None = None,
    ) -> None:
        self.sample_rate = samples.sample_rate
        self.channels = samples.channels
        self.sample_format = samples.sample_format
        self.n_samples = samples.n_samples
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"the audio has {self.channels} channels; 1 to {MAX_CHANNELS} are supported")
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            limits = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz are supported"
            raise AudioError(f"the sample rate is {self.sample_rate} Hz; {limits}")
        self._samples = samples
        self._finish = finish
        self._resources = resources
        self._begin = begin
        self._file = file
        self._hashed = hashed
        self._ended: tuple[dict[str, str], Provenance] | None = None

    def blocks(self) -> Iterator[Float32]:
        """Yield the samples, once, in arrays of shape [sample_rate, channels]; only the last may be shorter.

        Raises:
            AudioError: Decoding fails, or a sample is not a finite number.
        """
        n_read = 0
        with _reading(), decoding():
            self._begin()
            while len(block := self._samples.read(self.sample_rate)):
                _check_finite(block, n_read)
                n_read += len(block)
                yield block
            self.n_samples = n_read
            self._ended = self._finish()

    def tags(self) -> dict[str, str]:
        """Return the tags: of a file at any time, of a stream, which may bring them last, once `blocks()` is exhausted."""
        if self._ended is None and self._file is not None:
            return read_tags(self._file)
        return self._end()[0]

    def provenance(self) -> Provenance:
        """Return size in bytes and BLAKE2b-128 of the whole input, known when the tags are.

        Raises:
            AudioError: The file can't be read.
        """
        if self._ended is None and self._hashed is not None:
            with _reading():
                return self._hashed.provenance()
        return self._end()[1]

    @property
    def n_bytes(self) -> int:
        """Size of a file in bytes; 0 for streams."""
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_size

    def _end(self) -> tuple[dict[str, str], Provenance]:
        if self._ended is None:
            raise ValueError("tags and provenance are available once blocks() is exhausted")
        return self._ended

    def close(self) -> None:
        """Close the files opened here; a stream passed in stays open."""
        self._resources.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """Translate OSError of an input."""
    try:
        yield
    except FileNotFoundError as error:
        raise AudioError(reason_of(error)) from error
    except OSError as error:
        raise AudioError(f"the audio cannot be read: {reason_of(error)}") from error


def _check_finite(block: Float32, n_before: int) -> None:
    finite = np.isfinite(block)
    if finite.all():
        return
    sample, channel = (int(i) for i in np.argwhere(~finite)[0])
    what = "NaN" if np.isnan(block[sample, channel]) else "infinite"
    raise AudioError(f"sample {n_before + sample} of channel {channel + 1} is {what}")


def open_reader(source: Path | BinaryIO) -> AudioReader:
    """Open audio for block-wise reading.

    PCM in RIFF, RF64 or BW64 is read sequentially by `wav`, identically from a file and from a pipe; everything else by libsndfile, from a
    stream through an anonymous temporary file.

    Args:
        source: A file, or a binary stream that need not be seekable.

    Raises:
        AudioError: It is missing, a folder, empty, not audio, or its channels or sample rate aren't supported.
    """
    with closing_on_error() as stack, _reading():
        if not isinstance(source, Path):
            return _open_stream(source, stack)
        if _is_regular(source):
            return _open_path(source, stack)
        return _open_stream(stack.enter_context(source.open("rb")), stack)


def reader_of(file: BinaryIO) -> AudioReader:
    """Return a reader of a file of the system's that is open already, from its start; the file stays open.

    Raises:
        AudioError: It is not audio, or has channels or a sample rate that are not supported.
    """
    with closing_on_error() as stack, _reading():
        file.seek(0)
        return _file_reader(file, stack)


def _is_regular(path: Path) -> bool:
    """Return whether a path is a regular file, not a pipe or a device.

    Raises:
        AudioError: It is a folder, or empty.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise AudioError("this is a folder, not an audio file")
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise AudioError("the file is empty")
    return stat.S_ISREG(status.st_mode)


def _open_path(path: Path, stack: contextlib.ExitStack) -> AudioReader:
    return _file_reader(stack.enter_context(path.open("rb")), stack)


def _file_reader(file: BinaryIO, stack: contextlib.ExitStack) -> AudioReader:
    """Read samples, tags and hash from one descriptor."""
    hashed = stack.enter_context(BackgroundHash(file))
    stream = HashingReader(file)
    header = read_header(stream)
    if header is not None and header.sample_format:
        return _wav_reader(stream, header, stack, file, hashed)
    return _library_reader(file, lambda: (read_tags(file), hashed.provenance()), stack, hashed)


def _open_stream(source: BinaryIO, stack: contextlib.ExitStack) -> AudioReader:
    stream = HashingReader(source, keep=True)
    header = read_header(stream)
    if not stream.n_bytes:
        raise AudioError("the input is empty")
    if header is not None and header.sample_format:
        stream.forget()
        return _wav_reader(stream, header, stack)
    file = stack.enter_context(_spool(stream))
    return _library_reader(file, lambda: (read_tags(file), stream.provenance()), stack)


def _spool(stream: HashingReader) -> BinaryIO:
    """Copy a whole stream, including the bytes already read, to a temporary file; return that, rewound."""
    kept = stream.kept or []
    stream.forget()
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.writelines(kept)
        while piece := stream.read(1 << 20):
            file.write(piece)
        file.seek(0)
    except OSError as error:
        raise AudioError(f"the input cannot be kept in a temporary file: {reason_of(error)}", "set TMPDIR") from error
    return file


def _wav_reader(
    stream: HashingReader,
    header: WavHeader,
    stack: contextlib.ExitStack,
    file: BinaryIO | None = None,
    hashed: BackgroundHash | None = None,
) -> AudioReader:
    wav = WavReader(stream, header)

    def finish() -> tuple[dict[str, str], Provenance]:
        chunks = [*header.chunks, *wav.read_tail()]
        stream.drain()
        return clean_tags(chunk_tags(chunks)), stream.provenance()

    return AudioReader(wav, finish, stack, file=file, hashed=hashed)


def _library_reader(
    source: BinaryIO,
    finish: Callable[[], tuple[dict[str, str], Provenance]],
    stack: contextlib.ExitStack,
    hashed: BackgroundHash | None = None,
) -> AudioReader:
    samples = stack.enter_context(LibrarySamples(source))
    if hashed is None:
        return AudioReader(samples, finish, stack)
    return AudioReader(samples, finish, stack, begin=hashed.start, file=source, hashed=hashed)
