"""The progress bar, apart because rich takes a tenth of a second to load."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from rvqcodec.times import format_time


class SpeedColumn(ProgressColumn):
    """Seconds of audio done, and how many a second of work does."""

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        speed = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{format_time(task.completed)}  {speed:.1f} x real time")


@contextlib.contextmanager
def drawn_bar(name: str, duration_s: float | None) -> Iterator[Callable[[float], None]]:
    """Draw a bar on stderr, removed at the end, and yield what moves it to a count of seconds.

    Args:
        name: What is worked on.
        duration_s: Seconds in all, or None where nobody knows.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), SpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=duration_s or None)
        yield lambda seconds: progress.update(task, completed=seconds)
