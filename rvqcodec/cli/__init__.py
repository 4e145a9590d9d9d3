"""The command `rvq`: the only part of the package that knows typer and rich."""

from rvqcodec.cli.entry import command, main

__all__ = ["command", "main"]
