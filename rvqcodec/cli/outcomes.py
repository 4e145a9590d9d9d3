"""What comes of the jobs of one run: a line or JSON object each, a report file, and the totals."""

from __future__ import annotations

import contextlib
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

from rvqcodec.batch.job import Done, Job
from rvqcodec.batch.workers import interrupts_ignored
from rvqcodec.cli.entry import UsageError, problem_of
from rvqcodec.cli.report import PARTLY_FAILED, Bar, Report
from rvqcodec.cli.text import format_rates, format_size, format_table, shown
from rvqcodec.formats.files import atomic_output
from rvqcodec.times import format_time

FIELDS = (
    "seconds",
    "x_real_time",
    "duration_s",
    "n_layers",
    "size_bytes",
    "nominal_kbps",
    "actual_kbps",
    "input_bytes",
)
COLUMNS = ("input", "output", "status", "error", *FIELDS, "exit_status")
MAX_REASONS = 10


@dataclass(slots=True)
class Totals:
    """Counts and sums over a run."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    audio_s: float = 0.0
    coded_s: float = 0.0
    n_bytes_in: int = 0
    n_bytes_out: int = 0
    n_bytes_coded: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, outcome: Done | Exception) -> None:
        """Count one outcome."""
        if isinstance(outcome, Exception):
            self.counts["failed"] += 1
            self.reasons[problem_of(outcome)[0]] += 1
            return
        self.counts["skipped" if outcome.skipped else "done"] += 1
        self.audio_s += outcome.result.duration_s
        self.coded_s += 0.0 if outcome.skipped else outcome.result.duration_s
        self.n_bytes_in += outcome.n_bytes_in
        self.n_bytes_out += outcome.n_bytes_out
        self.n_bytes_coded += outcome.result.actual_kbps * outcome.result.duration_s * 125

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def fields(self) -> dict[str, Any]:
        """Return all as fields of JSON."""
        return {
            **{name: self.counts[name] for name in ("done", "skipped", "failed")},
            "audio_hours": round(self.audio_s / 3600, 4),
            "seconds": round(self.seconds, 3),
            "x_real_time": round(self.coded_s / self.seconds, 2),
            "input_bytes": self.n_bytes_in,
            "output_bytes": self.n_bytes_out,
            "actual_kbps": round(8 * self.n_bytes_coded / self.audio_s / 1000, 3) if self.audio_s else None,
            "reasons": dict(self.reasons.most_common()),
        }

    def table(self, n_not_run: int) -> str:
        """Return all for people."""
        counted = [f"{self.counts[name]} {name}" for name in ("done", "skipped", "failed")]
        rows = [("files", ", ".join([*counted, f"{n_not_run} not begun"] if n_not_run else counted))]
        rows += [("failed", f"{n} x {reason}") for reason, n in self.reasons.most_common(MAX_REASONS)]
        speed = f"{self.coded_s / self.seconds:.3g} x real time"
        hours = f"{self.audio_s / 3600:.2f} h" if self.audio_s >= 3600 else format_time(self.audio_s)
        rows += [("audio", f"{hours}  {format_time(self.seconds)} of work  {speed}")]
        ratio = f"  1 : {self.n_bytes_in / self.n_bytes_out:.3g}" if 0 < self.n_bytes_out <= self.n_bytes_in else ""
        rows += [("bytes", f"{format_size(self.n_bytes_in)} in, {format_size(self.n_bytes_out)} out{ratio}")]
        if self.audio_s:
            rows += [("bitrate", f"{8 * self.n_bytes_coded / self.audio_s / 1000:.2f} kbps on disk")]
        return format_table(rows)


class Rows(Protocol):
    """Where a report keeps what came of each file."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one file's fields."""

    def end(self, totals: Mapping[str, Any]) -> None:
        """Take the totals, last."""


class NoRows:
    """No report is wanted."""

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
    with (
        contextlib.ExitStack() as at_end,
        atomic_output(path, overwrite=overwrite) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        try:
            yield kind(file)
        except BaseException as error:  # what was done until then stays worth telling
            at_end.enter_context(interrupts_ignored())  # a second Ctrl-C would take the report away
            cut_short = error
    if cut_short is not None:
        raise cut_short


class Teller:
    """Listens to an engine and tells what comes of each job."""

    def __init__(self, report: Report, bar: Bar, rows: Rows, *, n_jobs: int, fail_fast: bool) -> None:
        self._report = report
        self._bar = bar
        self._rows = rows
        self._n_jobs = n_jobs
        self._fail_fast = fail_fast
        self._status = 0
        self.totals = Totals()

    def started(self, job: Job) -> None:
        """Show the job."""
        self._bar.started(job)

    def progressed(self, job: Job, seconds: float) -> None:
        """Move the bar."""
        self._bar.progressed(job, seconds)

    def warned(self, job: Job, text: str) -> None:
        """Tell a warning."""
        self._report.warn(shown(job.source, "stdin"), text)

    def finished(self, job: Job, outcome: Done | Exception) -> bool:
        """Tell what came of the job; return whether to go on."""
        self._bar.finished(job, outcome)
        self.totals.add(outcome)
        names = {"input": job.source, "output": job.target}
        if isinstance(outcome, Exception):
            self._status = self._report.failed(names, outcome, FIELDS)
            problem = problem_of(outcome)[0]
            self._rows.add({**names, "status": "failed", "error": problem, "exit_status": self._status})
            return not self._fail_fast
        fields = {**names, "status": "skipped" if outcome.skipped else "done", "error": None, **json_fields(outcome)}
        self._tell_done(job, outcome)
        self._report.record(fields)
        self._rows.add({**fields, "exit_status": 0})
        return True

    def _tell_done(self, job: Job, done: Done) -> None:
        if done.model:
            self._report.detail(f"{shown(job.source, 'stdin')}: {done.model}")
        if done.result.n_clipped:
            problem = f"{done.result.n_clipped} samples were past full scale (--bits float keeps them)"
            self._report.warn(shown(job.target, "stdout"), problem)
        self._report.line(line_of(job, done))

    def cut_short(self) -> None:
        """End the report of a run that is interrupted: it tells what was done until then."""
        with interrupts_ignored():
            self._rows.end({**self.totals.fields(), "interrupted": True})

    def end(self, *, with_table: bool) -> int:
        """Tell the totals and return the exit status: a single job's own, 3 when any of several failed."""
        self._rows.end(self.totals.fields())
        n_failed = self.totals.counts["failed"]
        if with_table:
            self._report.line(self.totals.table(self._n_jobs - self.totals.counts.total()))
        if self._n_jobs > 1 and n_failed:
            self._report.line(f"{n_failed} of {self._n_jobs} files failed")
            return PARTLY_FAILED
        return self._status


def json_fields(done: Done) -> dict[str, Any]:
    """Return what JSON says of a job that went well."""
    result = done.result
    return {
        "seconds": round(done.seconds, 3),
        "x_real_time": None if done.skipped else round(_speed(done), 2),
        "duration_s": result.duration_s,
        "n_samples": result.n_samples,
        "sample_rate": result.sample_rate,
        "channels": result.channels,
        "n_layers": result.n_layers,
        "size_bytes": done.n_bytes_out,
        "nominal_kbps": result.nominal_kbps,
        "actual_kbps": result.actual_kbps,
        "n_clipped": result.n_clipped,
        "input_bytes": done.n_bytes_in,
    }


def line_of(job: Job, done: Done) -> str:
    """Return the line for people."""
    result = done.result
    parts = (
        f"{shown(job.source, 'stdin')} -> {shown(job.target, 'stdout')}",
        format_time(result.duration_s),
        format_rates(result.n_layers, result.nominal_kbps, result.actual_kbps),
        format_size(done.n_bytes_out),
        "done before" if done.skipped else f"{_speed(done):.3g} x real time",
    )
    return "  ".join(parts)


def _speed(done: Done) -> float:
    return done.result.duration_s / done.seconds if done.seconds > 0 else 0.0
