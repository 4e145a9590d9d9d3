"""Audio input and output by libsndfile, for containers other than WAV; the only module that uses soundfile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import soundfile

from rvqcodec.errors import AudioError, OutputError
from rvqcodec.formats.audio.containers import Container
from rvqcodec.formats.audio.mp3 import with_length
from rvqcodec.formats.audio.pcm import Float32, Levels, SampleFormat

FORMAT_HINT = "WAV, FLAC, Ogg, Opus, MP3, AIFF and CAF are read; ffmpeg converts others"

_SUBTYPES = {
    "PCM_S8": SampleFormat.U8,
    "PCM_U8": SampleFormat.U8,
    "PCM_16": SampleFormat.S16,
    "PCM_24": SampleFormat.S24,
    "PCM_32": SampleFormat.S32,
    "FLOAT": SampleFormat.F32,
    "DOUBLE": SampleFormat.F64,
    "ALAC_16": SampleFormat.S16,
    "ALAC_20": SampleFormat.S24,
    "ALAC_24": SampleFormat.S24,
    "ALAC_32": SampleFormat.S32,
}
_UNKNOWN_LENGTH = 1 << 62
"""libsndfile reports 2^63 - 1 samples for FLAC of unknown length."""


@contextlib.contextmanager
def decoding() -> Iterator[None]:
    """Translate errors of libsndfile on input.

    Raises:
        AudioError: libsndfile failed.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise AudioError(f"the audio cannot be decoded: {_reason(error)}", FORMAT_HINT) from error


@contextlib.contextmanager
def encoding() -> Iterator[None]:
    """Translate errors of libsndfile on output.

    Raises:
        OutputError: libsndfile failed.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OutputError(f"the output cannot be written: {_reason(error)}") from error


def _reason(error: Any) -> str:
    """Return libsndfile's message in the style of ours."""
    text = str(error.error_string).removeprefix("Error : ").rstrip(". ")
    return text[:1].lower() + text[1:]


class LibrarySamples:
    """Samples read by libsndfile; a context manager.

    soundfile seeks after each read, which fails in FLAC of unknown length, so seeking is disabled.

    Args:
        source: An operating-system file, not empty.

    Raises:
        AudioError: libsndfile doesn't support it.
    """

    def __init__(self, source: BinaryIO) -> None:
        try:
            self._file = soundfile.SoundFile(with_length(source))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"this is not audio that can be read: {_reason(error)}", FORMAT_HINT) from error
        except TypeError as error:
            raise AudioError("raw samples without a header cannot be read", "convert them to WAV") from error
        self._file.seekable = lambda: False
        self._n_read = 0
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.sample_format = _SUBTYPES.get(self._file.subtype, SampleFormat.UNKNOWN)
        self.n_samples: int | None = self._file.frames if self._file.frames < _UNKNOWN_LENGTH else None

    def read(self, n_samples: int) -> Float32:
        """Return the next samples, float32 [n, channels], fewer than `n_samples` only at the end.

        Raises:
            AudioError: There are fewer samples than the file's header says.
        """
        block = np.empty((n_samples, self.channels), np.float32)
        n_got = self._file.buffer_read_into(block, "float32")
        self._n_read += n_got
        if n_got < n_samples and self.n_samples is not None and self._n_read < self.n_samples:
            raise AudioError(f"the file is damaged or cut: only {self._n_read} of {self.n_samples} samples decode")
        return block[:n_got]

    def __enter__(self) -> LibrarySamples:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class LibrarySink:
    """Writes quantized samples with libsndfile, which expects them in the upper bits of 16 or 32; a context manager."""

    def __init__(
        self, file: BinaryIO, container: Container, sample_rate: int, channels: int, written: SampleFormat
    ) -> None:
        self._file = soundfile.SoundFile(
            file.fileno(),
            "w",
            closefd=False,
            samplerate=sample_rate,
            channels=channels,
            format=container.library_format,
            subtype=container.subtype(written),
        )
        self._file.seekable = lambda: False
        self._shift = 8 if written in (SampleFormat.U8, SampleFormat.S24) else 0

    def write(self, levels: Levels) -> None:
        """Write samples [n, channels] as returned by `pcm.quantize`."""
        self._file.write(np.ascontiguousarray(np.left_shift(levels, self._shift) if self._shift else levels))

    def finish(self) -> None:
        """Flush and close."""
        self._file.close()

    def __enter__(self) -> LibrarySink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
