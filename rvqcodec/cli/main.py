"""From the command line to an exit status: every error ends here, and only here."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from rvqcodec.cli.errors import BUG, CLOSED_PIPE, INTERRUPTED, ClosedPipe, report_error, status_of
from rvqcodec.cli.text import forget_stdout


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
        forget_stdout()
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 0 if error.code is None else BUG
    except Exception as error:
        report_error(error, debug="--debug" in arguments)
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
