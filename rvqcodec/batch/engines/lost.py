"""Retry of files whose worker was lost, a process or a machine: once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rvqcodec.batch.job import Job, Listener
from rvqcodec.errors import DeviceError

MAX_ATTEMPTS = 2


def largest_first(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs in the order in which they end soonest together."""
    return sorted(jobs, key=lambda job: -job.n_bytes)


class Losses:
    """How often each job has cost its worker."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._counts: Counter[Job] = Counter()

    def is_again(self, job: Job) -> bool:
        """Return whether a worker was lost with this job."""
        return self._counts[job] > 0

    def add(self, job: Job, reason: str) -> DeviceError | None:
        """Count a loss; return None where the job is tried once more, which is reported, else its error."""
        self._counts[job] += 1
        if self._counts[job] < MAX_ATTEMPTS:
            self._listener.warned(job, "its worker was lost; it is retried once")
            return None
        return DeviceError(f"its worker was lost {MAX_ATTEMPTS} times: {reason}", "fewer workers (-j) take less memory")
