"""Text for people: names without control characters, sizes, tables and error lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from rvqcodec.errors import OutputError
from rvqcodec.formats.files import writing


def printable(text: str) -> str:
    """Return text on one line: control characters and bytes that aren't UTF-8 become escapes."""
    decoded = os.fsencode(text).decode("utf-8", "backslashreplace") if _has_surrogates(text) else text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def shown(name: str, stream: str) -> str:
    """Return a file's name as lines show it; "-" is called `stream`."""
    return stream if name == "-" else printable(name)


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def print_result(text: str) -> None:
    """Print a line on standard output.

    Raises:
        OutputError: It can't be written.
    """
    try:
        with writing():
            print(text, flush=True)
    except OutputError:
        forget_stdout()
        raise


def forget_stdout() -> None:
    """Let the interpreter's last flush, to a closed pipe or a full disk, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def print_error(name: str, problem: str, hint: str = "") -> None:
    """Print `rvq: NAME: PROBLEM` and the hint on stderr."""
    say(f"rvq: {printable(name)}: {printable(problem)}" if name else f"rvq: {printable(problem)}")
    if hint:
        say(f"hint: {printable(hint)}")


def format_size(n_bytes: int) -> str:
    """Return a size with a unit of 1000, as disks count."""
    size, unit = float(n_bytes), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{n_bytes} B" if unit == "B" else f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"


def format_rates(n_layers: int, nominal_kbps: float, actual_kbps: float) -> str:
    """Return layers and bitrates as the final lines say them."""
    layers = "1 layer" if n_layers == 1 else f"{n_layers} layers"
    return f"{layers}  {nominal_kbps:.1f} kbps nominal, {actual_kbps:.1f} kbps on disk"


def format_table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as columns, aligned on the left, two spaces apart."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
