"""Block-wise audio output: WAV by `wav`, also to pipes, other containers by libsndfile."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import numpy as np

from rvqcodec.errors import OutputError
from rvqcodec.formats.audio.containers import Container, container_of
from rvqcodec.formats.audio.pcm import Float32, Levels, SampleFormat, quantize
from rvqcodec.formats.audio.sndfile import LibrarySink, encoding
from rvqcodec.formats.audio.tags import clean_tags, info_chunks
from rvqcodec.formats.audio.wav import WavWriter
from rvqcodec.formats.files import closing_on_error, is_special, writing


class _Sink(Protocol):
    """A consumer of quantized samples."""

    def write(self, levels: Levels) -> None:
        """Write samples [n, channels]."""

    def finish(self) -> None:
        """Complete the file."""


class AudioWriter:
    """Writes float32 samples; a context manager.

    Attributes:
        sample_format: The format written, the closest that the container supports; UNKNOWN for lossy encodings.
        n_samples: Samples per channel written so far.
        n_clipped: Samples clipped so far, over all channels; floats are never clipped.
    """

    def __init__(
        self,
        sink: _Sink,
        *,
        container: Container,
        channels: int,
        sample_format: SampleFormat,
        first_sample: int,
        resources: contextlib.ExitStack,
    ) -> None:
        self.sample_format = sample_format
        self.n_samples = 0
        self.n_clipped = 0
        self._sink = sink
        self._container = container
        self._channels = channels
        self._first_sample = first_sample
        self._resources = resources
        self._closed = False

    def write(self, block: Float32) -> None:
        """Write a block, float32 [n, channels], full scale 1.

        Raises:
            OutputError: It cannot be written.
            ValueError: Its shape or type is wrong, or a sample is not a finite number.
        """
        if block.ndim != 2 or block.shape[1] != self._channels or block.dtype != np.float32:
            raise ValueError(f"expected a block of float32 [n, {self._channels}], got {block.dtype} {block.shape}")
        if not np.isfinite(block).all():
            raise ValueError("a sample isn't a finite number")
        levels, n_clipped = quantize(block, self.sample_format, self._first_sample + self.n_samples)
        self.n_samples += len(block)
        self.n_clipped += n_clipped
        self._container.check_size(self.n_samples * self._channels * self.sample_format.n_bytes)
        with writing(), encoding():
            self._sink.write(levels)

    def close(self) -> None:
        """Complete and close the file, once; a stream passed in is flushed and stays open.

        Raises:
            OutputError: It cannot be written, or it has no samples and the container doesn't support that.
        """
        if self._closed:
            return
        self._closed = True
        with writing(), encoding(), self._resources:
            self._sink.finish()
        if not self.n_samples and not self._container.can_be_empty:
            raise OutputError(f"{self._container.name} cannot hold audio of no samples", "write .wav")

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with contextlib.suppress(OSError, OutputError), encoding():
            self._resources.close()


def open_writer(
    target: Path | BinaryIO,
    *,
    sample_rate: int,
    channels: int,
    sample_format: SampleFormat,
    n_samples: int | None = None,
    suffix: str | None = None,
    first_sample: int = 0,
    tags: Mapping[str, str] | None = None,
    is_file: bool = False,
) -> AudioWriter:
    """Open audio for block-wise writing; the PCM is identical in a file and in a pipe.

    Args:
        target: A file, or a binary stream, device or named pipe, which gets WAV.
        sample_rate: In Hz.
        channels: 1 to 8.
        sample_format: The requested format, or the closest that the container supports; UNKNOWN: 16 bits.
        n_samples: Samples per channel that will be written, or None if unknown.
        suffix: File name extension that selects the container, if not the target's.
        first_sample: Absolute index of the first sample, for the dither.
        tags: For streams and WAV, written before the samples; other files get theirs afterwards by `tags.write_tags`.
        is_file: Whether a target that is already open is an empty regular file, which may be rewound.

    Raises:
        OutputError: The extension is unknown, the container doesn't support the audio, or the file can't be created.
    """
    is_stream = not is_file if not isinstance(target, Path) else is_special(target)
    extension = suffix if suffix is not None else getattr(target, "suffix", "")
    container = container_of(".wav" if is_stream and not extension else extension)
    if is_stream and container.library_format:
        raise OutputError(f"{container.name} cannot be written to a pipe", "write .wav")
    written = container.nearest(sample_format)
    container.check(sample_rate, channels, (n_samples or 0) * channels * written.n_bytes)
    with closing_on_error() as stack, writing(), encoding():
        sink: _Sink
        file = stack.enter_context(target.open("wb" if is_stream else "w+b")) if isinstance(target, Path) else target
        if container.library_format:
            sink = stack.enter_context(LibrarySink(file, container, sample_rate, channels, written))
        else:
            sink = WavWriter(
                file,
                sample_rate=sample_rate,
                channels=channels,
                sample_format=written,
                n_samples=n_samples,
                chunks=info_chunks(clean_tags((tags or {}).items())),
                rewindable=not is_stream,
                always_rf64=container.name == "RF64" and not is_stream,
            )
        return AudioWriter(
            sink,
            container=container,
            channels=channels,
            sample_format=written,
            first_sample=first_sample,
            resources=stack,
        )
