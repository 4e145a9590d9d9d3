"""Opens what is read and written: paths, whole or not at all, and streams such as standard input and output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from rvqcodec.errors import AudioError
from rvqcodec.formats.audio.pcm import SampleFormat
from rvqcodec.formats.audio.writer import AudioWriter, open_writer
from rvqcodec.formats.files import atomic_output, check_output, is_special
from rvqcodec.signal import Signal

Place = Path | str | BinaryIO
WIDENED = {
    SampleFormat.UNKNOWN: SampleFormat.S16,
    SampleFormat.U8: SampleFormat.S16,
    SampleFormat.F64: SampleFormat.F32,
}


def open_output(stack: ExitStack, source: Place | None, target: Place, overwrite: bool) -> BinaryIO:
    """Return the stream to write to: the target itself, or a temporary file that becomes it when all went well."""
    if not isinstance(target, (str, Path)):
        return target
    check_output(Path(source) if isinstance(source, (str, Path)) else None, Path(target), overwrite=overwrite)
    return stack.enter_context(stack.enter_context(atomic_output(Path(target), overwrite=overwrite)).open("wb"))


def open_rvq(stack: ExitStack, source: Place) -> BinaryIO:
    """Return the stream to read from.

    Raises:
        AudioError: There is no such file, or it can't be read.
    """
    if not isinstance(source, (str, Path)):
        return source
    try:
        return stack.enter_context(Path(source).open("rb"))
    except OSError as error:
        raise AudioError((error.strerror or str(error)).lower()) from error


@contextmanager
def open_audio_output(
    target: Place,
    signal: Signal,
    *,
    sample_rate: int,
    sample_format: SampleFormat | None,
    start: int,
    n_samples: int | None,
    tags: Mapping[str, str],
    overwrite: bool,
) -> Iterator[tuple[AudioWriter, Path | None]]:
    """Yield what writes audio, and the temporary path that becomes the target when all went well; None for streams.

    Args:
        target: A file, whose suffix chooses the container, or a stream, which gets WAV.
        signal: What is decoded.
        sample_rate: Of the output, Hz.
        sample_format: Of the output; None takes the source's, 16 bit where it had less or was lossy.
        start: First source sample.
        n_samples: Samples per channel to come, or None where it isn't known.
        tags: For streams, which carry them before the samples; files get theirs when they are whole.
        overwrite: Whether an existing target is replaced.

    Raises:
        OutputError: The target exists, can't be written, or can't hold the audio.
    """
    source_format = SampleFormat(signal.sample_format)
    with ExitStack() as stack:
        path, suffix = None, None
        if isinstance(target, (str, Path)):
            suffix = Path(target).suffix
            target = stack.enter_context(atomic_output(Path(target), overwrite=overwrite))
            path = None if is_special(target) else target
        writer = open_writer(
            target,
            sample_rate=sample_rate,
            channels=signal.channels,
            sample_format=sample_format or WIDENED.get(source_format, source_format),
            n_samples=n_samples,
            suffix=suffix,
            first_sample=signal.scaled(start, sample_rate),
            tags=tags if path is None else None,
        )
        yield stack.enter_context(writer), path
