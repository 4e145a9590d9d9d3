"""What all tests share; made-up models are in `tiny`, files of them in `streams`. And which tests are slow, and what a skip means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiers import is_slow
from tests.tiny import tiny_codec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes: two threads add up in another order, and slower

settings.register_profile("quick", max_examples=30, deadline=None, derandomize=True, print_blob=True)
settings.load_profile("quick")

MAY_BE_SKIPPED = {
    "Lyra's weights aren't in": "10 MB of another project, not ours to be here; RVQ_SHARED brings them",
}
"""Starts of reasons that --no-skips lets pass, and why."""


@pytest.fixture(scope="session")
def codec():
    """A tiny seeded model."""
    return tiny_codec()


@pytest.fixture(scope="session")
def vectors():
    """The folder of the golden vectors."""
    return Path(__file__).parent / "vectors"


def pytest_addoption(parser):
    parser.addoption(
        "--no-skips", action="store_true", help="fail if a test is skipped, but for what MAY_BE_SKIPPED lists"
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if is_slow(item.nodeid):
            item.add_marker(pytest.mark.slow)


def pytest_configure(config):
    config.pluginmanager.register(Skips(forbidden=config.getoption("--no-skips")), "skips")


class Skips:
    """Counts what is skipped, and fails the run where that is forbidden."""

    def __init__(self, forbidden):
        self.forbidden, self.unexpected, self.n_skipped = forbidden, [], 0

    def pytest_collectreport(self, report):
        self._note(report)

    def pytest_runtest_logreport(self, report):
        self._note(report)

    def pytest_sessionfinish(self, session):
        if self.forbidden and self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.n_skipped:
            terminalreporter.write_line(f"{self.n_skipped} skipped: the lines that say SKIPPED give the reasons")
        if self.forbidden and self.unexpected:
            terminalreporter.write_line("no test may be skipped here, and these were:", red=True)
            for line in self.unexpected:
                terminalreporter.write_line(f"  {line}")

    def _note(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            self.n_skipped += 1
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            if not reason.removeprefix("Skipped: ").startswith(tuple(MAY_BE_SKIPPED)):
                self.unexpected.append(f"{report.nodeid}: {reason}")
