"""The engine of one process: jobs one after the other, the only one that reads standard input and writes standard output."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from rvqcodec.batch.job import Job, Listener
from rvqcodec.batch.work import Codecs, Work, attempt


@dataclass(frozen=True, slots=True)
class Serial:
    """Jobs in this process, in their order."""

    def run(self, jobs: Sequence[Job], work: Work, listener: Listener) -> None:
        """Do all jobs, unless the listener asks to stop."""
        codecs = Codecs(work.settings.device)
        for job in jobs:
            listener.started(job)
            progress = functools.partial(listener.progressed, job)
            warn = functools.partial(listener.warned, job)
            if not listener.finished(job, attempt(work, job, codecs, progress, warn)):
                return
