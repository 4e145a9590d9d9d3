"""`rvq info`, `verify`, `trim`, `transcode` and `recover`: run without a model and without torch."""

from __future__ import annotations

from rvqcodec.batch.job import STREAM
from rvqcodec.batch.stored import InfoWork, RecoverWork, TranscodeWork, TrimWork, VerifyWork
from rvqcodec.batch.work import Settings
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.plan import Plan
from rvqcodec.cli.report import Report
from rvqcodec.cli.run import Batch, run
from rvqcodec.cli.verbs import CHECK, COPYING, INFO, RECOVERY

DEEP_BYTES_PER_WORKER = 1 << 18


def info(plan: Plan, batch: Batch, report: Report) -> int:
    """Print what .rvq files hold, from their first bytes and their end; return the exit status.

    Raises:
        UsageError: One is standard input.
    """
    if any(job.source == STREAM for job in plan.jobs):
        raise UsageError("info reads the end of a file, which standard input doesn't have", "name a file")
    return run(plan, InfoWork(), INFO, batch, report)


def verify(plan: Plan, settings: Settings, batch: Batch, report: Report, *, deep: bool) -> int:
    """Check .rvq files, each in one line, and return the exit status."""
    if not deep:
        return run(plan, VerifyWork(settings=settings), CHECK, batch, report)
    work = VerifyWork(settings=settings, deep=True, bytes_per_worker=DEEP_BYTES_PER_WORKER)
    return run(plan, work, CHECK, batch, report)


def trim(plan: Plan, settings: Settings, n_layers: int, batch: Batch, report: Report) -> int:
    """Write .rvq files' first layers as files of their own, and return the exit status."""
    return run(plan, TrimWork(settings=settings, n_layers=n_layers), COPYING, batch, report)


def transcode(plan: Plan, settings: Settings, entropy: str, batch: Batch, report: Report) -> int:
    """Write .rvq files' codes with another entropy mode, and return the exit status."""
    return run(plan, TranscodeWork(settings=settings, entropy=entropy), COPYING, batch, report)


def recover(plan: Plan, settings: Settings, batch: Batch, report: Report) -> int:
    """Save what is intact in damaged .rvq files, report what was lost, and return the exit status."""
    return run(plan, RecoverWork(settings=settings), RECOVERY, batch, report)
