"""One file's work and its outcome: what engines, workers and reports exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rvqcodec.errors import RvqError
from rvqcodec.pipeline.result import Result

STREAM = "-"
EXPECTED = (RvqError, ValueError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One input and its output, as they were named; "-" is standard input or output, "" no output.

    makes_folder: Whether the output's folder is made when it isn't there.
    n_bytes: Size of the input as far as it is known, to share the work out.
    """

    source: str
    target: str = ""
    makes_folder: bool = False
    n_bytes: int = field(default=0, compare=False)

    @property
    def source_path(self) -> Path | None:
        """The input, or None for standard input."""
        return None if self.source == STREAM else Path(self.source)

    @property
    def target_path(self) -> Path | None:
        """The output, or None for standard output and where there is none."""
        return None if self.target in (STREAM, "") else Path(self.target)

    @property
    def has_stream(self) -> bool:
        """Whether it reads standard input or writes standard output, which only this process has."""
        return STREAM in (self.source, self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What went well.

    result: Lengths and bitrates; of the file that is there already where `skipped`.
    seconds: Seconds of work.
    n_bytes_in, n_bytes_out: Sizes on disk of input and output; 0 for pipes.
    model: Name and fingerprint of the model that ran.
    details: What only one verb reports, by its name in JSON.
    """

    result: Result
    seconds: float
    n_bytes_in: int
    n_bytes_out: int = 0
    skipped: bool = False
    model: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


class Progress(Protocol):
    """Called with the seconds of audio done, and once with all seconds of the input where they are known."""

    def __call__(self, seconds: float, total_s: float | None = None) -> None:
        """Take note."""


class Listener(Protocol):
    """What an engine reports to while it runs. It is called in the process and the thread that called the engine."""

    def started(self, job: Job) -> None:
        """Take note that a job begins; after a worker was lost, again."""

    def progressed(self, job: Job, seconds: float, total_s: float | None = None) -> None:
        """Take note that `seconds` of a job's audio are done, of `total_s` where they are known."""

    def warned(self, job: Job, text: str) -> None:
        """Take note of what went well but not quite."""

    def finished(self, job: Job, outcome: Done | Exception) -> bool:
        """Take note of the outcome of a job, once for each; return whether to go on."""
