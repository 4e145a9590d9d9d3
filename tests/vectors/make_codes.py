"""Makes golden vectors of made-up codes: `python -m tests.vectors.make_codes [NETWORK]`. Tests never run this.

NETWORK is a shipped network's file, such as rvq48.network-1.safetensors. Without it, vectors of all entropy modes and of all kinds of
signals are made with a tiny network. What exists is never changed; `codes.json` gets a line for each new vector.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.pipeline.tables import load_network
from rvqcodec.weights.networks import ARRAYS, write_network
from rvqcodec.weights.registry import data_folder, find_model
from tests.entropies import fitting_tables, make_network, network_of_sizes, tables_of_sizes
from tests.streams import write_file
from tests.tiny import TRAITS, make_encoded, make_signal

FOLDER = Path(__file__).parent

TINY_NETWORK = FOLDER / "tiny-entropy.network-1.safetensors"
N_SAMPLES = {"overlap": 3896, "multiple": 2990}
"""So that the last two blocks are short; other vectors of signals have 2710 samples."""


def make_tiny_network():
    """Write the network of `make_network`, once."""
    if not TINY_NETWORK.exists():
        network = make_network(n_layers=4)
        arrays = [
            {"strides": np.array(layer.strides, np.int64)} | {name: getattr(layer, name) for name in ARRAYS}
            for layer in network.layers
        ]
        write_network(TINY_NETWORK, network.shift, arrays, "0123456789abcdef")
    return load_network(TINY_NETWORK)


def tables_named(static, network, sizes=()):
    """Return the tables of a vector from what `codes.json` says of them."""
    found = {"": None, "fitting": fitting_tables(4).static, "sizes": tables_of_sizes(sizes).static if sizes else None}
    if network == "sizes":
        return Tables(static=found[static], network=network_of_sizes(sizes))
    path = TINY_NETWORK if network.startswith("tiny") else data_folder() / network
    return Tables(static=found[static], network=load_network(path) if network else None)


def tiny_files():
    """Return vectors of every mode and of every kind of signal by name: bytes, entropy, static tables, network."""
    make_tiny_network()
    stereo = make_encoded(make_signal(), 9500, seed=8, silent=0.2)
    wanted = {
        "modes-raw": (stereo, "raw", "", "", 3),
        "modes-counts": (stereo, "counts", "", "", 4),
        "modes-counts-from-static": (stereo, "counts", "fitting", "", 2),
        "modes-static": (stereo, "static", "fitting", "", 2),
        "modes-network": (stereo, "network", "", TINY_NETWORK.name, 9),
        "modes-auto": (stereo, "auto", "fitting", TINY_NETWORK.name, 2),
        "signal-sizes-network": (make_encoded(make_signal(**TRAITS["sizes"]), 2710, 3), "network", "", "sizes", 2),
    }
    for trait, changes in TRAITS.items():
        encoded = make_encoded(make_signal(**changes), N_SAMPLES.get(trait, 2710), seed=5)
        for entropy in ("raw", "static", "counts"):
            static = "" if entropy == "raw" else "sizes"
            wanted[f"signal-{trait}-{entropy}"] = (encoded, entropy, static, "", 2)
    return wanted


def shipped_file(name):
    """Return the vector of one shipped network: likely codes, from its own first layers on, and unlikely ones."""
    signal = make_signal(
        model=name.split(".")[0],
        sample_rate=48_000,
        model_sample_rate=48_000,
        hop_length=960,
        groups=find_model(name.split(".")[0]).traits.groups,
    )
    rng = np.random.default_rng(5)
    encoded = make_encoded(signal, 48_000 * 5, seed=9, silent=0.1)
    likely = np.cumsum(rng.random(encoded.codes.shape) < 0.1, -1) * 37 % np.array(signal.codebook_sizes)[:, None]
    object.__setattr__(encoded, "codes", np.where(encoded.codes > 0, likely, 0).astype(np.uint16))
    return {name.removesuffix(".safetensors").replace(".", "-"): (encoded, "network", "", name, 3)}


def main(network):
    path = FOLDER / "codes.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, (encoded, entropy, static, tables, chunk_blocks) in (
        shipped_file(network) if network else tiny_files()
    ).items():
        known = tables_named(static, tables, encoded.signal.codebook_sizes)
        data = write_file(encoded, known, entropy, chunk_blocks=chunk_blocks)
        digest = hashlib.sha256(data).hexdigest()
        found = {"file": digest, "entropy": entropy, "static": static, "network": tables}
        if listed.setdefault(name, found) != found:
            raise SystemExit(f"{name} exists and is not changed; this run would have made another")
        (FOLDER / f"{name}.rvq").write_bytes(data)
    path.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
