"""The engine of one machine: worker processes with one thread each, which load the model once.

Jobs go out in groups of short files over a pipe for each worker, answers come back one by one. A worker that is lost (killed, or
out of memory) costs nothing but the file it was at, which is tried once more.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NoReturn

from rvqcodec.batch.engines.lost import Losses, largest_first
from rvqcodec.batch.job import Job, Listener
from rvqcodec.batch.work import Codecs, Work, attempt
from rvqcodec.formats.files import remove_leftover
from rvqcodec.pipeline.threads import default_threads

MAX_GROUP_FILES = 8
MAX_GROUP_BYTES = 2 << 20
PROGRESS_S = 0.2
PATIENCE_S = 20.0

_spawn = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class _Worker:
    """A process, our end of its pipe, and the jobs it was sent that aren't finished: the first is at work."""

    process: BaseProcess
    connection: Connection[Any, Any]
    jobs: deque[Job] = field(default_factory=deque)


def worth_of_workers(jobs: Sequence[Job], bytes_per_worker: int) -> int:
    """Return how many processes are worth their start: one for each core, fewer where there is little to do."""
    n_bytes = sum(job.n_bytes for job in jobs)
    return max(1, min(default_threads(), n_bytes // bytes_per_worker))


@dataclass(frozen=True, slots=True)
class Processes:
    """Jobs in `n_workers` processes, the largest inputs first."""

    n_workers: int

    def run(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        """Do all jobs, unless the listener asks to stop."""
        pool = _Pool(jobs, work.threaded(1), listener)
        try:
            pool.run(self.n_workers)
        finally:
            pool.stop()


def grouped(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Yield jobs in their order, several short ones together."""
    group: list[Job] = []
    n_bytes = 0
    for job in jobs:
        if group and (len(group) == MAX_GROUP_FILES or n_bytes + job.n_bytes > MAX_GROUP_BYTES):
            yield group
            group, n_bytes = [], 0
        group.append(job)
        n_bytes += job.n_bytes
    if group:
        yield group


class _Pool:
    """The parent's side."""

    def __init__(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        self._groups = grouped(largest_first(jobs))
        self._again: deque[Job] = deque()
        self._losses = Losses(listener)
        self._work = work
        self._listener = listener
        self._workers: list[_Worker] = []

    def run(self, n_workers: int) -> None:
        """Feed workers until all jobs are finished or the listener asks to stop."""
        for _ in range(n_workers):
            group = self._next_group()
            if group:
                self._start(group)
        while busy := [worker for worker in self._workers if worker.jobs]:
            for connection in wait([worker.connection for worker in busy]):
                worker = next(worker for worker in busy if worker.connection is connection)
                if not self._hear(worker):
                    return

    def stop(self) -> None:
        """End all workers and wait for them; what they were at leaves no file behind. A second interrupt kills them."""
        try:
            for worker in self._workers:
                worker.connection.close()
                if worker.jobs:
                    worker.process.terminate()
            deadline = time.monotonic() + PATIENCE_S
            for worker in self._workers:
                worker.process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for worker in self._workers:
                _discard(worker)

    def _start(self, group: list[Job]) -> None:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_serve, args=(theirs, self._work), daemon=True)
        with interrupts_ignored():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        self._send(worker, group)

    def _send(self, worker: _Worker, group: list[Job]) -> None:
        worker.jobs.extend(group)
        with contextlib.suppress(OSError):  # a worker that is lost is met where it is heard
            worker.connection.send([(job, self._losses.is_again(job)) for job in group])

    def _next_group(self) -> list[Job]:
        return [self._again.popleft()] if self._again else next(self._groups, [])

    def _hear(self, worker: _Worker) -> bool:
        """Take one message of a worker; return whether to go on."""
        try:
            kind, value = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace(worker)
        if kind == "started":
            self._listener.started(worker.jobs[0])
        elif kind == "progress":
            self._listener.progressed(worker.jobs[0], *value)
        elif kind == "warning":
            self._listener.warned(worker.jobs[0], value)
        elif not self._listener.finished(worker.jobs.popleft(), value):
            return False
        if not worker.jobs and (group := self._next_group()):
            self._send(worker, group)
        return True

    def _replace(self, worker: _Worker) -> bool:
        """Discard a lost worker, and start another for what it leaves; return whether to go on."""
        self._workers.remove(worker)
        worker.process.join(PATIENCE_S)
        lost, *rest = worker.jobs
        _discard(worker)
        self._again.extend(rest)
        error = self._losses.add(lost, _ending(worker.process.exitcode))
        if error is None:
            self._again.append(lost)
        elif not self._listener.finished(lost, error):
            return False
        if group := self._next_group():
            self._start(group)
        return True


def _discard(worker: _Worker) -> None:
    """Make sure that a worker has ended, and remove what it may have left."""
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.connection.close()
    if worker.jobs and worker.jobs[0].target_path is not None:
        remove_leftover(worker.jobs[0].target_path)


def _ending(status: int | None) -> str:
    return f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Let nothing inside be cut off by Ctrl-C; processes started here ignore it from their first moment on, the parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection[Any, Any], work: Work) -> None:
    """Run in a worker: do groups of jobs until the pipe ends. It leaves without taking torch down, which takes 0.8 s."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, _leave)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
        _work_off(connection, work)
        status = 0
    except (EOFError, OSError, SystemExit):  # the parent has gone, or asked to stop
        status = 0
    finally:
        os._exit(status)


def _work_off(connection: Connection[Any, Any], work: Work) -> None:
    codecs = Codecs(work.settings.device)

    def warn(text: str) -> None:
        connection.send(("warning", text))

    while True:
        for job, again in connection.recv():
            connection.send(("started", None))
            outcome = attempt(work, job, codecs, _Progress(connection).send, warn, again=again)
            connection.send(("finished", outcome))


class _Progress:
    """Sends progress no oftener than people can see."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._sent = time.monotonic()

    def send(self, seconds: float, total_s: float | None = None) -> None:
        """Send the seconds of audio done."""
        now = time.monotonic()
        if now - self._sent >= PROGRESS_S:
            self._sent = now
            self._connection.send(("progress", (seconds, total_s)))


def _leave(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _end_with_parent() -> None:
    """Leave, with no file half-written, when the parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
