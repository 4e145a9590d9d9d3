"""Expansion of command-line names to input files: files, folders, lists of files, URLs, standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rvqcodec.batch.job import STREAM
from rvqcodec.batch.names import is_url, join, last, localized
from rvqcodec.batch.walk import AUDIO_SUFFIXES, Selection, file_size, walk
from rvqcodec.cli.errors import UsageError
from rvqcodec.errors import AudioError, reason_of


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


def folders_of(recursive: bool, extensions: str | None, exclude: Sequence[str] | None, filelist: str | None) -> Folders:
    """Return what the flags say of folders; a list of files is read here.

    Raises:
        UsageError: --ext names nothing.
        AudioError: The list can't be read, or is empty.
    """
    names = () if extensions is None else [name.strip(" .*").lower() for name in extensions.split(",")]
    if not all(names) or extensions == "":
        raise UsageError(f"--ext {extensions!r}: expected extensions separated by commas", "--ext wav,flac")
    return Folders(
        recursive=recursive,
        suffixes=frozenset(f".{name}" for name in names),
        exclude=tuple(exclude or ()),
        listed=() if filelist is None else _read_list(filelist),
    )


def _read_list(name: str) -> tuple[str, ...]:
    """Return the names in a list: separated by zero bytes where there are any, else by ends of lines."""
    try:
        data = sys.stdin.buffer.read() if name == STREAM else Path(name).read_bytes()
    except OSError as error:
        raise AudioError(f"the list {name} cannot be read: {reason_of(error)}") from error
    pieces = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    names = tuple(os.fsdecode(piece) for piece in pieces if piece)
    if not names:
        raise AudioError(f"the list {name} is empty")
    return names


def local_names(
    names: Sequence[str], output: str | None, folders: Folders
) -> tuple[Sequence[str], str | None, Folders]:
    """Return the names with file:// taken off, once it is sure that the other URLs can be opened.

    Raises:
        UsageError: What opens a URL isn't installed.
        AudioError: Nothing opens such URLs.
    """
    found = [localized(name) for name in names]
    listed = tuple(localized(name) for name in folders.listed)
    output = None if output is None else localized(output)
    kinds = {name.split("://")[0]: name for name in (*found, *listed, output or "") if is_url(name)}
    for name in kinds.values():
        from rvqcodec.batch.remote import missing_driver

        if missing := missing_driver(name):
            raise UsageError(f"{name}: the driver for such URLs is not installed", missing)
    return found, output, replace(folders, listed=listed)


def is_folder(name: str) -> bool:
    """Return whether a name is a folder's."""
    if is_url(name):
        from rvqcodec.batch.remote import is_remote_folder

        return is_remote_folder(name)
    return name not in (STREAM, "") and os.path.isdir(name)  # noqa: PTH112 - Path.is_dir raises for names too long


def entries(inputs: Sequence[str], output: str | None, suffixes: frozenset[str], folders: Folders) -> Iterator[Entry]:
    """Yield all inputs: several folders stand under their own names below the output, files of a list at their paths.

    Args:
        inputs: Names.
        output: The folder that outputs go into, which isn't descended into, or None.
        suffixes: Those that the command takes.
        folders: How folders are read.

    Raises:
        AudioError: A folder can't be read, or holds nothing that the command takes.
    """
    selection = Selection(suffixes=folders.suffixes or suffixes, recursive=folders.recursive, exclude=folders.exclude)
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
