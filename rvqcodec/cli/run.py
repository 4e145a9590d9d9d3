"""The runner of all verbs: checks the options, runs the jobs on an engine and reports their outcomes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rvqcodec.batch.engines import choose_engine
from rvqcodec.batch.job import STREAM, Job
from rvqcodec.batch.work import Work
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.plan import Plan
from rvqcodec.cli.report import Bar, Report
from rvqcodec.cli.reporter import Reporter
from rvqcodec.cli.rows import report_file
from rvqcodec.cli.verbs import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How several files are worked on.

    n_workers: Files processed in parallel; 0 chooses by the machine and the amount of work.
    fail_fast: Whether the first failure ends the run.
    report: Where a line for each file is written, or None.
    ray_address: The Ray cluster that does the work, or None for this machine.
    """

    n_workers: int = 0
    fail_fast: bool = False
    report: Path | None = None
    ray_address: str | None = None


def batch_of(n_jobs: int | None, fail_fast: bool, report: str | None, engine: str, ray_address: str | None) -> Batch:
    """Return what the flags say of several files.

    Raises:
        UsageError: Ray is not installed, or its address is given without --engine ray.
    """
    if engine != "ray" and ray_address is not None:
        raise UsageError("--ray-address is for --engine ray")
    if engine == "ray" and find_spec("ray") is None:
        raise UsageError("--engine ray needs Ray, which is not installed", "pip install 'rvqcodec[ray]'")
    return Batch(
        n_workers=n_jobs or 0,
        fail_fast=fail_fast,
        report=None if report is None else Path(report),
        ray_address=(ray_address or "auto") if engine == "ray" else None,
    )


def run(plan: Plan, work: Work, verb: Verb, batch: Batch, report: Report) -> int:
    """Do all jobs, report their outcomes, and return the exit status: a single job's own, 3 when any of several failed.

    Raises:
        UsageError: Options contradict each other.
        OutputError: The report can't be written.
    """
    refuse_stream_conflicts(plan.jobs, verb, as_json=report.as_json, remove=work.settings.remove)
    if batch.ray_address is not None and any(job.has_stream for job in plan.jobs):
        raise UsageError("--engine ray can't reach standard input and output", "name files")
    overwrite = work.settings.overwrite or work.settings.resume
    with report_file(batch.report, overwrite=overwrite) as rows:
        engine = choose_engine(plan.jobs, work, batch.n_workers, batch.ray_address)
        with progress_bar(plan.jobs, report) as bar:
            reporter = Reporter(report, verb, bar, rows, n_jobs=len(plan.jobs), fail_fast=batch.fail_fast)
            try:
                engine.run(plan.jobs, work, reporter)
            except BaseException:
                reporter.cut_short()
                raise
        return reporter.end(with_table=plan.has_tree)


@contextlib.contextmanager
def progress_bar(jobs: Sequence[Job], report: Report) -> Iterator[Bar]:
    """Yield the bar of a run; it is drawn where stderr is a terminal."""
    if not report.draws_bars:
        yield Bar()
        return
    from rvqcodec.cli.bar import drawn_bar

    with drawn_bar(jobs) as bar:
        yield bar


def refuse_stream_conflicts(jobs: tuple[Job, ...], verb: Verb, *, as_json: bool, remove: bool) -> None:
    """Refuse binary on a terminal or from one, JSON mixed with binary, and the removal of what isn't a file.

    Raises:
        UsageError: One of them is asked for.
    """
    to_stdout = any(job.target == STREAM for job in jobs)
    if to_stdout and as_json:
        raise UsageError("--json and the output both go to standard output", "name the output with -o FILE")
    if to_stdout and sys.stdout.isatty():
        raise UsageError("binary output is not written to a terminal", "name the output with -o FILE, or pipe it on")
    if remove and any(job.has_stream for job in jobs):
        raise UsageError("--rm needs a file as input and as output")
    if any(job.source == STREAM for job in jobs) and sys.stdin.isatty():
        raise UsageError("standard input is a terminal", "pipe a file in, or name one")
