"""Entropy networks on disk: the arrays of an integer network in one safetensors file, beside the weights. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from rvqcodec.errors import ModelError
from rvqcodec.weights.registry import read_metadata
from rvqcodec.weights.tables import ID_DIGITS

ARRAYS = ("embedding", "hidden", "hidden_scale", "hidden_bias", "output", "output_scale", "output_bias")
MAX_LAYERS = 64
MAX_FILE_BYTES = 1 << 28

Arrays = dict[str, npt.NDArray[Any]]


def read_network(path: Path) -> tuple[str, int, list[Arrays]]:
    """Return the id of a network's file (the first 16 hex digits of its SHA-256), its shift, and each layer's arrays.

    Raises:
        ModelError: The file is absent or isn't one.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{path} is too large to be an entropy network")
        data = path.read_bytes()
        tensors = safetensors.load(data)
        metadata = read_metadata(path)
        n_layers, shift = int(metadata["layers"]), int(metadata["shift"])
        if not 1 <= n_layers <= MAX_LAYERS:
            raise ModelError(f"{path} has a number of layers that no entropy network has")
        layers = [{name: tensors[f"{layer}.{name}"] for name in (*ARRAYS, "strides")} for layer in range(n_layers)]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} can't be read as an entropy network") from error
    return hashlib.sha256(data).hexdigest()[:ID_DIGITS], shift, layers


def write_network(path: Path, shift: int, layers: Sequence[Mapping[str, npt.NDArray[Any]]], fingerprint: str) -> None:
    """Write a network.

    Args:
        path: Where to.
        shift: Bits that scaled products are shifted by.
        layers: Each layer's arrays, by their names in `ARRAYS`, and its strides.
        fingerprint: Of the model whose codes it predicts.

    Raises:
        OSError: The file can't be written.
    """
    tensors = {
        f"{number}.{name}": np.ascontiguousarray(value)
        for number, layer in enumerate(layers)
        for name, value in layer.items()
    }
    metadata = {"kind": "network", "fingerprint": fingerprint, "layers": str(len(layers)), "shift": str(shift)}
    path.write_bytes(safetensors.save(tensors, metadata))
