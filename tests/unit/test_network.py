"""The integer network: frequencies that are exact whatever computes them, and predictions from what is known alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from rvqcodec.errors import ModelError
from rvqcodec.formats.network import (
    MAX_FAN_IN,
    TOTAL,
    EntropyNetwork,
    LayerNetwork,
    frequencies,
    offsets,
    powers,
)


def make_layer(generator, strides=(4, 2, 1), size=16, width=6, hidden=5):
    n_passes = len(strides) + 1

    def small(*shape):
        return generator.integers(-127, 128, shape).astype(np.int8)

    return LayerNetwork(
        strides=strides,
        embedding=small(size, width),
        hidden=small(n_passes, hidden, 5 * width),
        hidden_scale=generator.integers(200, 900, (n_passes, hidden)).astype(np.int32),
        hidden_bias=generator.integers(-(1 << 20), 1 << 20, (n_passes, hidden)),
        output=small(size, hidden),
        output_scale=generator.integers(200, 900, size).astype(np.int32),
        output_bias=generator.integers(-(1 << 20), 1 << 20, size),
    )


def make_network(seed=0, n_layers=3, **sizes):
    generator = np.random.default_rng(seed)
    strides = [(4, 2, 1), (1,), (1,)]
    layers = tuple(make_layer(generator, strides[i % 3], **sizes) for i in range(n_layers))
    return EntropyNetwork("0" * 16, layers, 16)


def test_powers_are_exact():
    assert powers()[0] == 1 << 20 and powers()[64] == 1 << 19 and powers()[64 * 20] == 1 and powers()[-1] == 0
    assert all(int(w) ** 64 <= 1 << 64 * 20 - i < (int(w) + 1) ** 64 for i, w in enumerate(powers()[:-1]))


def test_frequencies_are_positive_and_sum_to_the_total():
    generator = np.random.default_rng(1)
    for spread in (0, 1, 500, 10**6):
        found = frequencies(generator.integers(-spread, spread + 1, (50, 1024)))
        assert (found >= 1).all() and (found.sum(1) == TOTAL).all()
    assert frequencies(np.zeros((1, 3), np.int64)).tolist() == [[5592406, 5592405, 5592405]]


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
            network.learn(sums, layer, frames, row[frames])
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
    digest = hashlib.sha256(walk(make_network(), codes).astype("<u4").tobytes()).hexdigest()
    assert digest[:16] == "74a8fb9ef61551d3"


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("rows", [1, 7, 400])
def test_products_are_the_same_in_every_type_and_grouping(kind, rows):
    generator = np.random.default_rng(4)
    layer = make_layer(generator, (1,), size=64, width=MAX_FAN_IN // 5, hidden=90)
    network = EntropyNetwork("0" * 16, (layer,), 16)
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
        "bias past": replace(layer, output_bias=layer.output_bias + (1 << 61)),
        "weight past": replace(layer, output=np.full_like(layer.output, -128)),
    }
    for problem, part in wrong.items():
        with pytest.raises(ModelError, match=problem):
            EntropyNetwork("0" * 16, (part,), 16)
    with pytest.raises(ModelError, match="shift"):
        EntropyNetwork("0" * 16, (layer,), 0)
