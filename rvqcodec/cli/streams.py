"""Standard input and output as bytes, and files opened for reading, each refused where it makes no sense."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rvqcodec.batch.job import Job
from rvqcodec.cli.entry import ClosedPipe, UsageError
from rvqcodec.errors import AudioError
from rvqcodec.formats.files import atomic_output, check_output, is_special, write_error

PIECE_BYTES = 1 << 20


def stdin_bytes() -> BinaryIO:
    """Return standard input.

    Raises:
        UsageError: It is a terminal.
    """
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "pipe a file in, or name one")
    return sys.stdin.buffer


def refuse_stream_conflicts(jobs: tuple[Job, ...], *, as_json: bool, remove: bool) -> None:
    """Refuse binary on a terminal, JSON mixed with binary, and the removal of what isn't a file.

    Raises:
        UsageError: One of them is asked for.
    """
    to_stdout = any(job.target_path is None for job in jobs)
    if to_stdout and as_json:
        raise UsageError("--json and the output both want standard output", "name the output with -o FILE")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("binary output is not written to a terminal", "name the output with -o FILE, or pipe it on")
    if remove and any(job.source_path is None or job.target_path is None for job in jobs):
        raise UsageError("--rm needs files on both sides")


@contextlib.contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading.

    Raises:
        AudioError: It is absent or can't be read.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise AudioError((error.strerror or str(error)).lower()) from error
    with file:
        yield file


@contextlib.contextmanager
def open_seekable(path: Path | None) -> Iterator[BinaryIO]:
    """Open a file, or standard input by way of a temporary file, so that it can seek.

    Raises:
        AudioError: It is absent or can't be read.
    """
    if path is not None and not is_special(path):
        with open_input(path) as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        with _source(path) as source:
            _spool(source, copy)
        yield copy


def _spool(source: BinaryIO, copy: BinaryIO) -> None:
    try:
        while piece := source.read(PIECE_BYTES):
            copy.write(piece)
        copy.seek(0)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AudioError(f"the input cannot be kept in a temporary file: {reason}", "set TMPDIR") from error


@contextlib.contextmanager
def _source(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield stdin_bytes()
        return
    with open_input(path) as file:
        yield file


@contextlib.contextmanager
def open_output(job: Job, *, overwrite: bool) -> Iterator[BinaryIO]:
    """Open a job's output: standard output, or a file that is whole or absent at the end.

    Raises:
        OutputError: It is the input, exists, or can't be written.
    """
    if job.target_path is None:
        with flushed_stdout() as stdout:
            yield stdout
        return
    check_output(job.source_path, job.target_path, overwrite=overwrite)
    with atomic_output(job.target_path, overwrite=overwrite) as path, path.open("wb") as file:
        yield file


@contextlib.contextmanager
def flushed_stdout() -> Iterator[BinaryIO]:
    """Yield standard output for bytes.

    Raises:
        ClosedPipe: Its reader has gone.
        OutputError: It can't be written.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise ClosedPipe from error
    except OSError as error:
        raise write_error(error) from error
