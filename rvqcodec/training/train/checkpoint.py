"""Training checkpoints: one file, replaced atomically, loaded without unpickling code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from rvqcodec.errors import ModelError, OutputError

KEYS = frozenset({"settings", "config", "progress", "codec", "average", "optimizers", "codebooks", "discriminator"})


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint: to a temporary name beside it, synced, then renamed.

    Raises:
        OutputError: It can't be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write the checkpoint {path}: {error}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        ModelError: It is missing, damaged or not a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path} can't be read as a checkpoint") from error
    if not isinstance(state, dict) or set(state) != KEYS:
        raise ModelError(f"{path} is not a checkpoint of this package")
    return state
