"""From the command line to an exit status: every error ends here, and only here."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from rvqcodec.cli.text import print_error
from rvqcodec.errors import RvqError
from rvqcodec.formats.files import write_error

BUG, USAGE, DEVICE, INTERRUPTED, CLOSED_PIPE = 1, 2, 8, 130, 141
BUG_HINT = "this is a bug: please report it with what --debug prints"


class UsageError(ValueError):
    """The command line asks for what can't be."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ClosedPipe(Exception):  # noqa: N818 - an end, not an error
    """Whoever read the output has gone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `rvq` and return its exit status, which `errors` lists.

    Args:
        argv: What stands after the program's name; the command line's own when absent.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        from rvqcodec.cli.app import run

        status = run(arguments)
        sys.stdout.flush()
        return status
    except (ClosedPipe, BrokenPipeError):
        _forget_stdout()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else BUG
    except Exception as error:
        tell(error, debug="--debug" in arguments)
        return status_of(error)


def command() -> NoReturn:
    """Run `rvq` as a process of its own.

    Where torch was imported, the interpreter isn't taken down piece by piece: that takes 0.8 s and does nothing for the user.
    All files are closed and renamed by then.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # not what nohup ignores
            signal.signal(number, _terminate)
    status = main()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a second Ctrl-C has nothing to end any more, and would change the status
    if "torch" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    """End as after Ctrl-C, without a half-written file, but with the signal's own status; a second signal ends at once."""
    signal.signal(number, signal.SIG_DFL)
    raise SystemExit(128 + number)


def print_result(text: str) -> None:
    """Print a line on standard output.

    Raises:
        OutputError: It can't be written.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_stdout()
        raise write_error(error) from error


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
        return error.message, error.hint
    if isinstance(error, MemoryError):
        return "there is not enough memory", "--threads 1 takes less, and so does a shorter --chunk"
    if isinstance(error, ValueError):
        return str(error), getattr(error, "hint", "")
    if _is_typer_usage(error):
        return _typer_problem(error)
    return f"internal error: {type(error).__name__}: {error}", BUG_HINT


def tell(error: BaseException, name: str = "", *, debug: bool = False) -> None:
    """Print an exception on stderr, with its traceback when that is asked for."""
    if debug:
        print(getattr(error, "trace", "") or "".join(traceback.format_exception(error)), file=sys.stderr)
    problem, hint = problem_of(error)
    if problem:
        print_error(name, problem, hint)


def _is_typer_usage(error: BaseException) -> bool:
    # typer 0.29 brings its own copy of click and exports only this one of its usage errors.
    typer = sys.modules.get("typer")
    return typer is not None and isinstance(error, typer.BadParameter.__mro__[2])


def _typer_problem(error: BaseException) -> tuple[str, str]:
    """Return a usage error of typer as we say it: no capital, no full stop."""
    message = str(getattr(error, "format_message", error.__str__)()).strip().rstrip(".").replace("\n", " ")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "rvq"
    return message[:1].lower() + message[1:], f"{path} --help shows what there is" if message else ""


def _forget_stdout() -> None:
    """Let the interpreter's last flush, to a closed pipe or a full disk, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
