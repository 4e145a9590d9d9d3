"""Work that needs no model, for processes of their own; what happens is told by the name of the input."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from rvqcodec.batch.job import Done, Job
from rvqcodec.batch.work import Settings
from rvqcodec.errors import AudioError
from rvqcodec.formats.files import Output
from rvqcodec.pipeline.result import Result

RESULT = Result(
    duration_s=1.0,
    n_samples=48000,
    sample_rate=48000,
    channels=1,
    n_layers=12,
    n_bytes=750,
    nominal_kbps=6,
    actual_kbps=6,
)


@dataclass(frozen=True)
class FakeWork:
    """Copies the input's name into the output."""

    settings: Settings = field(default_factory=Settings)

    def threaded(self, n_threads):
        return self

    def run(self, job, codecs, progress):
        name = Path(job.source).name
        if self.settings.resume and Path(job.target).exists():
            return Done(result=RESULT, seconds=0.1, n_bytes_in=10, n_bytes_out=10, skipped=True)
        if "missing" in name:
            raise AudioError("no such file")
        if "bug" in name:
            raise KeyError(name)
        with Output(Path(job.target), overwrite=True).open() as file:
            file.write(name.encode())
            if "slow" in name:
                time.sleep(30)
            if "deadly" in name or ("fatal" in name and not Path(job.source).exists()):
                Path(job.source).write_text("was here")
                os.kill(os.getpid(), signal.SIGKILL)
        if "late" in name:
            os.kill(os.getpid(), signal.SIGKILL)
        progress(1.0)
        return Done(result=RESULT, seconds=0.1, n_bytes_in=10, n_bytes_out=10)


class Ear:
    """Remembers what an engine tells; `stop_at` ends the run at that outcome, `shock` is raised when a name begins."""

    def __init__(self, stop_at="", shock=None):
        self.begun = []
        self.outcomes = {}
        self._stop_at = stop_at
        self._shock = shock

    def started(self, job):
        self.begun.append(Path(job.source).name)
        if self._shock is not None and "slow" in job.source:
            raise self._shock

    def progressed(self, job, seconds, total_s=None):
        pass

    def warned(self, job, text):
        pass

    def finished(self, job, outcome):
        name = Path(job.source).name
        assert name not in self.outcomes, "an outcome is told once"
        self.outcomes[name] = outcome
        return not (self._stop_at and self._stop_at in name)


def make_jobs(folder, *names):
    """Return jobs in `folder`, the first the largest."""
    return [
        Job(source=str(folder / name), target=str(folder / (name + ".out")), n_bytes=1000 - i)
        for i, name in enumerate(names)
    ]
