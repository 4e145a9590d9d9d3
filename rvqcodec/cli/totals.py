"""Counts and sums over a run, as a table and as JSON."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rvqcodec.batch.job import Done
from rvqcodec.cli.errors import problem_of
from rvqcodec.cli.text import format_size, format_table
from rvqcodec.times import format_time, kbps

MAX_REASONS = 10


@dataclass(slots=True)
class Totals:
    """Counts and sums over a run."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    audio_s: float = 0.0
    coded_s: float = 0.0
    n_bytes_in: int = 0
    n_bytes_out: int = 0
    n_bytes_coded: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def add(self, outcome: Done | Exception) -> None:
        """Count one outcome."""
        if isinstance(outcome, Exception):
            self.counts["failed"] += 1
            self.reasons[problem_of(outcome)[0]] += 1
            return
        self.counts["skipped" if outcome.skipped else "done"] += 1
        self.audio_s += outcome.result.duration_s
        self.coded_s += 0.0 if outcome.skipped else outcome.result.duration_s
        self.n_bytes_in += outcome.n_bytes_in
        self.n_bytes_out += outcome.n_bytes_out
        self.n_bytes_coded += outcome.result.actual_kbps * outcome.result.duration_s * 125

    @property
    def actual_kbps(self) -> float:
        """Bitrate of all files together."""
        return kbps(self.n_bytes_coded, self.audio_s)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def fields(self) -> dict[str, Any]:
        """Return all as fields of JSON."""
        return {
            **{name: self.counts[name] for name in ("done", "skipped", "failed")},
            "audio_hours": round(self.audio_s / 3600, 4),
            "seconds": round(self.seconds, 3),
            "x_real_time": round(self.coded_s / self.seconds, 2),
            "input_bytes": self.n_bytes_in,
            "output_bytes": self.n_bytes_out,
            "actual_kbps": round(self.actual_kbps, 3) if self.audio_s else None,
            "reasons": dict(self.reasons.most_common()),
        }

    def table(self, n_not_run: int) -> str:
        """Return all for people."""
        counted = [f"{self.counts[name]} {name}" for name in ("done", "skipped", "failed")]
        rows = [("files", ", ".join([*counted, f"{n_not_run} not begun"] if n_not_run else counted))]
        rows += [("failed", f"{n} x {reason}") for reason, n in self.reasons.most_common(MAX_REASONS)]
        speed = f"  {self.coded_s / self.seconds:.3g} x real time" if self.coded_s else ""
        hours = f"{self.audio_s / 3600:.2f} h" if self.audio_s >= 3600 else format_time(self.audio_s)
        rows += [("audio", f"{hours} in {format_time(self.seconds)}{speed}")]
        ratio = f"  {self.n_bytes_in / self.n_bytes_out:.3g}:1" if 0 < self.n_bytes_out <= self.n_bytes_in else ""
        made = f", {format_size(self.n_bytes_out)} out{ratio}" if self.n_bytes_out else ""
        rows += [("bytes", f"{format_size(self.n_bytes_in)} in{made}")]
        if self.audio_s:
            rows += [("bitrate", f"{self.actual_kbps:.2f} kbps on disk")]
        return format_table(rows)

    def failure(self, n_jobs: int) -> str:
        """Return how many of several files failed, or "" where none did."""
        n_failed = self.counts["failed"]
        return f"{n_failed} of {n_jobs} files failed" if n_jobs > 1 and n_failed else ""
