"""Serialisation of static entropy tables: integer frequencies of each layer in one safetensors file; no torch."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from rvqcodec.errors import ModelError

ID_DIGITS = 8
MAX_LAYERS = 64


def read_tables(path: Path) -> tuple[str, tuple[npt.NDArray[np.uint32], ...]]:
    """Return the id of a tables file (the first 8 hex digits of its SHA-256) and each layer's frequencies, uint32 [codebook_size].

    Raises:
        ModelError: The file is missing or isn't one.
    """
    try:
        data = path.read_bytes()
        tensors = safetensors.load(data)
        runs = [tensors["frequencies"]] if "frequencies" in tensors else [tensors[str(i)] for i in range(len(tensors))]
        layers = tuple(row for run in runs for row in run)
        if not 1 <= len(layers) <= MAX_LAYERS:
            raise ModelError(f"{path} has an impossible number of layers")
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"{path} can't be read as static entropy tables") from error
    return hashlib.sha256(data).hexdigest()[:ID_DIGITS], layers


def write_tables(path: Path, frequencies: Iterable[npt.NDArray[np.uint32]], model: str, fingerprint: str) -> None:
    """Write the tables of a model, a matrix for each run of layers of equal codebook size.

    Args:
        path: The output.
        frequencies: Each layer's, uint32 [codebook_size], each >= 1, sum 2^24.
        model: The model's name.
        fingerprint: The model's fingerprint.

    Raises:
        OSError: The file can't be written.
    """
    metadata = {"model": model, "fingerprint": fingerprint, "kind": "static"}
    runs = [np.stack(list(rows)).astype(np.uint32) for _, rows in itertools.groupby(frequencies, len)]
    path.write_bytes(safetensors.save({str(number): run for number, run in enumerate(runs)}, metadata))
