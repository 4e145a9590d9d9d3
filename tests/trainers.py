"""What tests of training share: a small model at the usual rates, made-up recordings, crops of them."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np

from rvqcodec.training.corpus.corpus import Corpus, Recording
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.train.settings import Settings

CROP = 4_800
SETTINGS = Settings(steps=8, batch=2, crop_s=0.1, warmup=1, restart_every=3, bf16=False, decay_share=0.5)


def trained_config(**changes):
    """Return the configuration of a model of 4 layers of 16 entries that runs in milliseconds at 48 kHz."""
    from rvqcodec.models.rvq48.config import Rvq48Config

    parts = ("encoder_fine", "encoder_coarse", "decoder_coarse", "decoder_fine", "postfilter")
    sizes = {f"{part}_width": 8 for part in parts} | {f"{part}_blocks": 1 for part in parts}
    values = {"waveform_dim": 8, "n_codebooks": 4, "codebook_size": 16, "search_stops": (2, 4)}
    return Rvq48Config(**{**sizes, **values, **changes})


def random_model(seed=0, scale=1.0, **changes):
    """Return a model of `trained_config` with random codebooks, ready to run."""
    import torch

    from rvqcodec.models.rvq48.model import Rvq48

    torch.manual_seed(seed)
    model = Rvq48(trained_config(**changes)).eval().requires_grad_(False)
    model.quantizer.codebooks.normal_(std=scale)
    return model


def recording(path, kind, split, seconds, offset=0):
    """Return a recording of a package `p`, whose hash is its path."""
    return Recording(
        package="p", version="1.0", path=path, sha256=path, licence="CC0", source_rate=48_000, seconds=seconds,
        kind=kind, split=split, offset=offset, n_samples=round(48_000 * seconds),
    )  # fmt: skip


def made_corpus():
    """Return four short recordings of noise for training."""
    audio = np.random.default_rng(0).normal(0, 2000, 96_000).astype(np.int16)
    lengths = (0.05, 1.0)
    recordings = [
        recording(f"{kind}{n}", kind, "train", lengths[n], n * 2400) for kind in ("speech", "music") for n in (0, 1)
    ]
    return Corpus(tuple(recordings), {"speech": audio, "music": audio[::-1]})


def made_crops(seed=0):
    """Return crops of 0.1 s."""
    return Crops(made_corpus(), CROP, seed)


def waves():
    """Return batches of crops as tensors."""
    import torch

    return [torch.from_numpy(made_crops().batch(step, 0, 8)) for step in range(4)]


@cache
def _started():
    import torch

    from rvqcodec.models.rvq48.model import Rvq48
    from rvqcodec.training.train.start import start_codebooks, start_linear_paths

    torch.manual_seed(0)
    model = Rvq48(trained_config())
    start_linear_paths(model, waves())
    start_codebooks(model, waves(), seed=0)
    return model


def started():
    """Return a model as a run from nothing starts with."""
    return copy.deepcopy(_started())


def noise(seconds=0.2, batch=2):
    """Return noise at the encoder's level."""
    import torch

    return 0.08 * torch.randn(batch, round(48_000 * seconds), generator=torch.Generator().manual_seed(1))
