"""What a run tells: one line or JSON object per file, errors, and a progress bar on terminals."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvqcodec.batch.job import EXPECTED, Done, Job
from rvqcodec.batch.warned import warned
from rvqcodec.cli.entry import print_result, problem_of, status_of, tell
from rvqcodec.cli.text import say, shown
from rvqcodec.errors import OutputError

PARTLY_FAILED = 3


class Bar:
    """A progress bar that isn't drawn."""

    def started(self, job: Job) -> None:
        """Take note that a job begins."""

    def progressed(self, job: Job, seconds: float) -> None:
        """Take note that `seconds` of a job's audio are done."""

    def finished(self, job: Job, outcome: Done | Exception) -> None:
        """Take note of what came of a job."""


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

    @property
    def draws_bars(self) -> bool:
        """Whether progress is shown: on a terminal, unless it isn't wanted."""
        return not self.quiet and self.progress and not self.as_json and sys.stderr.isatty()

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

    def failed(self, names: Mapping[str, str], error: BaseException, fields: Sequence[str] = ()) -> int:
        """Tell of a failure and return its exit status.

        Args:
            names: What JSON says whatever comes of it: "file", or "input" and "output".
            error: What went wrong.
            fields: JSON fields that are null after a failure.
        """
        tell(error, _blamed(names, error), debug=self.debug)
        problem, hint = problem_of(error)
        status = status_of(error)
        failed = {"status": "failed", "error": problem, "hint": hint, "exit_status": status}
        self.record({**names, **failed, **dict.fromkeys(fields)})
        return status

    @contextlib.contextmanager
    def bar(self, jobs: Sequence[Job], duration_s: float | None) -> Iterator[Bar]:
        """Yield the bar of a run; it is drawn where stderr is a terminal.

        Args:
            jobs: All jobs.
            duration_s: The seconds of the only one, or None where nobody knows.
        """
        if not self.draws_bars:
            yield Bar()
            return
        from rvqcodec.cli.bar import drawn_bar

        with drawn_bar(jobs, duration_s) as bar:
            yield bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What went well: its JSON fields, and the line for people."""

    fields: Mapping[str, Any]
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One file's work.

    names: What JSON says whatever comes of it: "file", or "input" and "output".
    """

    names: Mapping[str, str]
    work: Callable[[], Outcome]


def run_tasks(tasks: Sequence[Task], report: Report, *, to_stdout: bool = False) -> int:
    """Do all tasks, also after failures; return the exit status: a single one's own, 3 when any of several failed.

    Args:
        tasks: In order.
        report: Where the outcomes go.
        to_stdout: Whether the lines for people are results rather than reports.
    """
    statuses = [_run(task, report, report.result if to_stdout else report.line) for task in tasks]
    return batch_status(statuses, report)


def batch_status(statuses: Sequence[int], report: Report) -> int:
    """Return the exit status of a run, and tell how many of several failed."""
    failed = [status for status in statuses if status]
    if len(statuses) > 1 and failed:
        report.line(f"{len(failed)} of {len(statuses)} files failed")
        return PARTLY_FAILED
    return failed[0] if failed else 0


def _run(task: Task, report: Report, show: Callable[[str], None]) -> int:
    try:
        with warned(functools.partial(report.warn, shown(next(iter(task.names.values())), "stdin"))):
            outcome = task.work()
    except EXPECTED as error:
        return report.failed(task.names, error)
    show(outcome.line)
    report.record({**task.names, "status": "done", "error": None, **outcome.fields})
    return 0


def _blamed(names: Mapping[str, str], error: BaseException) -> str:
    ordered = list(names.values())
    name, stream = (ordered[-1], "stdout") if isinstance(error, OutputError) else (ordered[0], "stdin")
    return shown(name, stream)
