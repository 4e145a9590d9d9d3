"""Error reporting on the command line: exit statuses, one line, a hint, and flags instead of argument names."""

from __future__ import annotations

import sys
import traceback

from rvqcodec.cli.text import print_error
from rvqcodec.errors import ArgumentError, RvqError

BUG, USAGE, PARTLY_FAILED, DEVICE, INTERRUPTED, CLOSED_PIPE = 1, 2, 3, 8, 130, 141
BUG_HINT = "this is a bug: please report it with what --debug prints"
FLAGS = {
    "n_layers": "--layers",
    "bitrate_kbps": "--bitrate",
    "effort": "--effort",
    "entropy": "--entropy",
    "chunk_s": "--chunk",
    "n_threads": "--threads",
    "start": "--start",
    "end": "--end",
    "duration": "--duration",
    "sample_rate": "--rate",
}
PHRASES = {
    "overwrite=True": "-f",
    "another target": "another output with -o",
    "entropy='auto'": "--entropy auto",
}


class UsageError(ValueError):
    """The command line contradicts itself or asks for something impossible."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ClosedPipe(Exception):  # noqa: N818 - an end, not an error
    """Whoever read the output has gone."""


def status_of(error: BaseException) -> int:
    """Return the exit status that an exception stands for."""
    if isinstance(error, RvqError):
        return error.exit_status
    if isinstance(error, MemoryError):
        return DEVICE
    return USAGE if isinstance(error, ValueError) or _is_typer_usage(error) else BUG


def problem_of(error: BaseException) -> tuple[str, str]:
    """Return what an exception says: the problem and a hint, each one line, the hint maybe empty."""
    if isinstance(error, RvqError):
        return _in_flags(error.message), _in_flags(error.hint)
    if isinstance(error, MemoryError):
        return "there is not enough memory", "--threads 1 takes less, and so does a shorter --chunk"
    if isinstance(error, ArgumentError):
        return _flag_problem(error), ""
    if isinstance(error, ValueError):
        return str(error), getattr(error, "hint", "")
    if _is_typer_usage(error):
        return _typer_problem(error)
    return f"internal error: {type(error).__name__}: {error}", BUG_HINT


def report_error(error: BaseException, name: str = "", *, debug: bool = False) -> None:
    """Print an exception on stderr, with its traceback when that is asked for."""
    if debug:
        print(getattr(error, "trace", "") or "".join(traceback.format_exception(error)), file=sys.stderr)
    problem, hint = problem_of(error)
    if problem:
        print_error(name, problem, hint)


def _flag_problem(error: ArgumentError) -> str:
    """Return what is wrong with arguments, by the flags that give them."""
    flags = {FLAGS.get(name, name): value for name, value in error.arguments.items()}
    if len(flags) > 1:
        return f"{' and '.join(flags)} {error.problem}"
    return "".join(f"{flag} {value}: {error.problem}" for flag, value in flags.items())


def _in_flags(text: str) -> str:
    for phrase, flag in PHRASES.items():
        text = text.replace(phrase, flag)
    return text


def _is_typer_usage(error: BaseException) -> bool:
    # typer 0.29 brings its own copy of click and exports only this one of its usage errors.
    typer = sys.modules.get("typer")
    return typer is not None and isinstance(error, typer.BadParameter.__mro__[2])


def _typer_problem(error: BaseException) -> tuple[str, str]:
    """Return a usage error of typer as we say it: no capital, no full stop."""
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".").replace("\n", " ")
    message = message.replace("Value error, ", "").replace("Input should be", "expected a value")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "rvq"
    return message[:1].lower() + message[1:], f"see {path} --help" if message else ""
