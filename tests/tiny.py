"""A tiny seeded model, and made-up codes of it and of every other kind of model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rvqcodec.encoded import Encoded
from rvqcodec.signal import LayerGroup, Signal


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


def same(one, other):
    """Tell whether two `Encoded` are equal."""
    arrays = ("codes", "levels", "angles", "factors", "layers", "block_frames")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)
    return equal and one.signal == other.signal and one.n_samples == other.n_samples
