"""Capture of the warnings that the package logs while it works on a file."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator


class _Handler(logging.Handler):
    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.warn = warn
        self.thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what other threads log: they are at other files."""
        return record.thread == self.thread

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self.warn(record.getMessage())


@contextlib.contextmanager
def warned(warn: Callable[[str], None]) -> Iterator[None]:
    """Call `warn` with each warning that the package logs meanwhile in this thread."""
    handler = _Handler(warn)
    logger = logging.getLogger("rvqcodec")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
