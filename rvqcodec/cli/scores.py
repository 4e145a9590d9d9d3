"""`rvq eval`: objective quality of a decoded recording."""

from __future__ import annotations

from pathlib import Path

from rvqcodec.batch.job import EXPECTED
from rvqcodec.cli.report import Report
from rvqcodec.cli.text import format_table
from rvqcodec.training.measure.pair import score_pair

UNITS = {"seconds": "s", "kbps": "kbps", "si_sdr_db": "dB"}


def evaluate(reference: str, degraded: str, report: Report) -> int:
    """Print the scores of one pair, and return the exit status."""
    names = {"reference": reference, "file": degraded}
    try:
        found = score_pair(Path(reference), Path(degraded)).as_dict()
    except EXPECTED as error:
        return report.failed(names, error, name="")
    report.result(format_table([(name, _score(name, value)) for name, value in found.items()]))
    report.record({**names, "status": "done", "error": None, **found})
    return 0


def _score(name: str, value: float | None) -> str:
    return "none" if value is None else f"{value:.3f} {UNITS.get(name, '')}".strip()
