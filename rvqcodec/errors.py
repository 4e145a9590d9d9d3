"""Exceptions and their exit statuses.

RvqError                    1
+-- AudioError              4   input audio unreadable or unsupported
+-- FormatError             5   not an .rvq file, damaged or truncated
|   +-- NotRvqError         5   the signature is missing
|   +-- VersionError        5   written by a newer major version
|   +-- LimitError          5   a length or count exceeds its limit
|   +-- DamageError         5   bytes contradict their checksum
|   +-- TruncatedError      5   the file ends before its end section
+-- ModelError              6   model unknown, missing, or not the one the file names
+-- OutputError             7   output exists, equals the input, or cannot be written
+-- DeviceError             8   device or memory
+-- MissingPackageError     2   an optional package is not installed
+-- BugError                1   a bug, reported while other files are processed

Usage errors exit with 2, a batch with failures with 3, an interrupt with 130, other signals with 128 plus their number
(143, 129), a closed standard output with 141; an exception outside this tree is a bug and exits with 1.
"""

from __future__ import annotations

from collections.abc import Mapping


class ArgumentError(ValueError):
    """An argument is out of range, or arguments are mutually exclusive.

    Args:
        problem: What is wrong or expected.
        arguments: Names, as in Python, and values; the command line says its flags instead.
    """

    def __init__(self, problem: str, arguments: Mapping[str, object]) -> None:
        named = [f"{name}={value!r}" for name, value in arguments.items()]
        super().__init__(f"{named[0]}: {problem}" if len(named) == 1 else f"{' and '.join(arguments)} {problem}")
        self.problem = problem
        self.arguments = dict(arguments)

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, dict[str, object]]]:
        return type(self), (self.problem, self.arguments)


class RvqError(Exception):
    """An expected failure, with an optional hint.

    Args:
        message: The problem, without the file's name and without a full stop.
        hint: What the user can do, or "".
    """

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AudioError(RvqError):
    """Input audio is unreadable or unsupported."""

    exit_status = 4


class FormatError(RvqError):
    """The input is not an .rvq file, or a damaged or truncated one."""

    exit_status = 5


class NotRvqError(FormatError):
    """The signature of an .rvq file is missing."""


class VersionError(FormatError):
    """The file was written by a newer major version of the format."""


class LimitError(FormatError):
    """A length or count in the file exceeds the limit of its field."""


class DamageError(FormatError):
    """Bytes of the file contradict their checksum."""


class TruncatedError(FormatError):
    """The file ends before its end section."""


class ModelError(RvqError):
    """A model is unknown, missing, or not the one that the file names."""

    exit_status = 6


class OutputError(RvqError):
    """An output exists already, equals the input, or cannot be written."""

    exit_status = 7


class DeviceError(RvqError):
    """A device is absent or failed, or memory ran out."""

    exit_status = 8


class MissingPackageError(RvqError):
    """An optional package is not installed.

    Args:
        message: What needs which package.
        extra: The extra of rvqcodec that installs it.
    """

    exit_status = 2

    def __init__(self, message: str, extra: str) -> None:
        super().__init__(message, f"pip install 'rvqcodec[{extra}]'")
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingPackageError], tuple[str, str]]:
        return type(self), (self.message, self.extra)


class BugError(RvqError):
    """A bug, found while processing one of several files.

    Args:
        message: The exception.
        trace: Its traceback, for --debug.
    """

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message, "this is a bug: please report it with what --debug prints")
        self.trace = trace

    def __reduce__(self) -> tuple[type[BugError], tuple[str, str]]:
        return type(self), (self.message, self.trace)


def reason_of(error: OSError) -> str:
    """Return what the system says of a failure, in the manner of our messages."""
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return (error.strerror or str(error)).lower()
