"""Which inputs become which outputs: the naming rules, and a plan that is refused as a whole before anything runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rvqcodec.batch.job import STREAM, Job
from rvqcodec.batch.names import is_url, join, last, localized, parent, stem
from rvqcodec.batch.walk import AUDIO_SUFFIXES, RVQ_SUFFIXES, Selection, file_size, walk
from rvqcodec.cli.entry import UsageError
from rvqcodec.errors import AudioError, OutputError

RVQ_SUFFIX = ".rvq"
IsOutput = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Jobs in order; `has_tree` tells that they came of folders or a list of files."""

    jobs: tuple[Job, ...]
    has_tree: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """How folders are read, and the names of a list of files.

    suffixes: Instead of those that the command takes; with their dots, lower-case.
    listed: Names from a list of files.
    """

    recursive: bool = False
    suffixes: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()


class Entry(NamedTuple):
    """One input, where it stands below the output folder ("" is its bare name), and its size in bytes."""

    name: str
    below: str
    n_bytes: int


def plan_encode(names: Sequence[str], output: str | None, to_stdout: bool, folders: Folders | None = None) -> Plan:
    """Return the plan of `rvq encode`: of two names, one that ends in .rvq or is - is the output.

    Raises:
        UsageError: The names contradict each other.
        AudioError: A folder can't be read, or holds nothing to encode.
        OutputError: Two inputs have one output, or an output is an input.
    """
    folders = folders or Folders()
    _refuse_nothing(names, folders, "encode")
    names, output, folders = _localized(names, output, folders)
    inputs, output = _split(names, output, to_stdout, lambda name: name == STREAM or _is_rvq(name))
    return _plan(inputs, output, RVQ_SUFFIX, AUDIO_SUFFIXES, folders)


def plan_decode(names: Sequence[str], output: str | None, to_stdout: bool, folders: Folders | None = None) -> Plan:
    """Return the plan of `rvq decode`: of two names, one that doesn't end in .rvq is the output.

    Raises:
        UsageError: The names contradict each other.
        AudioError: A folder can't be read, or holds nothing to decode.
        OutputError: Two inputs have one output, or an output is an input.
    """
    folders = folders or Folders()
    _refuse_nothing(names, folders, "decode")
    names, output, folders = _localized(names, output, folders)
    inputs, output = _split(names, output, to_stdout, lambda name: not _is_rvq(name))
    if len(names) == 2 and len(inputs) == 1 and is_folder(names[0]) and is_folder(names[1]):
        raise UsageError(f"{names[0]} and {names[1]} are both folders", "name the folder for the outputs with -o DIR")
    return _plan(inputs, output, ".wav", RVQ_SUFFIXES, folders)


def plan_copy(names: Sequence[str], output: str | None, to_stdout: bool) -> Plan:
    """Return the plan of `rvq trim` and `rvq recover`, which make one .rvq of another and name no output by themselves.

    Raises:
        UsageError: There is not one input and one output.
        OutputError: The output is the input.
    """
    inputs, output = _split(names, output, to_stdout, lambda _: True)
    if len(inputs) != 1 or output is None:
        raise UsageError("one input and one output are wanted", "name the output with -o OUT.rvq")
    refuse_folders([*inputs, output])
    return _plan(inputs, output, RVQ_SUFFIX, RVQ_SUFFIXES, Folders())


def _refuse_nothing(names: Sequence[str], folders: Folders, command: str) -> None:
    if not names and not folders.listed:
        raise UsageError("missing argument 'IN...'", f"rvq {command} --help shows what there is")


def _localized(names: Sequence[str], output: str | None, folders: Folders) -> tuple[Sequence[str], str | None, Folders]:
    """Return the names with file:// taken off, once it is sure that the other URLs can be opened."""
    found = [localized(name) for name in names]
    listed = tuple(localized(name) for name in folders.listed)
    output = None if output is None else localized(output)
    kinds = {name.split("://")[0]: name for name in (*found, *listed, output or "") if is_url(name)}
    for name in kinds.values():
        from rvqcodec.batch.remote import missing_driver

        if missing := missing_driver(name):
            raise UsageError(f"{name}: what opens such URLs is not installed", missing)
    return found, output, replace(folders, listed=listed)


def is_folder(name: str) -> bool:
    """Tell whether a name is a folder's."""
    if is_url(name):
        from rvqcodec.batch.remote import is_remote_folder

        return is_remote_folder(name)
    return name != STREAM and os.path.isdir(name)  # noqa: PTH112 - Path.is_dir raises for names that are too long


def refuse_folders(names: Sequence[str]) -> None:
    """Refuse folders and URLs, before anything is opened.

    Raises:
        UsageError: A name is a folder's or a URL.
    """
    for name in names:
        if is_url(name):
            raise UsageError(
                f"{name} is a URL", "rvq encode and rvq decode take URLs, other commands files of this machine"
            )
        if is_folder(name):
            raise UsageError(f"{name} is a folder, and folders can't be inputs", f"name files: {Path(name) / '*'}")


def files_of(names: Sequence[str], recursive: bool) -> Iterator[str]:
    """Yield names, and for folders those of the .rvq files in them.

    Raises:
        UsageError: A name is a URL.
        AudioError: A folder can't be read, or holds no .rvq files.
    """
    selection = Selection(suffixes=RVQ_SUFFIXES, recursive=recursive)
    for name in names:
        if is_url(name) or not is_folder(name):
            refuse_folders([name])
            yield name
        else:
            yield from (entry.name for entry in _folder_entries(name, "", None, selection))


def folders_of(recursive: bool, extensions: str | None, exclude: Sequence[str] | None, filelist: str | None) -> Folders:
    """Return what the flags say of folders; a list of files is read here.

    Raises:
        UsageError: --ext names nothing.
        AudioError: The list can't be read, or is empty.
    """
    names = () if extensions is None else [name.strip(" .*").lower() for name in extensions.split(",")]
    if not all(names) or extensions == "":
        raise UsageError(f"--ext {extensions!r}: extensions parted by commas are wanted", "--ext wav,flac")
    return Folders(
        recursive=recursive,
        suffixes=frozenset(f".{name}" for name in names),
        exclude=tuple(exclude or ()),
        listed=() if filelist is None else _read_list(filelist),
    )


def _read_list(name: str) -> tuple[str, ...]:
    """Return the names in a list: parted by zero bytes where there are any, else by ends of lines."""
    try:
        data = sys.stdin.buffer.read() if name == STREAM else Path(name).read_bytes()
    except OSError as error:
        raise AudioError(f"the list {name} cannot be read: {(error.strerror or str(error)).lower()}") from error
    pieces = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    names = tuple(os.fsdecode(piece) for piece in pieces if piece)
    if not names:
        raise AudioError(f"the list {name} names no files")
    return names


def _plan(inputs: Sequence[str], output: str | None, suffix: str, suffixes: frozenset[str], folders: Folders) -> Plan:
    has_tree = bool(folders.listed) or any(map(is_folder, inputs))
    folder = _output_folder(has_tree or len(inputs) > 1, output)
    selection = Selection(suffixes=folders.suffixes or suffixes, recursive=folders.recursive, exclude=folders.exclude)
    jobs = tuple(
        dict.fromkeys(_job(entry, output, folder, suffix) for entry in _entries(inputs, folder, selection, folders))
    )
    _refuse_shared_streams(jobs)
    _refuse_collisions(jobs)
    return Plan(jobs=jobs, has_tree=has_tree)


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


def _entries(inputs: Sequence[str], output: str | None, selection: Selection, folders: Folders) -> Iterator[Entry]:
    """Yield all inputs: several folders stand under their own names below the output, files of a list at their paths."""
    is_alone = len(inputs) + len(folders.listed) == 1
    named = [(name, "") for name in inputs]
    for name, below in named + [(name, name if _is_below(name) else "") for name in folders.listed]:
        if not is_folder(name):
            yield Entry(name, below, _size(name))
            continue
        top = "" if is_alone else last(name)
        yield from _folder_entries(name, below or top, output, selection)


def _folder_entries(folder: str, top: str, output: str | None, selection: Selection) -> Iterator[Entry]:
    is_empty = True
    for path, n_bytes in _walk(folder, selection, output):
        is_empty = False
        yield Entry(join(folder, path), str(Path(top) / path), n_bytes)
    if is_empty:
        hint = "--ext names other extensions" if selection.recursive else "-r descends into folders"
        kind = "audio" if selection.suffixes == AUDIO_SUFFIXES else " or ".join(sorted(selection.suffixes))
        raise AudioError(f"the folder {folder} holds no {kind} files", hint)


def _walk(folder: str, selection: Selection, output: str | None) -> Iterator[tuple[str, int]]:
    if is_url(folder):
        from rvqcodec.batch.remote import walk_remote

        return walk_remote(folder, selection, output)
    return walk(folder, selection, None if output is None or is_url(output) else output)


def _size(name: str) -> int:
    if is_url(name):
        from rvqcodec.batch.remote import remote_size

        return remote_size(name)
    return 0 if name == STREAM else file_size(name)


def _is_below(name: str) -> bool:
    return not is_url(name) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _is_rvq(name: str) -> bool:
    return name.lower().endswith(RVQ_SUFFIX)


def _output_folder(is_batch: bool, output: str | None) -> str | None:
    """Return the folder that outputs go into, or None when the output is a file or stands beside its input."""
    if output is None or output == STREAM:
        return None
    return output if is_batch or output.endswith((os.sep, "/")) or is_folder(output) else None


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
            raise OutputError(f"{other.source} and {job.source} would both become {job.target}", "run them apart")
        taken = next((sources[identity] for identity in _identities(job.target) if identity in sources), None)
        if taken == job.source:
            raise OutputError(f"{job.target}: the output is the input itself", "name another output with -o")
        if taken is not None:
            problem = f"{job.target}, the output of {job.source}, is an input too"
            raise OutputError(problem, "name another output with -o")


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
