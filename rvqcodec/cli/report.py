"""What a run prints: lines or JSON objects, errors, and a progress bar on terminals."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rvqcodec.cli.errors import problem_of, report_error, status_of
from rvqcodec.cli.text import print_result, say, shown
from rvqcodec.errors import OutputError

if TYPE_CHECKING:
    from rvqcodec.batch.job import Done, Job


class Bar:
    """A progress bar that isn't drawn."""

    def started(self, job: Job) -> None:
        """Take note that a job begins."""

    def progressed(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        """Take note that `seconds` of a job's audio are done, of `total_s` where they are known."""

    def finished(self, job: Job, outcome: Done | Exception) -> None:
        """Take note of the outcome of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How much is printed.

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
        """Whether progress is shown: on a terminal, unless a flag turns it off."""
        return not self.quiet and self.progress and not self.as_json and sys.stderr.isatty()

    def line(self, text: str) -> None:
        """Print on stderr what was done."""
        if self.quiet < 2 and not self.as_json:
            say(text)

    def detail(self, text: str) -> None:
        """Print on stderr what --verbose adds."""
        if self.verbose:
            say(text)

    def warn(self, name: str, text: str) -> None:
        """Print on stderr what went well but not quite."""
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

    def failed(
        self, names: Mapping[str, str], error: BaseException, fields: Sequence[str] = (), name: str | None = None
    ) -> int:
        """Print a failure and return its exit status.

        Args:
            names: What JSON says whatever comes of it: "file", or "input" and "output".
            error: What went wrong.
            fields: JSON fields that are null after a failure.
            name: The file that failed, or "" where the error names it; by default the input or the output.
        """
        report_error(error, _blamed(names, error) if name is None else name, debug=self.debug)
        problem, hint = problem_of(error)
        status = status_of(error)
        failed = {"status": "failed", "error": problem, "hint": hint, "exit_status": status}
        self.record({**names, **failed, **dict.fromkeys(fields)})
        return status


def _blamed(names: Mapping[str, str], error: BaseException) -> str:
    ordered = list(names.values())
    name, stream = (ordered[-1], "stdout") if isinstance(error, OutputError) else (ordered[0], "stdin")
    return shown(name, stream)
