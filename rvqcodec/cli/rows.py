"""The file that --report names: the outcome of each file, as CSV or JSON."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from rvqcodec.batch.engines.processes import interrupts_ignored
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.verbs import FIELDS
from rvqcodec.formats.files import Output

COLUMNS = ("input", "output", "status", "error", *FIELDS, "exit_status")


class Rows(Protocol):
    """Where a report keeps the outcome of each file."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one file's fields."""

    def end(self, totals: Mapping[str, Any]) -> None:
        """Take the totals, last."""


class NoRows:
    """No report."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one file's fields."""

    def end(self, totals: Mapping[str, Any]) -> None:
        """Take the totals."""


class CsvRows:
    """A table, one line a file; the totals aren't in it."""

    def __init__(self, file: TextIO) -> None:
        self._table = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        self._table.writeheader()

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one line."""
        self._table.writerow(row)

    def end(self, totals: Mapping[str, Any]) -> None:
        """Leave the totals out."""


class JsonRows:
    """One object: "files", an object a line, and "totals"."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._before = '{"files": [\n'

    def add(self, row: Mapping[str, Any]) -> None:
        """Write one object."""
        self._file.write(self._before + json.dumps({name: row.get(name) for name in COLUMNS}))
        self._before = ",\n"

    def end(self, totals: Mapping[str, Any]) -> None:
        """Write the totals."""
        start = self._before if self._before != ",\n" else "\n"
        self._file.write(f'{start}], "totals": {json.dumps(totals)}}}\n')


@contextlib.contextmanager
def report_file(path: Path | None, *, overwrite: bool) -> Iterator[Rows]:
    """Open a report, which is there once the run has ended, also when it was interrupted.

    Raises:
        UsageError: Its name ends neither in .csv nor in .json.
        OutputError: It exists or can't be written.
    """
    if path is None:
        yield NoRows()
        return
    kinds: dict[str, type[CsvRows] | type[JsonRows]] = {".csv": CsvRows, ".json": JsonRows}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f"--report {path}: a report ends in .csv or .json")
    cut_short = None
    with contextlib.ExitStack() as at_end, Output(path, overwrite=overwrite).open() as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            yield kind(text)
        except BaseException as error:  # what was done until then stays worth reporting
            at_end.enter_context(interrupts_ignored())  # a second Ctrl-C would take the report away
            cut_short = error
        text.detach()  # flushed; the file itself is closed once it has its name
    if cut_short is not None:
        raise cut_short
