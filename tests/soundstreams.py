"""Made-up SoundStream models, and where the real one's weights lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from rvqcodec.models.soundstream.config import SoundStreamConfig
from rvqcodec.models.soundstream.model import SoundStream

TINY = SoundStreamConfig(
    sample_rate=1_200,
    strides=(4, 3, 2),
    kernels=(8, 6, 4),
    widths=(4, 8, 16),
    groups=(1, 2),
    dilations=(1, 2),
    kernel_size=3,
    negative_slope=0.3,
    latent_dim=6,
    n_layers=3,
    codebook_size=4,
    default_layers=2,
    window_blocks=2,
)


def tiny_model(config=TINY, seed=0):
    """Return a seeded model whose codes are all used."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SoundStream(config).eval().requires_grad_(False)
        with torch.inference_mode():
            latent = model.encoder(torch.randn(1, 1, 100 * config.hop_length))
            model.encoder.last.bias -= latent.mean((0, 2))
        model.quantizer.codebooks.normal_().mul_(
            latent.std(2).mean() * 0.5 ** torch.arange(config.n_layers)[:, None, None]
        )
    return model


def conv_names(model, prefix):
    """Yield the names and modules of a network's convolutions in the order they run in."""
    for name, layer in getattr(model, prefix).named_modules(prefix=prefix):
        if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
            yield name, layer


def shared_lyra():
    """Return the folder of Lyra's real weights, or skip: they are too large and not ours to be here."""
    shared = Path(os.environ.get("RVQ_SHARED") or Path(__file__).parents[2] / "shared")
    folder = shared / "data" / "lyra-v1.2.0"
    if not folder.is_dir():
        pytest.skip(f"Lyra's weights aren't in {folder}: RVQ_SHARED names the folder that holds data/lyra-v1.2.0")
    return folder
