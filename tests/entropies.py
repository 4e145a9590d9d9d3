"""Made-up tables and networks for the entropy coder, and a range decoder written from SPEC.md alone."""

from __future__ import annotations

import numpy as np

from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.entropy.network import EntropyNetwork, LayerNetwork
from rvqcodec.formats.entropy.payload import StaticTables

TABLES_ID = "001122ff"


def make_static(n_layers, codebook_size, seed=0, skew=2.0):
    """Return random falling frequencies; with a large `skew` nearly all of the 2^24 fall to the first entry."""
    rng = np.random.default_rng(seed)
    weights = np.sort(rng.random((n_layers, codebook_size)) ** skew + 1e-12)[:, ::-1]
    frequencies = 1 + np.floor(weights / weights.sum(1, keepdims=True) * (TOTAL - codebook_size)).astype(np.int64)
    frequencies[np.arange(n_layers), frequencies.argmax(1)] += TOTAL - frequencies.sum(1)
    return StaticTables(TABLES_ID, frequencies.astype(np.uint32))


def make_tables(n_layers, codebook_size, seed=0, skew=2.0):
    """Return `make_static` as all that is known beforehand."""
    return Tables(static=make_static(n_layers, codebook_size, seed, skew))


def tables_of_sizes(sizes, seed=0):
    """Return random static tables of layers of these sizes."""
    rows = [make_static(1, size, seed + layer).frequencies[0] for layer, size in enumerate(sizes)]
    return Tables(static=StaticTables(TABLES_ID, rows))


def fitting_tables(n_layers):
    """Return the frequencies of the codes of `make_encoded`, of 16 entries each."""
    weights = (7 / 8) ** np.arange(16)
    weights[-1] *= 8
    frequencies = np.floor(weights / weights.sum() * TOTAL).astype(np.uint32)
    frequencies[0] += TOTAL - int(frequencies.sum())
    return Tables(static=StaticTables(TABLES_ID, np.tile(frequencies, (n_layers, 1))))


def make_layer(generator, strides=(4, 2, 1), size=16, width=6, hidden=5):
    """Return a random layer of a network."""
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


def network_of_sizes(sizes, seed=0):
    """Return a random network of layers of these sizes."""
    generator = np.random.default_rng(seed)
    return EntropyNetwork("ff0000ff", tuple(make_layer(generator, size=size) for size in sizes), 16)


def make_network(seed=0, n_layers=3, **sizes):
    """Return a random network; its layers take turns in their passes."""
    generator = np.random.default_rng(seed)
    strides = [(4, 2, 1), (1,), (1,)]
    layers = tuple(make_layer(generator, strides[i % 3], **sizes) for i in range(n_layers))
    return EntropyNetwork("ff0000ff", layers, 16)


def range_decode(payload, frequencies, n_codes):
    """Decode a payload of mode 1 as SPEC.md section 6 says, without any library."""
    ends = np.cumsum(np.asarray(frequencies, np.int64))
    words = payload + bytes(-len(payload) % 4)
    words = [int.from_bytes(words[i : i + 4], "big") for i in range(0, len(words), 4)]
    words += [0] * (n_codes + 2)
    offset, width, position = words[0] << 32 | words[1], (1 << 64) - 1, 2
    codes = []
    for _ in range(n_codes):
        scale = width >> 24
        quantile = offset // scale
        if quantile >= 1 << 24:
            raise ValueError("no encoder writes this")
        code = int(np.searchsorted(ends, quantile, side="right"))
        frequency = int(frequencies[code])
        offset -= scale * (int(ends[code]) - frequency)
        width = scale * frequency
        if width < 1 << 32:
            width <<= 32
            offset = offset << 32 | words[position]
            position += 1
        codes.append(code)
    return codes
