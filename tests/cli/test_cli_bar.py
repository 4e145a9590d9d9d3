"""The progress bars."""

from __future__ import annotations

import io
import sys

from rvqcodec.batch.job import Job
from rvqcodec.cli.report import Report
from rvqcodec.cli.run import progress_bar
from rvqcodec.errors import AudioError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def drawn(monkeypatch, n_jobs, duration_s=None):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    jobs = [Job(source=f"in/\x1b{i}.wav", target=f"{i}.rvq", n_bytes=10) for i in range(n_jobs)]
    with progress_bar(jobs, Report()) as bar:
        for job in jobs:
            bar.started(job)
            bar.progressed(job, 61.0, duration_s)
            if n_jobs > 1 and job is not jobs[-1]:
                bar.finished(job, AudioError("broken"))
    return terminal.getvalue()


def test_one_bar_for_all_files(monkeypatch):
    text = drawn(monkeypatch, 3)
    assert "2/3 files" in text and "x real time" in text and r"in/\x1b2.wav" in text and "\x1b2.wav" not in text


def test_a_single_file_is_shown_by_its_seconds(monkeypatch):
    text = drawn(monkeypatch, 1, 122.0)
    assert "1:01.0" in text and r"in/\x1b0.wav" in text


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar([], Report()) as bar:
        bar.started(Job(source="a", target="b"))
    assert terminal.getvalue() == "" and not Report(quiet=1).draws_bars
