"""Opens what is read and written: paths, whole or not at all, and streams such as standard input and output."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from rvqcodec.errors import AudioError
from rvqcodec.formats.files import atomic_output, check_output

Place = Path | str | BinaryIO


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
        raise AudioError((error.strerror or "it can't be read").lower()) from error
