"""Static entropy tables on disk: integer frequencies beside the weights they were counted with. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from rvqcodec.errors import ModelError

ID_DIGITS = 16


def read_tables(path: Path) -> tuple[str, npt.NDArray[np.uint32]]:
    """Return the id of a tables file (the first 16 hex digits of its SHA-256) and its frequencies, uint32 [layers, codebook_size].

    Raises:
        ModelError: The file is absent or isn't one.
    """
    try:
        data = path.read_bytes()
        frequencies = safetensors.load(data)["frequencies"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{path} can't be read as static entropy tables") from error
    return hashlib.sha256(data).hexdigest()[:ID_DIGITS], frequencies


def write_tables(path: Path, frequencies: npt.NDArray[np.uint32], model: str, fingerprint: str) -> None:
    """Write the tables of one model.

    Args:
        path: Where to.
        frequencies: uint32 [layers, codebook_size], each >= 1, each row's sum 2^24.
        model: The model's name.
        fingerprint: The model's fingerprint.

    Raises:
        OSError: The file can't be written.
    """
    metadata = {"model": model, "fingerprint": fingerprint, "kind": "static"}
    path.write_bytes(safetensors.save({"frequencies": np.ascontiguousarray(frequencies, np.uint32)}, metadata))
