"""Serialisation of entropy networks: the integer arrays of all layers in one safetensors file; no torch."""

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
    """Read a network.

    Returns:
        Its id (the first 8 hex digits of the file's SHA-256), its shift, and each layer's arrays by name (`ARRAYS` and "strides").

    Raises:
        ModelError: The file is missing or isn't an entropy network.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelError(f"{path} is too large to be an entropy network")
        data = path.read_bytes()
        tensors = safetensors.load(data)
        metadata = read_metadata(path)
        n_layers, shift = int(metadata["layers"]), int(metadata["shift"])
        if not 1 <= n_layers <= MAX_LAYERS:
            raise ModelError(f"{path} has an impossible number of layers")
        layers = [{name: tensors[f"{layer}.{name}"] for name in (*ARRAYS, "strides")} for layer in range(n_layers)]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} can't be read as an entropy network") from error
    return hashlib.sha256(data).hexdigest()[:ID_DIGITS], shift, layers


def write_network(path: Path, shift: int, layers: Sequence[Mapping[str, npt.NDArray[Any]]], fingerprint: str) -> None:
    """Write a network.

    Args:
        path: The output.
        shift: Right shift of scaled products, in bits.
        layers: Each layer's arrays by name (`ARRAYS` and "strides").
        fingerprint: Of the model.

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
