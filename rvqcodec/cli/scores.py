"""`rvq eval`: how good a decoded recording is."""

from __future__ import annotations

import functools
from pathlib import Path

from rvqcodec.cli.report import Outcome, Report, Task, run_tasks
from rvqcodec.cli.text import format_table
from rvqcodec.training.measure.pair import score_pair

UNITS = {"seconds": "s", "kbps": "kbps", "si_sdr_db": "dB"}


def evaluate(reference: str, degraded: str, report: Report) -> int:
    """Print the scores of one pair, and return the exit status."""
    task = Task(names={"reference": reference, "file": degraded}, work=functools.partial(_score, reference, degraded))
    return run_tasks([task], report, to_stdout=True)


def _score(reference: str, degraded: str) -> Outcome:
    found = score_pair(Path(reference), Path(degraded)).as_dict()
    rows = [
        (name, "none" if value is None else f"{value:.3f} {UNITS.get(name, '')}".strip())
        for name, value in found.items()
    ]
    return Outcome(fields=dict(found), line=format_table(rows))
