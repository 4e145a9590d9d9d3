"""The command `rvq`: the only part of the package that knows typer and rich."""

import os

os.environ.setdefault(
    "OPENBLAS_NUM_THREADS", "1"
)  # numpy's products are small; windows and files are what runs in parallel

from rvqcodec.cli.main import command, main

__all__ = ["command", "main"]
