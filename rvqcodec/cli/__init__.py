"""The command `rvq`: the only part of the package that knows typer and rich."""

from rvqcodec.cli.entry import main

__all__ = ["main"]
