"""Golden codes give golden bytes: every mode, kind of signal and shipped network, on every path through the machine."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rvqcodec.formats.entropy import fast
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.pipeline.tables import load_network
from rvqcodec.weights.registry import list_models
from tests.streams import read_file, write_file
from tests.vectors.make_codes import tables_named

FOLDER = Path(__file__).parent
LISTED = json.loads((FOLDER / "codes.json").read_text(encoding="utf-8"))
ENVIRONMENTS = {
    "1 thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "Prescott": {"OPENBLAS_CORETYPE": "Prescott"},
    "numba": {"RVQ_TEST_NUMBA": "1"},
    "numba off": {"NUMBA_DISABLE_JIT": "1", "RVQ_TEST_NUMBA": "1"},
}
SHIPPED = [path for model in list_models() for path in model.network_paths]


def rewritten(name):
    """Return a vector's bytes, and what its codes give when they are coded anew."""
    data, about = (FOLDER / f"{name}.rvq").read_bytes(), LISTED[name]
    header = RvqReader(io.BytesIO(data)).header
    tables, chunk_blocks = (
        tables_named(about["static"], about["network"], header.signal.codebook_sizes),
        header.chunk_blocks,
    )
    return data, write_file(read_file(data, tables), tables, LISTED[name]["entropy"], chunk_blocks=chunk_blocks)


@pytest.mark.parametrize("name", LISTED)
def test_codes_give_their_bytes(name):
    data, again = rewritten(name)
    assert hashlib.sha256(data).hexdigest() == LISTED[name]["file"] and again == data


def test_every_shipped_network_has_a_vector():
    assert {path.name for path in SHIPPED} <= {about["network"] for about in LISTED.values()}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_machine_gives_the_same(environment):
    """The paths of BLAS and numba; a vector holds since the one test above, so equal to it is equal to each other."""
    if environment == "numba" and fast._compiled() is None:
        pytest.skip("numba is not installed")
    code = (
        "import os\n"
        "from rvqcodec.formats.entropy import fast\n"
        "fast.ROWS_BEFORE = -1 if os.environ.get('RVQ_TEST_NUMBA') else 1 << 60\n"
        "from tests.vectors.test_codes_vectors import LISTED, rewritten\n"
        "for name in LISTED:\n"
        "    data, again = rewritten(name); assert again == data, name\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS", "OMP_", "NUMBA"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=FOLDER.parents[1],
        env=environ | ENVIRONMENTS[environment],
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, "torch"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_products_of_shipped_networks_are_exact(path, kind):
    """A layer's two products in other number types and by torch, against int64."""
    network = load_network(path)
    rng = np.random.default_rng(0)
    for layer in (network.layers[0], network.layers[-1]):
        for matrix in (*layer.hidden, layer.output):
            seen = rng.integers(-127, 128, (300, matrix.shape[1]))
            exact = seen @ matrix.T.astype(np.int64)
            assert np.abs(seen).max() * np.abs(matrix.astype(np.int64)).sum(1).max() < 1 << 24
            if kind == "torch":
                import torch

                found = (torch.from_numpy(seen).float() @ torch.from_numpy(matrix.T.astype(np.float32))).numpy()
            else:
                found = seen.astype(kind) @ matrix.T.astype(kind)
            assert np.array_equal(found, exact)
