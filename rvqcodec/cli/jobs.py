"""Which inputs become which outputs: the naming rules, and a plan that is refused as a whole before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rvqcodec.cli.entry import UsageError
from rvqcodec.errors import OutputError

STREAM = "-"
RVQ_SUFFIX = ".rvq"
IsOutput = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One input and its output, as they were named; "-" is standard input or output."""

    source: str
    target: str

    @property
    def source_path(self) -> Path | None:
        """The input, or None for standard input."""
        return None if self.source == STREAM else Path(self.source)

    @property
    def target_path(self) -> Path | None:
        """The output, or None for standard output."""
        return None if self.target == STREAM else Path(self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs in order; `folder` is made when it isn't there."""

    jobs: tuple[Job, ...]
    folder: Path | None = None

    @property
    def is_batch(self) -> bool:
        """Whether one failure is reported and the rest goes on."""
        return len(self.jobs) > 1


def plan_encode(names: Sequence[str], output: str | None, to_stdout: bool) -> Plan:
    """Return the plan of `rvq encode`: of two names, one that ends in .rvq or is - is the output.

    Raises:
        UsageError: The names contradict each other.
        OutputError: Two inputs have one output, or an output is an input.
    """
    return _plan(names, output, to_stdout, RVQ_SUFFIX, lambda name: name == STREAM or _is_rvq(name))


def plan_decode(names: Sequence[str], output: str | None, to_stdout: bool) -> Plan:
    """Return the plan of `rvq decode`: of two names, one that doesn't end in .rvq is the output.

    Raises:
        UsageError: The names contradict each other.
        OutputError: Two inputs have one output, or an output is an input.
    """
    return _plan(names, output, to_stdout, ".wav", lambda name: not _is_rvq(name))


def plan_copy(names: Sequence[str], output: str | None, to_stdout: bool) -> Plan:
    """Return the plan of `rvq trim` and `rvq recover`, which make one .rvq of another and name no output by themselves.

    Raises:
        UsageError: There is not one input and one output.
        OutputError: The output is the input.
    """
    inputs, output = _split(names, output, to_stdout, lambda _: True)
    if len(inputs) != 1 or output is None:
        raise UsageError("one input and one output are wanted", "name the output with -o OUT.rvq")
    return _plan(inputs, output, False, RVQ_SUFFIX, lambda _: True)


def _plan(names: Sequence[str], output: str | None, to_stdout: bool, suffix: str, is_output: IsOutput) -> Plan:
    inputs, output = _split(names, output, to_stdout, is_output)
    refuse_folders(inputs)
    folder = _output_folder(inputs, output)
    jobs = tuple(Job(source=name, target=_target(name, output, folder, suffix)) for name in inputs)
    _refuse_shared_streams(jobs)
    _refuse_collisions(jobs)
    return Plan(jobs=jobs, folder=folder)


def _split(
    names: Sequence[str], output: str | None, to_stdout: bool, is_output: IsOutput
) -> tuple[Sequence[str], str | None]:
    """Tell inputs from the output."""
    if to_stdout and output not in (None, STREAM):
        raise UsageError("-c and -o exclude each other")
    output = STREAM if to_stdout else output
    if output is None and len(names) == 2 and is_output(names[1]):
        return names[:1], names[1]
    return names, output


def _is_rvq(name: str) -> bool:
    return name.lower().endswith(RVQ_SUFFIX)


def refuse_folders(names: Sequence[str]) -> None:
    """Refuse folders as inputs, before anything is opened.

    Raises:
        UsageError: A name is a folder's.
    """
    for name in names:
        if name != STREAM and os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises for names that are too long
            raise UsageError(f"{name} is a folder, and folders can't be inputs", f"name files: {Path(name) / '*'}")


def _output_folder(inputs: Sequence[str], output: str | None) -> Path | None:
    """Return the folder that outputs go into, or None when the output is a file or stands beside its input."""
    if output is None or output == STREAM:
        return None
    is_folder = len(inputs) > 1 or output.endswith(os.sep) or os.path.isdir(output)  # noqa: PTH112
    return Path(output) if is_folder else None


def _target(name: str, output: str | None, folder: Path | None, suffix: str) -> str:
    if output is not None and folder is None:
        return output
    if name == STREAM:
        if folder is not None:
            raise UsageError("standard input has no name in the folder", "name its output with -o FILE")
        return STREAM
    return str((folder or Path(name).parent) / (_stem(Path(name)) + suffix))


def _stem(path: Path) -> str:
    return path.stem or path.name


def _refuse_shared_streams(jobs: Sequence[Job]) -> None:
    if sum(job.source == STREAM for job in jobs) > 1:
        raise UsageError("standard input can be read only once")
    if len(jobs) > 1 and any(job.target == STREAM for job in jobs):
        raise UsageError("only one file can go to standard output", "name a folder with -o DIR/")


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    """Refuse two jobs with one output, and an output that is an input: of its own job or of another."""
    makers: dict[str, Job] = {}
    sources = {identity: job.source for job in jobs for identity in _identities(job.source)}
    for job in jobs:
        if job.target == STREAM:
            continue
        other = makers.setdefault(os.path.realpath(job.target), job)
        if other is not job:
            raise OutputError(f"{other.source} and {job.source} would both become {job.target}", "run them apart")
        taken = next((sources[identity] for identity in _identities(job.target) if identity in sources), None)
        if taken == job.source:
            raise OutputError(f"{job.target}: the output is the input itself", "name another output with -o")
        if taken is not None:
            problem = f"{job.target}, the output of {job.source}, is an input too"
            raise OutputError(problem, "name another output with -o")


def _identities(name: str) -> Iterator[object]:
    """Yield what makes a file the same as another: its real path, and its device and inode; nothing for devices."""
    if name == STREAM:
        return
    if not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that are too long
        yield os.path.realpath(name)
    elif os.path.isfile(name):  # noqa: PTH113
        status = Path(name).stat()
        yield os.path.realpath(name)
        yield status.st_dev, status.st_ino
