"""Listens to an engine and reports the outcome of each job: a line or a JSON object each, a report's row, and the totals."""

from __future__ import annotations

from rvqcodec.batch.engines.processes import interrupts_ignored
from rvqcodec.batch.job import Done, Job
from rvqcodec.cli.errors import PARTLY_FAILED, problem_of
from rvqcodec.cli.report import Bar, Report
from rvqcodec.cli.rows import Rows
from rvqcodec.cli.text import shown
from rvqcodec.cli.totals import Totals
from rvqcodec.cli.verbs import Verb


class Reporter:
    """Where an engine reports to.

    Args:
        report: How much is printed.
        verb: How the verb's outcomes read.
        bar: The progress bar.
        rows: The report's rows.
        n_jobs: Jobs in all.
        fail_fast: Whether the first failure ends the run.
    """

    def __init__(self, report: Report, verb: Verb, bar: Bar, rows: Rows, *, n_jobs: int, fail_fast: bool) -> None:
        self._report = report
        self._verb = verb
        self._bar = bar
        self._rows = rows
        self._n_jobs = n_jobs
        self._fail_fast = fail_fast
        self._status = 0
        self.totals = Totals()

    def started(self, job: Job) -> None:
        """Show the job."""
        self._bar.started(job)

    def progressed(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        """Move the bar."""
        self._bar.progressed(job, seconds, total_s)

    def warned(self, job: Job, text: str) -> None:
        """Print a warning."""
        self._report.warn(shown(job.source, "stdin"), text)

    def finished(self, job: Job, outcome: Done | Exception) -> bool:
        """Report the job's outcome; return whether to go on."""
        self._bar.finished(job, outcome)
        self.totals.add(outcome)
        places = {"input": job.source, "output": job.target}
        if isinstance(outcome, Exception):
            self._status = self._report.failed(self._verb.names(job), outcome, self._verb.null_fields)
            problem = problem_of(outcome)[0]
            self._rows.add({**places, "status": "failed", "error": problem, "exit_status": self._status})
            return not self._fail_fast
        fields = {"status": "skipped" if outcome.skipped else "done", "error": None, **self._verb.fields(outcome)}
        self._print_done(job, outcome)
        self._report.record({**self._verb.names(job), **fields})
        self._rows.add({**places, **fields, "exit_status": 0})
        return True

    def _print_done(self, job: Job, done: Done) -> None:
        if done.model:
            self._report.detail(f"{shown(job.source, 'stdin')}: {done.model}")
        if done.result.n_clipped:
            problem = f"{done.result.n_clipped} samples were past full scale (--bits float keeps them)"
            self._report.warn(shown(job.target, "stdout"), problem)
        show = self._report.result if self._verb.is_result else self._report.line
        show(self._verb.line(job, done))

    def cut_short(self) -> None:
        """End the report of a run that is interrupted: it says what was done until then."""
        with interrupts_ignored():
            self._rows.end({**self.totals.fields(), "interrupted": True})

    def end(self, *, with_table: bool) -> int:
        """Print the totals and return the exit status: a single job's own, 3 when any of several failed."""
        self._rows.end(self.totals.fields())
        if with_table:
            self._report.line(self.totals.table(self._n_jobs - self.totals.counts.total()))
        if failure := self.totals.failure(self._n_jobs):
            self._report.line(failure)
            return PARTLY_FAILED
        return self._status
