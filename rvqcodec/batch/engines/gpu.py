"""The engine of one GPU: several files in parallel threads, whose windows share the model and its batches."""

from __future__ import annotations

import functools
import queue
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvqcodec.batch.engines.lost import largest_first
from rvqcodec.batch.job import Done, Job, Listener
from rvqcodec.batch.work import Codecs, Work, attempt

DEFAULT_FILES = 8
WINDOWS_AHEAD = 64
"""Of all files: some run as a batch, the others come together as the next one (`models.batching`); 4 MB each in stereo."""
DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")


class _Stop(BaseException):
    """Ends a file that nobody waits for any more, with nothing half-written."""


def is_gpu(device: str) -> bool:
    """Return whether a device is a GPU; `auto` imports torch only where the system shows one."""
    if device != "auto":
        return device != "cpu"
    if not any(Path(name).exists() for name in DEVICE_FILES):
        return False
    import torch

    return torch.cuda.is_available()


@dataclass(frozen=True, slots=True)
class Gpu:
    """Jobs in threads of this process, `n_files` at a time (0: a usual number), the largest inputs first."""

    n_files: int = 0

    def run(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        """Do all jobs, unless the listener asks to stop."""
        n_files = max(1, min(len(jobs), self.n_files or DEFAULT_FILES))
        run = _Run(jobs, work.threaded(-(-WINDOWS_AHEAD // n_files)))
        threads = [threading.Thread(target=run.work_off) for _ in range(n_files)]
        try:
            for thread in threads:
                thread.start()
            run.listen(listener)
        finally:
            run.stopped.set()
            for thread in threads:
                if thread.ident is not None:  # it was started
                    thread.join()


class _Run:
    """What the threads share: jobs to take, and a queue of what there is to report."""

    def __init__(self, jobs: Sequence[Job], work: Work) -> None:
        self.stopped = threading.Event()
        self._jobs = deque(largest_first(jobs))
        self._n_open = len(jobs)
        self._work = work
        self._codecs = Codecs(work.settings.device)
        self._news: queue.SimpleQueue[tuple[str, Job, Any]] = queue.SimpleQueue()

    def listen(self, listener: Listener) -> None:
        """Call the listener, in its own thread, until all jobs are finished or it asks to stop."""
        while self._n_open:
            kind, job, value = self._news.get()
            if kind == "finished":
                self._n_open -= 1
                if not listener.finished(job, value):
                    return
            elif kind == "started":
                listener.started(job)
            elif kind == "progress":
                listener.progressed(job, *value)
            else:
                listener.warned(job, value)

    def work_off(self) -> None:
        """Do jobs, in a thread."""
        while not self.stopped.is_set():
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            self._report("started", job, None)
            warn = functools.partial(self._report, "warning", job)
            progress = functools.partial(self._go_on, job)
            try:
                outcome: Done | Exception = attempt(self._work, job, self._codecs, progress, warn)
            except _Stop:
                return
            self._report("finished", job, outcome)

    def _report(self, kind: str, job: Job, value: Any) -> None:
        self._news.put((kind, job, value))

    def _go_on(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        if self.stopped.is_set():
            raise _Stop
        self._report("progress", job, (seconds, total_s))
