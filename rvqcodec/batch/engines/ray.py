"""The engine of many machines: actors on a Ray cluster, one for each CPU or GPU, which load the model once.

The only module that knows Ray, which is an optional extra. Each actor has one job at work and one waiting. An actor
that is lost costs nothing but the file it was at, which is tried once more elsewhere.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rvqcodec.batch.engines.lost import MAX_ATTEMPTS, Losses, largest_first
from rvqcodec.batch.job import Done, Job, Listener
from rvqcodec.batch.names import is_url
from rvqcodec.batch.work import Codecs, Work, attempt
from rvqcodec.errors import BugError, DeviceError, reason_of
from rvqcodec.formats.files import remove_leftover
from rvqcodec.version import __version__

QUEUED = 2
WAIT_S = 1.0
CONNECT_S = 5.0
PLACEMENT_S = 60.0
INSTALL = "it must be installed on all machines of the cluster"
HINT = "start one with: ray start --head"
ADDRESS = re.compile(r"(?:ray://)?(?P<host>[^:/]+|\[[^\]]+\]):(?P<port>\d+)")

Answer = tuple["Done | Exception", list[str]]


class RvqWorker:
    """What runs on the cluster: jobs one after the other, with the models loaded so far."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._codecs = Codecs(work.settings.device)

    def version(self) -> str:
        """Return the version of rvqcodec there."""
        return __version__

    def run(self, job: Job, again: bool) -> Answer:
        """Return the outcome of a job, and its warnings.

        Args:
            job: The job.
            again: Whether a lost actor was at it: what that one finished but couldn't report is taken over.
        """
        warnings: list[str] = []
        return attempt(self._work, job, self._codecs, _silent, warnings.append, again=again), warnings


def _silent(seconds: float, total_s: float | None = None) -> None:
    """Report no progress: an actor answers once."""


@dataclass(slots=True)
class _Actor:
    """A handle, the answer that shows it is there (None once it came), and the jobs it was sent: the first is at work."""

    handle: Any
    ready: Any
    since: float
    jobs: deque[tuple[Job, Any]] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Ray:
    """Jobs on a Ray cluster, the largest inputs first; local names must mean the same on all machines of the cluster.

    n_workers: Actors; 0 takes as many as the cluster has CPUs, or GPUs where the work asks for CUDA.
    address: HOST:PORT of the cluster, ray://HOST:PORT, or "auto" for the one that this machine belongs to.
    """

    n_workers: int = 0
    address: str = "auto"

    def run(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        """Do all jobs, unless the listener asks to stop.

        Raises:
            DeviceError: There is no cluster, or it can't run this.
        """
        ray = importlib.import_module("ray")
        with _connected(ray, self.address):
            run = _Run(ray, jobs, work.threaded(1), listener)
            try:
                run.run(self.n_workers)
            finally:
                run.stop()


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    found = ADDRESS.fullmatch(address)
    if found is not None:
        _refuse_unreachable(address, found["host"].strip("[]"), int(found["port"]))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or Ray warns that it will change
    _silence(ray)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise DeviceError(f"no Ray cluster at {address}: {str(error).splitlines()[0]}", HINT) from error
    try:
        yield
    finally:
        ray.shutdown()


def _silence(ray: Any) -> None:
    """Keep Ray from printing on standard output that a worker died, for which it has no switch: we report it ourselves."""
    worker = ray._private.worker
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _refuse_unreachable(address: str, host: str, port: int) -> None:
    """Refuse an address where nobody listens: Ray would try for minutes."""
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        raise DeviceError(f"no Ray cluster at {address}: {reason_of(error)}", HINT) from error


class _Run:
    """The driver's side."""

    def __init__(self, ray: Any, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        self._ray = ray
        self._waiting = deque(largest_first(jobs))
        self._n_open = len(jobs)
        self._lost = Losses(listener)
        self._work = work
        self._listener = listener
        self._actors: list[_Actor] = []
        self._losses = 0
        on_gpu = work.settings.device.startswith("cuda")
        self._resource = "GPU" if on_gpu else "CPU"
        needs = {"num_cpus": 0, "num_gpus": 1} if on_gpu else {"num_cpus": 1}
        self._kind = ray.remote(RvqWorker).options(max_restarts=0, max_task_retries=0, **needs)

    def run(self, n_workers: int) -> None:
        """Feed actors until all jobs are finished or the listener asks to stop."""
        n_there = int(self._ray.cluster_resources().get(self._resource, 0))
        for _ in range(min(self._n_open, n_workers or max(1, n_there))):
            self._start()
        while self._n_open:
            answers = {(actor.ready or actor.jobs[0][1]): actor for actor in self._actors if actor.ready or actor.jobs}
            ready, _ = self._ray.wait(list(answers), num_returns=1, timeout=WAIT_S)
            for answer in ready:
                if not self._hear(answers[answer], answer):
                    return
            self._refuse_to_wait()

    def stop(self) -> None:
        """End all actors; what they were at leaves no file behind."""
        for actor in self._actors:
            self._discard(actor)

    def _start(self) -> None:
        handle = self._kind.remote(self._work)
        self._actors.append(_Actor(handle, handle.version.remote(), time.monotonic()))

    def _hear(self, actor: _Actor, answer: Any) -> bool:
        """Take an actor's answer; return whether to go on."""
        exceptions = self._ray.exceptions
        try:
            value = self._ray.get(answer)
        except exceptions.RayTaskError as error:  # not of the job itself: `attempt` has those
            value = (BugError(f"internal error: {error.cause!r}", str(error)), [])
            if actor.ready is not None:
                raise DeviceError(f"the cluster can't run rvqcodec: {error.cause!r}", INSTALL) from error
        except exceptions.RayError as error:
            return self._replace(actor, error)
        if actor.ready is not None:
            _refuse_version(value)
            actor.ready = None
        elif not self._finish(actor, *value):
            return False
        self._feed(actor)
        return True

    def _finish(self, actor: _Actor, outcome: Done | Exception, warnings: list[str]) -> bool:
        job, _ = actor.jobs.popleft()
        if actor.jobs:
            self._listener.started(actor.jobs[0][0])
        for text in warnings:
            self._listener.warned(job, text)
        self._n_open -= 1
        return self._listener.finished(job, outcome)

    def _feed(self, actor: _Actor) -> None:
        while self._waiting and len(actor.jobs) < QUEUED:
            job = self._waiting.popleft()
            if not actor.jobs:
                self._listener.started(job)
            actor.jobs.append((job, actor.handle.run.remote(_absolute(job), self._lost.is_again(job))))

    def _replace(self, actor: _Actor, error: Exception) -> bool:
        """Discard a lost actor, and start another for what it leaves; return whether to go on."""
        self._actors.remove(actor)
        self._discard(actor)
        self._losses += 1
        if actor.ready is not None and self._losses > MAX_ATTEMPTS * (len(self._actors) + 1):
            raise DeviceError(f"the cluster can't run rvqcodec: {error}", INSTALL)
        goes_on = True
        if actor.jobs:
            (lost, _), *rest = actor.jobs
            self._waiting.extendleft(job for job, _ in reversed(rest))
            failure = self._lost.add(lost, str(error).splitlines()[0])
            if failure is None:
                self._waiting.append(lost)
            else:
                self._n_open -= 1
                goes_on = self._listener.finished(lost, failure)
        if goes_on and self._waiting:
            self._start()
            self._feed_idle()
        return goes_on

    def _feed_idle(self) -> None:
        """Give what a lost actor left to those that have nothing to do: its successor may never find a place."""
        for actor in self._actors:
            if actor.ready is None:
                self._feed(actor)

    def _refuse_to_wait(self) -> None:
        """Raise when no actor is there and none has found a place for a minute."""
        if any(actor.ready is None for actor in self._actors):
            return
        if min(time.monotonic() - actor.since for actor in self._actors) > PLACEMENT_S:
            raise DeviceError(
                f"no machine of the Ray cluster has a free {self._resource}", "ray status shows what it has"
            )

    def _discard(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle)
        if actor.jobs and actor.jobs[0][0].target_path is not None:
            remove_leftover(actor.jobs[0][0].target_path)


def _refuse_version(found: str) -> None:
    if found != __version__:
        raise DeviceError(f"the cluster has rvqcodec {found}, this machine {__version__}", "install the same on all")


def _absolute(job: Job) -> Job:
    """Return a job that means the same in every working folder."""
    source, target = (name if is_url(name) else str(Path(name).absolute()) for name in (job.source, job.target))
    return replace(job, source=source, target=target)
