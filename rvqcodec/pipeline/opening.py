"""Opening of inputs and outputs, each once: paths, and streams such as standard input and output."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from rvqcodec.errors import AudioError, reason_of
from rvqcodec.formats.audio.provenance import PIECE_BYTES, Provenance, file_provenance
from rvqcodec.formats.files import Output
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.stream import RvqReader, Tail

Place = Path | str | BinaryIO
Target = Output | BinaryIO


class Opened:
    """An .rvq file that is opened once and handed on from the plan to the work: its header, what stands at its end, its hash.

    Args:
        file: At its start; a pipe may still grow.

    Raises:
        FormatError: The signature or the header isn't whole.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.reader = RvqReader(file)
        self._tail: Tail | None = None
        self._provenance: Provenance | None = None

    @property
    def header(self) -> Header:
        """The file's header."""
        return self.reader.header

    @property
    def tail(self) -> Tail | None:
        """What stands after the chunks, or None of a pipe, which tells it last; what follows is read from the first chunk.

        Raises:
            FormatError: It is damaged or missing.
        """
        if self._tail is None and self.file.seekable():
            self._tail = self.reader.read_tail()
            self.reader.rewind()
        return self._tail

    def provenance(self) -> Provenance:
        """Return size and hash of a file that can seek, taken once; its position stays.

        Raises:
            AudioError: It can't be read.
        """
        if self._provenance is None:
            try:
                self._provenance = file_provenance(self.file)
            except OSError as error:
                raise read_error(error) from error
        return self._provenance

    def rewound(self) -> BinaryIO:
        """Return a file that can seek, at its start."""
        self.file.seek(0)
        return self.file


@contextmanager
def open_rvq(source: Place, *, seekable: bool = False) -> Iterator[Opened]:
    """Open an .rvq file for reading.

    Args:
        source: A file, or a stream, which stays open.
        seekable: Whether streams and pipes are read by way of a temporary file, so that all can seek.

    Raises:
        AudioError: There is no such file, or it can't be read.
        FormatError: It isn't an .rvq file, or its header is damaged.
    """
    with ExitStack() as stack:
        if isinstance(source, (str, Path)):
            file = _opened(stack, Path(source))
            is_ready = file.seekable()
        else:
            file, is_ready = source, False
        yield Opened(_spooled(stack, file) if seekable and not is_ready else file)


def _opened(stack: ExitStack, path: Path) -> BinaryIO:
    try:
        return stack.enter_context(path.open("rb"))
    except OSError as error:
        raise read_error(error) from error


def _spooled(stack: ExitStack, source: BinaryIO) -> BinaryIO:
    """Return a temporary file without a name that holds all of a stream."""
    try:
        copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        while piece := source.read(PIECE_BYTES):
            copy.write(piece)
        copy.seek(0)
    except OSError as error:
        raise AudioError(f"the input cannot be kept in a temporary file: {reason_of(error)}", "set TMPDIR") from error
    return copy


def read_error(error: OSError) -> AudioError:
    """Return the AudioError that says plainly why an input can't be read."""
    return AudioError(reason_of(error))


def output_at(target: Place, source: Place | None, *, overwrite: bool) -> Target:
    """Return an output, refused here where it may not be written, or the stream that was given.

    Raises:
        OutputError: The target is the source, is a folder, exists without `overwrite`, or its folder doesn't exist.
    """
    if not isinstance(target, (str, Path)):
        return target
    path = Path(source) if isinstance(source, (str, Path)) else None
    return Output(Path(target), source=path, overwrite=overwrite)


def opened_output(target: Target) -> AbstractContextManager[BinaryIO]:
    """Return the context in which an output is written; what becomes a file gets its name when the block ends well."""
    return target.open() if isinstance(target, Output) else nullcontext(target)


def is_new_file(target: Target) -> bool:
    """Return whether an output is a file that gets its name when it is whole, rather than a stream, a pipe or a device."""
    return isinstance(target, Output) and not target.is_special
