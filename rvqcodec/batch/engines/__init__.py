"""Engines, which run the jobs of a run: one interface, four implementations, selected here and nowhere else.

The outputs are the same whichever engine runs, byte for byte; only on a GPU may rounding change single codes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Protocol

from rvqcodec.batch.engines.gpu import Gpu, is_gpu
from rvqcodec.batch.engines.processes import Processes, worth_of_workers
from rvqcodec.batch.engines.ray import Ray
from rvqcodec.batch.engines.serial import Serial
from rvqcodec.batch.job import Job, Listener
from rvqcodec.batch.work import Work

__all__ = ["Engine", "Gpu", "Processes", "Ray", "Serial", "choose_engine"]


class Engine(Protocol):
    """What all engines promise."""

    def run(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        """Do all jobs, each once, and call the listener in this thread; end early when it asks to.

        A file's failure is reported and costs no other. An interrupt, or an error of the listener, leaves no file
        half-written and no process running.

        Raises:
            DeviceError: The engine itself can't run.
        """


def choose_engine(jobs: Sequence[Job], work: Work, n_workers: int = 0, ray_address: str | None = None) -> Engine:
    """Return the engine that runs these jobs best.

    Args:
        jobs: What is done.
        work: How.
        n_workers: Files processed in parallel; 0 chooses by the machine and the amount of work.
        ray_address: The Ray cluster that does the work, or None for this machine.
    """
    if ray_address is not None:
        return Ray(n_workers, ray_address)
    if any(job.has_stream for job in jobs) or _is_live(jobs):
        return Serial()
    if is_gpu(work.settings.device):
        return Gpu(n_workers)
    n_workers = min(len(jobs), n_workers or worth_of_workers(jobs, work.bytes_per_worker))
    return Processes(n_workers) if n_workers > 1 else Serial()


def _is_live(jobs: Sequence[Job]) -> bool:
    """Return whether the only job reads or writes a named pipe: what comes in should go out soon, and a read may last."""
    if len(jobs) != 1:
        return False
    with contextlib.suppress(OSError):  # reported where the file is opened
        return any(path is not None and path.is_fifo() for path in (jobs[0].source_path, jobs[0].target_path))
    return False
