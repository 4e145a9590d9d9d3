"""Standard input and output as bytes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import BinaryIO

from rvqcodec.formats.files import writing


def stdin_bytes() -> BinaryIO:
    """Return standard input."""
    return sys.stdin.buffer


@contextlib.contextmanager
def stdout_bytes() -> Iterator[BinaryIO]:
    """Yield standard output, flushed at the end.

    Raises:
        BrokenPipeError: Its reader has gone.
        OutputError: It can't be written.
    """
    with writing():
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
