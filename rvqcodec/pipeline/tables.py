"""Lookup of the entropy tables and networks of a model or a file; no torch."""

from __future__ import annotations

import functools
from pathlib import Path

from rvqcodec.errors import ModelError
from rvqcodec.formats.entropy.layers import NO_TABLES, Tables
from rvqcodec.formats.entropy.network import EntropyNetwork, LayerNetwork
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.formats.rvq.header import Header
from rvqcodec.weights.networks import read_network
from rvqcodec.weights.registry import ModelFile, list_models, read_model_file
from rvqcodec.weights.tables import read_tables


def tables_to_write(fingerprint: str, entropy: str, weights: Path | None = None) -> Tables:
    """Return what a writer may use of a model: its static tables, and the newest of its networks.

    Args:
        fingerprint: Of the model.
        entropy: A mode's name, or "auto".
        weights: The model's weights file, beside which they are looked for first.

    Raises:
        ModelError: The mode needs what the model doesn't have.
    """
    model = next((model for model in _models(weights) if model.fingerprint == fingerprint), None)
    static = _static(model) if model is not None and entropy in ("auto", "static", "counts") else None
    network = _newest(model) if model is not None and entropy in ("auto", "network") else None
    if (entropy == "static" and static is None) or (entropy == "network" and network is None):
        kind = "static entropy tables" if entropy == "static" else "entropy network"
        raise ModelError(f"there is no {kind} for the model {fingerprint}", "entropy='auto' does without")
    return Tables(static=static, network=network)


def tables_for(header: Header, weights: Path | None = None) -> Tables:
    """Return the entropy tables and the network that a file may use, as far as they are at hand.

    Args:
        header: The file's.
        weights: A weights file, beside which they are looked for first.
    """
    named = [name for name in header.table_ids if name != NO_TABLES]
    models = _models(weights) if named else []
    static = [found for model in models if (found := _static(model)) is not None and found.id in named]
    networks = [found for model in models for found in map(load_network, model.network_paths) if found.id in named]
    known = {*(found.id for found in static), *(found.id for found in networks)}
    return Tables(
        static=static[0] if static else None,
        network=networks[0] if networks else None,
        absent=tuple(NO_TABLES if name in known else name for name in header.table_ids),
    )


def _models(weights: Path | None) -> list[ModelFile]:
    """Return the model in a weights file, then all that are at hand."""
    return [*([] if weights is None else [read_model_file(weights)]), *list_models()]


def load_network(path: Path) -> EntropyNetwork:
    """Return the network in a file, read once a process.

    Raises:
        ModelError: It can't be read, or breaks a rule on which exactness rests.
    """
    return _load_network(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(4)
def _load_network(path: Path, _: int) -> EntropyNetwork:
    identity, shift, layers = read_network(path)
    return EntropyNetwork(identity, tuple(LayerNetwork.from_arrays(arrays) for arrays in layers), shift)


def _newest(model: ModelFile) -> EntropyNetwork | None:
    return load_network(model.network_paths[-1]) if model.network_paths else None


def _static(model: ModelFile) -> StaticTables | None:
    return StaticTables(*read_tables(model.tables_path)) if model.tables_path.is_file() else None
