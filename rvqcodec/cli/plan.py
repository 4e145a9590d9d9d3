"""Which inputs become which outputs: the naming rules, and a plan that is refused as a whole before anything runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from rvqcodec.batch.job import STREAM, Job
from rvqcodec.batch.names import is_url, join, parent, stem
from rvqcodec.batch.walk import AUDIO_SUFFIXES, RVQ_SUFFIXES
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.inputs import Entry, Folders, entries, is_folder, local_names
from rvqcodec.errors import AudioError, NotRvqError, OutputError
from rvqcodec.formats.files import same_file_error
from rvqcodec.formats.rvq.sections import read_signature

RVQ_SUFFIX, AUDIO_SUFFIX = ".rvq", ".wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs in order; `has_tree`: they come from folders or a list of files."""

    jobs: tuple[Job, ...]
    has_tree: bool = False


def plan_encode(names: Sequence[str], output: str | None, to_stdout: bool, folders: Folders | None = None) -> Plan:
    """Return the plan of `rvq encode`: of two names, one that ends in .rvq or is - is the output.

    Raises:
        UsageError: The names contradict each other.
        AudioError: A folder can't be read, or holds nothing to encode; or an input is an .rvq file already.
        OutputError: Two inputs have one output, or an output is an input.
    """
    names, output, folders = _prepared(names, output, folders, "encode")
    inputs, output = _split(names, output, to_stdout, lambda name: name == STREAM or _is_rvq(name))
    if output is None:
        _refuse_coded((*inputs, *folders.listed))
    return _plan(inputs, output, RVQ_SUFFIX, AUDIO_SUFFIXES, folders)


def plan_decode(names: Sequence[str], output: str | None, to_stdout: bool, folders: Folders | None = None) -> Plan:
    """Return the plan of `rvq decode`: of two names, one that doesn't end in .rvq is the output.

    Raises:
        UsageError: The names contradict each other.
        AudioError: A folder can't be read, or holds nothing to decode.
        NotRvqError: A .wav file, which would be its own output, is not an .rvq file.
        OutputError: Two inputs have one output, or an output is an input.
    """
    names, output, folders = _prepared(names, output, folders, "decode")
    inputs, output = _split(names, output, to_stdout, lambda name: not _is_rvq(name))
    if len(names) == 2 and len(inputs) == 1 and is_folder(names[0]) and is_folder(names[1]):
        raise UsageError(f"{names[0]} and {names[1]} are both folders", "name the folder for the outputs with -o DIR")
    if output is None:
        _refuse_audio((*inputs, *folders.listed))
    return _plan(inputs, output, AUDIO_SUFFIX, RVQ_SUFFIXES, folders)


def plan_copy(
    names: Sequence[str], output: str | None, to_stdout: bool, folders: Folders | None = None, command: str = "trim"
) -> Plan:
    """Return the plan of a command that makes .rvq files of others: outputs are named with -o, since a shell's *.rvq may give two names.

    Raises:
        UsageError: No output is named, or names contradict each other.
        AudioError: A folder can't be read, or holds no .rvq files.
        OutputError: Two inputs have one output, or an output is an input.
    """
    names, output, folders = _prepared(names, output, folders, command)
    inputs, output = _split(names, output, to_stdout, lambda name: name == STREAM)
    if output is None:
        raise UsageError("no output is named", "name it with -o OUT.rvq, or with -o DIR for several inputs")
    return _plan(inputs, output, RVQ_SUFFIX, RVQ_SUFFIXES, folders)


def plan_read(names: Sequence[str], folders: Folders | None = None, command: str = "verify") -> Plan:
    """Return the plan of a command that only reads .rvq files.

    Raises:
        UsageError: Standard input is named twice.
        AudioError: A folder can't be read, or holds no .rvq files.
    """
    names, _, folders = _prepared(names, None, folders, command)
    jobs = tuple(Job(source=entry.name, n_bytes=entry.n_bytes) for entry in entries(names, None, RVQ_SUFFIXES, folders))
    _refuse_shared_streams(jobs)
    return Plan(jobs=jobs, has_tree=_has_tree(names, folders))


def _prepared(
    names: Sequence[str], output: str | None, folders: Folders | None, command: str
) -> tuple[Sequence[str], str | None, Folders]:
    folders = folders or Folders()
    if not names and not folders.listed:
        raise UsageError("missing argument 'IN...'", f"see rvq {command} --help")
    return local_names(names, output, folders)


def _split(
    names: Sequence[str], output: str | None, to_stdout: bool, is_output: Callable[[str], bool]
) -> tuple[Sequence[str], str | None]:
    """Tell inputs from the output."""
    if to_stdout and output not in (None, STREAM):
        raise UsageError("-c and -o are mutually exclusive")
    output = STREAM if to_stdout else output
    if output is None and len(names) == 2 and is_output(names[1]):
        return names[:1], names[1]
    return names, output


def _has_tree(inputs: Sequence[str], folders: Folders) -> bool:
    return bool(folders.listed) or any(map(is_folder, inputs))


def _plan(inputs: Sequence[str], output: str | None, suffix: str, suffixes: frozenset[str], folders: Folders) -> Plan:
    has_tree = _has_tree(inputs, folders)
    folder = _output_folder(has_tree or len(inputs) > 1, output)
    found = entries(inputs, folder, suffixes, folders)
    jobs = tuple(dict.fromkeys(_job(entry, output, folder, suffix) for entry in found))
    _refuse_shared_streams(jobs)
    _refuse_collisions(jobs)
    return Plan(jobs=jobs, has_tree=has_tree)


def _is_rvq(name: str) -> bool:
    return name.lower().endswith(RVQ_SUFFIX)


def _refuse_coded(names: Sequence[str]) -> None:
    """Refuse .rvq files as inputs of an encode before their names are refused as outputs."""
    for name in names:
        if _is_rvq(name) and os.path.isfile(name):  # noqa: PTH113 - names may be too long
            raise AudioError(f"{name}: this is an .rvq file already", "rvq transcode and rvq trim make others of it")


def _refuse_audio(names: Sequence[str]) -> None:
    """Refuse audio as the input of a decode before its name is refused as the output."""
    for name in names:
        if name.lower().endswith(AUDIO_SUFFIX) and os.path.isfile(name):  # noqa: PTH113 - names may be too long
            with contextlib.suppress(OSError), Path(name).open("rb") as file:
                _check_signature(name, file)


def _check_signature(name: str, file: BinaryIO) -> None:
    try:
        read_signature(file)
    except NotRvqError as error:
        raise NotRvqError(f"{name}: {error.message}", error.hint) from error


def _output_folder(is_batch: bool, output: str | None) -> str | None:
    """Return the folder that outputs go into, or None when the output is a file or stands beside its input."""
    if output is None or output == STREAM:
        return None
    if output.endswith((os.sep, "/")) or is_folder(output):
        return output
    if is_batch and Path(output).suffix.lower() in AUDIO_SUFFIXES | RVQ_SUFFIXES:
        raise UsageError(f"{output} is one file's name, and there are several inputs", "name a folder with -o DIR/")
    return output if is_batch else None


def _job(entry: Entry, output: str | None, folder: str | None, suffix: str) -> Job:
    target = _target(entry, output, folder, suffix)
    return Job(source=entry.name, target=target, makes_folder=folder is not None, n_bytes=entry.n_bytes)


def _target(entry: Entry, output: str | None, folder: str | None, suffix: str) -> str:
    if output is not None and folder is None:
        return output
    if entry.name == STREAM:
        if folder is not None:
            raise UsageError("standard input has no name in the folder", "name its output with -o FILE")
        return STREAM
    below = parent(entry.below) if entry.below else ""
    place = parent(entry.name) if folder is None else join(folder, below)
    return join(place, stem(entry.name) + suffix)


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
        other = makers.setdefault(_identity(job.target), job)
        if other is not job:
            raise OutputError(
                f"{other.source} and {job.source} would both become {job.target}", "process them separately"
            )
        taken = next((sources[identity] for identity in _identities(job.target) if identity in sources), None)
        if taken is not None:
            _refuse_input(job, taken)


def _refuse_input(job: Job, taken: str) -> None:
    error = same_file_error()
    if taken == job.source:
        raise OutputError(f"{job.target}: {error.message}", error.hint)
    raise OutputError(f"{job.target}, the output of {job.source}, is an input too", error.hint)


def _identity(name: str) -> str:
    """Return what two names of the same place have in common."""
    return name.rstrip("/") if is_url(name) else os.path.realpath(name)


def _identities(name: str) -> Iterator[object]:
    """Yield what makes a file the same as another: its real path, and its device and inode; nothing for devices."""
    if name == STREAM:
        return
    if is_url(name):
        yield _identity(name)
    elif not os.path.exists(name):  # noqa: PTH110 - Path.exists raises for names that are too long
        yield os.path.realpath(name)
    elif os.path.isfile(name):  # noqa: PTH113
        status = Path(name).stat()
        yield os.path.realpath(name)
        yield status.st_dev, status.st_ino
