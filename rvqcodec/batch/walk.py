"""Directory traversal: the selected files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rvqcodec.errors import AudioError, reason_of

AUDIO_SUFFIXES = frozenset(
    [
        ".wav",
        ".wave",
        ".bwf",
        ".rf64",
        ".w64",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".au",
        ".snd",
    ]
)
RVQ_SUFFIXES = frozenset([".rvq"])
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which files of a folder are taken.

    suffixes: Lower-case, with their dots.
    recursive: Whether folders in it are descended into.
    exclude: Patterns of names, or of paths below the folder, to skip.
    """

    suffixes: frozenset[str]
    recursive: bool = False
    exclude: tuple[str, ...] = ()

    def takes(self, name: str) -> bool:
        """Return whether a file's name has one of the suffixes."""
        return os.path.splitext(name)[1].lower() in self.suffixes  # noqa: PTH122 - Path is five times slower

    def excludes(self, relative: str) -> bool:
        """Return whether a path below the folder is skipped."""
        name = os.path.basename(relative)  # noqa: PTH119
        return any(fnmatch(relative, pattern) or fnmatch(name, pattern) for pattern in self.exclude)


def walk(folder: str, selection: Selection, outputs: str | None = None) -> Iterator[tuple[str, int]]:
    """Yield the selected files of a folder as paths below it, with their sizes in bytes, sorted folder by folder.

    Symbolic links are followed unless they lead to a folder that they stand in.

    Args:
        folder: The folder.
        selection: Which files.
        outputs: A folder that is not descended into: where the outputs go.

    Raises:
        AudioError: A folder can't be read.
    """
    skipped = None if outputs is None else os.path.realpath(outputs)
    waiting: list[tuple[str, tuple[Identity, ...]]] = [("", (_identity(folder),))]
    while waiting:
        relative, parents = waiting.pop()
        inner = []
        hint = "--exclude skips it" if relative else ""
        for entry in _entries(os.path.join(folder, relative) if relative else folder, hint):  # noqa: PTH118
            path = os.path.join(relative, entry.name)  # noqa: PTH118
            if selection.excludes(path):
                continue
            if not _is_folder(entry):
                if selection.takes(entry.name):
                    yield path, _size(entry)
            elif selection.recursive and os.path.realpath(entry.path) != skipped:
                identity = _identity(entry.path)
                if identity not in parents:
                    inner.append((path, (*parents, identity)))
        waiting += reversed(inner)


def file_size(path: str) -> int:
    """Return a file's size in bytes, or 0 where nobody knows."""
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _entries(folder: str, hint: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise AudioError(f"the folder {folder} cannot be read: {reason_of(error)}", hint) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: str) -> Identity:
    try:
        status = Path(folder).stat()
    except OSError as error:
        raise AudioError(f"the folder {folder} cannot be read: {reason_of(error)}") from error
    return status.st_dev, status.st_ino


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return 0
