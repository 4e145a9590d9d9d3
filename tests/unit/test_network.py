"""The integer network: frequencies that are exact whatever computes them, and predictions from what is known alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from rvqcodec.errors import ModelError
from rvqcodec.formats.entropy import fast
from rvqcodec.formats.entropy import network as module
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.network import (
    MAX_FAN_IN,
    EntropyNetwork,
    frequencies,
    offsets,
    powers,
)
from tests.entropies import make_layer, make_network


def test_powers_are_exact():
    assert powers()[0] == 1 << 20 and powers()[64] == 1 << 19 and powers()[64 * 20] == 1 and powers()[-1] == 0
    assert all(int(w) ** 64 <= 1 << 64 * 20 - i < (int(w) + 1) ** 64 for i, w in enumerate(powers()[:-1]))


def test_frequencies_are_positive_and_sum_to_the_total():
    generator = np.random.default_rng(1)
    for spread in (0, 1, 500, 10**6):
        found = frequencies(generator.integers(-spread, spread + 1, (50, 1024))).astype(np.int64) + 1
        assert (found >= 1).all() and (found.sum(1) == TOTAL).all()
    assert (frequencies(np.zeros((1, 3), np.int64)) + 1).tolist() == [[5592406, 5592405, 5592405]]


def test_each_frame_is_in_one_pass_and_looks_only_at_what_is_known():
    network = make_network()
    for n_frames in (1, 2, 7, 50):
        for layer in range(3):
            passes = network.passes(layer, n_frames)
            assert sorted(np.concatenate(passes)) == list(range(n_frames))
            known = set()
            for number, frames in enumerate(passes):
                own = offsets(network.layers[layer].strides, number)
                near = {int(f + o) for f in frames for o in own if number and o}
                assert {f for f in near if 0 <= f < n_frames} <= known
                known |= set(map(int, frames))


def walk(network, codes):
    """Return the frequencies of all codes [layers, frames] as one array, as an encoder goes through them."""
    sums, found = network.start(codes.shape[1]), []
    for layer, row in enumerate(codes):
        for frames, table in network.read(layer, sums, len(row)):
            found.append(table)
            network.update(sums, layer, frames, row[frames])
    return np.concatenate(found)


def test_a_prediction_depends_on_nothing_that_comes_later():
    network = make_network()
    codes = np.random.default_rng(2).integers(0, 16, (3, 40)).astype(np.uint16)
    other = codes.copy()
    other[2] = 0
    assert np.array_equal(walk(network, codes)[:80], walk(network, other)[:80])
    assert not np.array_equal(walk(network, codes)[80:], walk(network, other)[80:])


def test_golden_frequencies():
    codes = np.random.default_rng(3).integers(0, 16, (3, 60)).astype(np.uint16)
    digest = hashlib.sha256((walk(make_network(), codes) + 1).astype("<u4").tobytes()).hexdigest()
    assert digest[:16] == "034995543287660e"


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("rows", [1, 7, 400])
def test_products_are_the_same_in_every_type_and_grouping(kind, rows):
    generator = np.random.default_rng(4)
    layer = make_layer(generator, (1,), size=64, width=MAX_FAN_IN // 5, hidden=90)
    network = EntropyNetwork("0" * 8, (layer,), 16)
    sums = network.start(400)
    sums[:] = generator.integers(-400, 400, sums.shape)
    frames = network.passes(0, 400)[1]
    whole = network.predict(sums, 0, 1, frames)
    pieces = [network.predict(sums, 0, 1, frames[i : i + rows]) for i in range(0, len(frames), rows)]
    assert np.array_equal(np.concatenate(pieces), whole)
    extreme = np.full((3, MAX_FAN_IN), 127)
    assert (extreme.astype(kind) @ extreme.astype(kind).T).max() == 127 * 127 * MAX_FAN_IN < 1 << 24


def test_what_cannot_be_exact_is_refused():
    layer = make_layer(np.random.default_rng(5))
    wrong = {
        "too wide": make_layer(np.random.default_rng(5), width=MAX_FAN_IN // 5 + 1),
        "halve": replace(layer, strides=(4, 1, 1)),
        "wrong shape": replace(layer, output_bias=layer.output_bias[1:]),
        "wrong shape or type": replace(layer, hidden=layer.hidden.astype(np.int16)),
        "bias outside": replace(layer, output_bias=layer.output_bias + (1 << 61)),
        "weight outside": replace(layer, output=np.full_like(layer.output, -128)),
    }
    for problem, part in wrong.items():
        with pytest.raises(ModelError, match=problem):
            EntropyNetwork("0" * 8, (part,), 16)
    with pytest.raises(ModelError, match="shift"):
        EntropyNetwork("0" * 8, (layer,), 0)


def test_the_compiled_loop_gives_the_same_integers():
    """As Python runs it; what numba makes of it is compared where numba is installed."""
    generator = np.random.default_rng(6)
    for size, hidden in ((2, 3), (64, 96), (1024, 96)):
        layer = make_layer(generator, (1,), size=size, hidden=hidden)
        products = generator.integers(-(1 << 23), 1 << 23, (9, size)).astype(np.float32)
        products[3:6] //= 1 << 12
        wide = products.astype(np.int64) * layer.output_scale + layer.output_bias >> 16
        arguments = (products, layer.output_scale, layer.output_bias, 16, powers())
        assert np.array_equal(fast.frequencies_of_products(*arguments), frequencies(wide))
        kernel = fast._compiled()
        assert kernel is None or np.array_equal(kernel(*arguments), frequencies(wide))


def test_predictions_are_the_same_before_and_after_numba(monkeypatch):
    codes = np.random.default_rng(3).integers(0, 16, (3, 60)).astype(np.uint16)
    before = walk(make_network(), codes)
    monkeypatch.setattr(fast, "ROWS_BEFORE", -1)
    assert np.array_equal(walk(make_network(), codes), before)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(fast, "ROWS_BEFORE", 1 << 60)
    assert np.array_equal(walk(make_network(), codes), before)
