"""What a run tells: one line or JSON object per file, errors, and a progress bar on terminals."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvqcodec.cli.entry import print_result, problem_of, status_of, tell
from rvqcodec.cli.text import printable, say, shown
from rvqcodec.errors import OutputError, RvqError

PARTLY_FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How much is told.

    quiet: 1 shows no progress, 2 nothing but errors.
    as_json: Whether one object per file goes to standard output instead of lines.
    """

    quiet: int = 0
    verbose: bool = False
    as_json: bool = False
    progress: bool = True
    debug: bool = False

    def line(self, text: str) -> None:
        """Tell on stderr what was done."""
        if self.quiet < 2 and not self.as_json:
            say(text)

    def detail(self, text: str) -> None:
        """Tell on stderr what only some want to know."""
        if self.verbose:
            say(text)

    def warn(self, name: str, text: str) -> None:
        """Tell on stderr what went well but not quite."""
        if self.quiet < 2:
            say(f"rvq: {name}: {text}")

    def result(self, text: str) -> None:
        """Print on standard output what was asked for."""
        if self.quiet < 2 and not self.as_json:
            print_result(text)

    def record(self, fields: Mapping[str, Any]) -> None:
        """Print one JSON object on standard output."""
        if self.as_json:
            print_result(json.dumps(fields))

    @contextlib.contextmanager
    def warnings(self, name: str) -> Iterator[None]:
        """Tell what the package logs while it works on the file `name`."""
        handler = _Warnings(self, name)
        logger = logging.getLogger("rvqcodec")
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    @contextlib.contextmanager
    def bar(self, name: str, duration_s: float | None) -> Iterator[Callable[[float], None]]:
        """Yield what is called with the seconds of audio done; it draws a bar where stderr is a terminal."""
        if self.quiet or not self.progress or self.as_json or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rvqcodec.cli.bar import drawn_bar

        with drawn_bar(printable(name), duration_s) as update:
            yield update


class _Warnings(logging.Handler):
    """Passes log records on to a report."""

    def __init__(self, report: Report, name: str) -> None:
        super().__init__(logging.WARNING)
        self.report = report
        self.file = name

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        self.report.warn(self.file, record.getMessage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What went well: its JSON fields, and the line for people."""

    fields: Mapping[str, Any]
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One file's work.

    names: What JSON says whatever comes of it: "file", or "input" and "output".
    fields: JSON fields that are null after a failure.
    """

    names: Mapping[str, str]
    work: Callable[[], Outcome]
    fields: tuple[str, ...] = ()


def run_tasks(tasks: Sequence[Task], report: Report, *, to_stdout: bool = False) -> int:
    """Do all tasks, also after failures; return the exit status: a single one's own, 3 when any of several failed.

    Args:
        tasks: In order.
        report: Where the outcomes go.
        to_stdout: Whether the lines for people are results rather than reports.
    """
    statuses = [_run(task, report, report.result if to_stdout else report.line) for task in tasks]
    failed = [status for status in statuses if status]
    if len(tasks) > 1 and failed:
        report.line(f"{len(failed)} of {len(tasks)} files failed")
        return PARTLY_FAILED
    return failed[0] if failed else 0


def _run(task: Task, report: Report, show: Callable[[str], None]) -> int:
    try:
        with report.warnings(shown(next(iter(task.names.values())), "stdin")):
            outcome = task.work()
    except (RvqError, ValueError, MemoryError) as error:
        tell(error, _blamed(task, error), debug=report.debug)
        problem, hint = problem_of(error)
        status = status_of(error)
        failed = {"status": "failed", "error": problem, "hint": hint, "exit_status": status}
        report.record({**task.names, **failed, **dict.fromkeys(task.fields)})
        return status
    show(outcome.line)
    report.record({**task.names, "status": "done", "error": None, **outcome.fields})
    return 0


def _blamed(task: Task, error: BaseException) -> str:
    names = list(task.names.values())
    name, stream = (names[-1], "stdout") if isinstance(error, OutputError) else (names[0], "stdin")
    return shown(name, stream)
