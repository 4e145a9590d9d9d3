"""Makes golden vectors of the entropy modes: `python tests/vectors/make_entropy.py [NETWORK]`. Tests never run this.

NETWORK is a shipped network's file, such as rvq48-v1.network-1.safetensors; of each, one vector stays for ever. Without it, vectors of all
modes are made with a tiny network. What exists is never changed; `entropy.json` gets a line for each new vector.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from tiny import TABLES_ID, fitting_tables, make_encoded, make_network, make_signal, write_file  # noqa: E402

from rvqcodec.formats.entropy.layers import Tables  # noqa: E402
from rvqcodec.pipeline.tables import load_network  # noqa: E402
from rvqcodec.weights.networks import ARRAYS, write_network  # noqa: E402
from rvqcodec.weights.registry import data_folder  # noqa: E402

TINY_NETWORK = FOLDER / "tiny-entropy.network-1.safetensors"


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


def tiny_files():
    """Return vectors of every mode by name."""
    network, static = make_tiny_network(), fitting_tables(4).static
    stereo = make_encoded(make_signal(), 9500, seed=8, silent=0.2)
    return {
        "entropy-counts": (write_file(stereo, Tables(), "counts", chunk_blocks=4), "counts", None),
        "entropy-counts-from-static": (write_file(stereo, Tables(static=static), "counts"), "counts", TABLES_ID),
        "entropy-network": (write_file(stereo, Tables(network=network), "network", chunk_blocks=9), "network", None),
        "entropy-auto": (write_file(stereo, Tables(static=static, network=network)), "auto", TABLES_ID),
    }


def shipped_file(path):
    """Return the vector of one shipped network: likely codes, from its own first layers on, and unlikely ones."""
    network = load_network(path)
    signal = make_signal(
        model=path.name.split(".")[0],
        sample_rate=48_000,
        model_sample_rate=48_000,
        hop_length=960,
        n_layers=len(network.layers),
        codebook_size=1024,
    )
    rng = np.random.default_rng(5)
    encoded = make_encoded(signal, 48_000 * 5, seed=9, silent=0.1)
    likely = np.cumsum(rng.random(encoded.codes.shape) < 0.1, -1) * 37 % 1024
    codes = np.where(encoded.codes > 0, likely, 0).astype(np.uint16)
    object.__setattr__(encoded, "codes", codes)
    name = path.name.removesuffix(".safetensors").replace(".", "-")
    return {name: (write_file(encoded, Tables(network=network), "network", chunk_blocks=3), "network", None)}


def main(network):
    files = shipped_file(data_folder() / network) if network else tiny_files()
    path = FOLDER / "entropy.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, (data, entropy, static) in files.items():
        found = {
            "file": hashlib.sha256(data).hexdigest(),
            "entropy": entropy,
            "static": static,
            "network": network or TINY_NETWORK.name,
        }
        if listed.setdefault(name, found) != found:
            raise SystemExit(f"{name} exists and is not changed; this run would have made another")
        (FOLDER / f"{name}.rvq").write_bytes(data)
    path.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
