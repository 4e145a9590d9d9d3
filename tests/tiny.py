"""A tiny seeded model, made-up files of it, and a range decoder written from SPEC.md alone."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np

from rvqcodec.encoded import CodedBlock, Encoded, gather
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.entropy.network import EntropyNetwork, LayerNetwork
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.signal import LayerGroup, Signal

TABLES_ID = "001122ff"


def tiny_config(**changes):
    """Return the configuration of a model that runs in milliseconds: 50 frames of 160 samples a second."""
    from rvqcodec.models.rvq48.config import Rvq48Config

    values = {
        "sample_rate": 8000,
        "mdct_size": 80,
        "merge": 2,
        "band_edges": (0, 6, 60, 75, 80),
        "waveform_dim": 4,
        "encoder_fine_width": 4,
        "encoder_fine_blocks": 1,
        "encoder_coarse_width": 6,
        "encoder_coarse_blocks": 1,
        "decoder_coarse_width": 6,
        "decoder_coarse_blocks": 1,
        "decoder_fine_width": 4,
        "decoder_fine_blocks": 1,
        "postfilter_width": 4,
        "postfilter_blocks": 1,
        "kernel_size": 3,
        "expansion": 2,
        "n_codebooks": 4,
        "codebook_size": 16,
        "window_blocks": 2,
        "default_layers": 4,
        "search_stops": (2, 4),
    }
    return Rvq48Config(**{**values, **changes})


def small_config(**changes):
    """Return the configuration of a small model at the usual rates."""
    from rvqcodec.models.rvq48.config import Rvq48Config

    names = ["encoder_fine", "encoder_coarse", "decoder_coarse", "decoder_fine", "postfilter"]
    sizes = {f"{name}_width": 8 for name in names} | {f"{name}_blocks": 1 for name in names}
    values = {"waveform_dim": 8, "n_codebooks": 4, "codebook_size": 16, "search_stops": (2, 4), "default_layers": 4}
    return Rvq48Config(**{**sizes, **values, **changes})


def seeded_model(config, seed=0):
    """Return a model of a configuration with random weights and codebooks, and a decoder's chain that does something."""
    import torch

    from rvqcodec.models.rvq48.model import Rvq48

    generator = torch.Generator().manual_seed(seed)
    model = Rvq48(config).eval().requires_grad_(False)
    for _, value in model.named_parameters():
        value.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    shape = (config.codebook_size, config.latent_dim)
    for layer, codebook in enumerate(model.quantizer.codebooks):
        codebook.copy_(torch.randn(shape, generator=generator) * (1.0, 0.5, 0.3, 0.2)[min(layer, 3)])
    decoder = model.decoder
    decoder.compression.exponent.fill_(0.8)
    decoder.noise.gain.fill_(0.05)
    decoder.noise.first_bin.fill_(config.band_edges[-2])
    decoder.smoothing.strength.fill_(1.0)
    decoder.decorrelation.strength.fill_(1.0)
    decoder.postfilter.strength.fill_(0.4)
    decoder.sinusoids.first_bin.fill_(config.band_edges[1])
    model.set_silence()
    return model


def tiny_codec(seed=0):
    """Return a seeded model of `tiny_config`."""
    from rvqcodec.codec.codec import Codec

    return Codec(seeded_model(tiny_config(), seed), "tiny")


def make_signal(n_layers=4, codebook_size=16, **changes):
    """Return the signal of `tiny_codec` for stereo at 1000 Hz."""
    values = {
        "model": "tiny",
        "fingerprint": "0123456789abcdef",
        "sample_rate": 1000,
        "channels": 2,
        "sample_format": 2,
        "rotated": True,
        "groups": (LayerGroup(n_layers=n_layers, codebook_size=codebook_size),),
        "model_sample_rate": 800,
        "hop_length": 16,
        "frames_per_block": 50,
    }
    return Signal(**{**values, **changes})


TRAITS = {
    "plain": {},
    "strides": {
        "groups": (
            LayerGroup(n_layers=1, codebook_size=30, stride=4),
            LayerGroup(n_layers=1, codebook_size=16, stride=2),
            LayerGroup(n_layers=2, codebook_size=16),
        ),
        "frames_per_block": 48,
        "frame_multiple": 4,
        "levels": "none",
        "rotated": False,
    },
    "sizes": {
        "groups": (
            LayerGroup(n_layers=1, codebook_size=46),
            LayerGroup(n_layers=1, codebook_size=46, kind="sinusoid"),
            LayerGroup(n_layers=2, codebook_size=5),
        ),
    },
    "pairs": {"channels": 3, "rotated": False, "channels_per_stream": 2, "levels": "none", "scalable": False},
    "overlap": {"block_step": 50 * 16 - 24, "levels": "factor", "rotated": False, "channels_per_stream": 2},
    "multiple": {"frame_multiple": 10, "channels": 1, "rotated": False, "levels": "factor", "block_step": 600},
}
"""Signals of models of every kind, as changes to `make_signal`."""


def make_encoded(signal, n_samples, seed=0, silent=0.2):
    """Return made-up codes: streams of blocks that are silent with probability `silent`."""
    rng = np.random.default_rng(seed)
    block_frames = signal.block_frames(n_samples)
    n_frames, n_blocks = int(block_frames.sum()), len(block_frames)
    levels = rng.integers(1, 256, (signal.n_streams, n_blocks)).astype(np.uint8)
    levels[rng.random(levels.shape) < silent] = 0
    shape = (signal.n_streams, signal.n_layers, n_frames)
    sizes = np.array(signal.codebook_sizes)[:, None]
    codes = np.minimum(rng.geometric(2.0 / sizes, shape) - 1, sizes - 1).astype(np.uint16)
    for layer, stride in enumerate(signal.strides):
        codes[:, layer] = np.repeat(codes[:, layer, ::stride], stride, 1)
    active = np.repeat((levels != 0) | (signal.levels != "rms"), block_frames, 1)[:, None]
    angles = rng.integers(0, 512, n_blocks if signal.rotated else 0).astype(np.uint16)
    factors = rng.random((signal.n_streams, n_blocks)).astype(np.float32) + np.float32(0.1)
    return Encoded(
        signal=signal,
        codes=np.where(active, codes, 0).astype(np.uint16),
        levels=levels if signal.levels == "rms" else levels[:0],
        angles=angles,
        factors=factors if signal.levels == "factor" else factors[:0],
        layers=np.full(n_blocks, signal.n_layers, np.uint8),
        n_samples=n_samples,
    )


def fewer_layers(encoded, n_layers):
    """Return the first layers of an `Encoded`."""
    n_layers = min(n_layers, encoded.signal.n_layers)
    return replace(
        encoded,
        signal=encoded.signal.with_layers(n_layers),
        codes=encoded.codes[:, :n_layers],
        layers=np.minimum(encoded.layers, n_layers).astype(np.uint8),
    )


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


def write_file(encoded, tables=EMPTY_TABLES, entropy="auto", chunk_blocks=2, tags=None, source=None, extras=None):
    """Return an .rvq file as bytes."""
    header = Header(signal=encoded.signal, chunk_blocks=chunk_blocks, table_ids=tables.ids)
    file = io.BytesIO()
    writer = RvqWriter(file, header)
    blocks = list(encoded.blocks())
    for number, first in enumerate(range(0, len(blocks), chunk_blocks)):
        start, end = header.chunk_start(number), min(encoded.n_samples, header.chunk_start(number + 1))
        writer.write_blocks(blocks[first : first + chunk_blocks], end - start, tables, entropy)
    writer.finish(tags or {}, source, extras)
    assert writer.n_bytes == len(file.getvalue())
    return file.getvalue()


def read_file(data, tables=EMPTY_TABLES):
    """Return an .rvq file's bytes as an `Encoded`."""
    reader = RvqReader(io.BytesIO(data) if isinstance(data, bytes) else data)
    blocks: list[CodedBlock] = list(reader.blocks(tables))
    return gather(reader.header.signal, blocks, reader.tail.end.n_samples)


def same(one, other):
    """Tell whether two `Encoded` are equal."""
    arrays = ("codes", "levels", "angles", "factors", "layers", "block_frames")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.signal == other.signal and one.n_samples == other.n_samples


class Pipe(io.RawIOBase):
    """Bytes that can't seek and come in pieces of a few at a time."""

    def __init__(self, data, size=7):
        super().__init__()
        self._data = io.BytesIO(data)
        self._size = size

    def readable(self):
        return True

    def read(self, n_bytes=-1):
        return self._data.read(self._size if n_bytes < 0 else min(n_bytes, self._size))


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
