"""The progress bars, apart because rich takes a tenth of a second to load."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from rvqcodec.batch.job import Done, Job
from rvqcodec.cli.report import Bar
from rvqcodec.cli.text import printable
from rvqcodec.times import format_time

MAX_NAME = 40


class SpeedColumn(ProgressColumn):
    """Seconds of audio done, and how many per second of processing."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        seconds = task.fields["audio_s"]
        speed = seconds / task.elapsed if task.elapsed else 0.0
        hours = f"{seconds / 3600:.2f} h" if seconds >= 3600 else format_time(seconds)
        return Text(f"{hours}  {speed:.1f} x real time")


class SingleBar(Bar):
    """One file, by its seconds."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def progressed(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        """Move the bar; its end is set when the file's length is known."""
        if total_s:
            self._progress.update(self._task, total=total_s)
        self._progress.update(self._task, completed=seconds, audio_s=seconds)


class BatchBar(Bar):
    """Many files, by the bytes of the inputs: their seconds aren't known before they are opened."""

    def __init__(self, progress: Progress, task: TaskID, n_jobs: int) -> None:
        self._progress = progress
        self._task = task
        self._n_jobs = n_jobs
        self._n_done = 0
        self._n_bytes = 0
        self._audio_s = 0.0
        self._running: dict[Job, float] = {}

    def started(self, job: Job) -> None:
        """Show one more name."""
        self._running[job] = 0.0
        self._show()

    def progressed(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        """Count seconds of audio."""
        self._running[job] = seconds
        self._show()

    def finished(self, job: Job, outcome: Done | Exception) -> None:
        """Move the bar."""
        self._running.pop(job, None)
        self._n_done += 1
        self._n_bytes += max(1, job.n_bytes)
        if isinstance(outcome, Done) and not outcome.skipped:
            self._audio_s += outcome.result.duration_s
        self._show()

    def _show(self) -> None:
        names = ", ".join(printable(job.source)[-MAX_NAME:] for job in self._running)
        self._progress.update(
            self._task,
            completed=self._n_bytes,
            audio_s=self._audio_s + sum(self._running.values()),
            description=f"{self._n_done}/{self._n_jobs} files",
            names=names,
        )


@contextlib.contextmanager
def drawn_bar(jobs: Sequence[Job]) -> Iterator[Bar]:
    """Draw a bar on stderr, removed at the end, and yield what moves it."""
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), SpeedColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[names]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as progress:
        if len(jobs) == 1:
            name = printable(jobs[0].source)
            yield SingleBar(progress, progress.add_task(name, total=None, audio_s=0.0, names=""))
        else:
            total = sum(max(1, job.n_bytes) for job in jobs)
            yield BatchBar(progress, progress.add_task("", total=total, audio_s=0.0, names=""), len(jobs))
