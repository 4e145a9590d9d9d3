"""Level correction of sinusoids: ridge regression of the level deficit of tonal bands on latent and decoded envelope.

Bands with little but a tone are decoded too quiet, since such signals are rare in training. The regression is fitted to crops of the
corpus, half of them with synthetic gliding tones added, and applied only where a sinusoid is coded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from rvqcodec.models.rvq48.config import SINUSOID_RANGES_HZ
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.models.rvq48.sinusoids import frequencies

SEED = 3
RIDGE = 10.0
OVER_DB = (-10.0, 60.0)
"""Range of the level of a synthetic tone relative to its crop."""
PLAIN = 0.5
"""Fraction of crops without a synthetic tone, so that tones of music are represented."""
EDGE = 12
"""Frames at both ends of a crop that are excluded, whose context is incomplete."""


@torch.no_grad()
def fit_sinusoid_loudness(codec: Rvq48, crops: Iterable[Tensor]) -> None:
    """Fit `decoder.sinusoids.loudness`, in place.

    Args:
        codec: A calibrated codec.
        crops: Batches [batch, n_samples] of training audio.
    """
    linear, generator = codec.decoder.sinusoids.loudness, np.random.default_rng(SEED)
    found = [_examples(codec, crop, generator) for crop in crops]
    inputs, missing, bands = (torch.cat(part) for part in zip(*found, strict=True))
    inputs = torch.cat([inputs, torch.ones_like(inputs[:, :1])], 1).double()
    for band in bands.unique():
        rows, selected = inputs[bands == band], missing[bands == band].double()
        ridge = RIDGE * torch.eye(rows.shape[1], dtype=torch.float64, device=rows.device)
        solved = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ selected).float()
        linear.weight[band], linear.bias[band] = solved[:-1], solved[-1]


def _examples(codec: Rvq48, crop: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return regressors [n, dim], log energy deficits [n] and bands [n] of the detected tones."""
    config, decoder = codec.config, codec.decoder
    over = torch.from_numpy(generator.uniform(*OVER_DB, (len(crop), 1))).float()
    over[: round(PLAIN * len(crop))] = -math.inf
    plain = crop / crop.square().mean(1, keepdim=True).sqrt().clamp(min=1e-9)
    wave = plain + torch.pow(10.0, over / 20).to(crop.device) * _test_tones(
        crop.shape, config.sample_rate, generator
    ).to(crop.device)
    wave = wave * 10 ** (config.level_dbfs / 20) / wave.square().mean(1, keepdim=True).sqrt().clamp(min=1e-9)
    codes = codec.encode(wave[:, None], config.n_layers, 1)
    counts = torch.from_numpy(generator.integers(max(config.sinusoid_layers) + 1, config.n_layers + 1, len(crop)))
    n_layers = counts.to(crop.device)[:, None].expand(-1, codes.shape[2])
    vectors, sinusoids = codec.split(codes, n_layers)
    n_vectors = codec.n_vector_layers[n_layers]
    latent = codec.quantizer.decode(vectors, n_vectors)
    spectrum = decoder.spectrum(latent, n_vectors, n_vectors > 0, torch.zeros_like(n_layers[:, 0]), sinusoids)
    spectrum = decoder.noise(decoder.compression(spectrum))
    missing = decoder.energies(decoder.mdct(wave)) - spectrum.envelope
    inputs = decoder.sinusoids.inputs(spectrum)
    edges = torch.tensor(config.band_edges, device=crop.device) * (config.sample_rate / 2 / config.mdct_size)
    parts = []
    for hertz in frequencies(sinusoids).unbind(1):
        band = torch.bucketize(hertz.contiguous(), edges, right=True).clamp(1, config.n_bands) - 1
        selected = hertz > 0
        selected[:, :EDGE] = selected[:, -EDGE:] = False
        parts.append((inputs[selected], missing.gather(2, band[..., None])[..., 0][selected], band[selected]))
    inputs, missing, bands = (torch.cat(part) for part in zip(*parts, strict=True))
    return inputs, missing, bands


def _test_tones(shape: torch.Size, sample_rate: int, generator: np.random.Generator) -> Tensor:
    """Return synthetic tones with glides, vibrato and tremolo, of mean square at most 1, of `shape`."""
    n, time = shape[0], np.arange(shape[1]) / sample_rate
    low, high = SINUSOID_RANGES_HZ[0][0], SINUSOID_RANGES_HZ[-1][1]

    def draw(least: float, most: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        return generator.uniform(least, most, (n, 1))

    depth, rate = generator.choice([0.0, 0.02, 0.1], (n, 1)), draw(2, 12)
    octaves = np.log2(low) + draw(0, math.log2(high / low)) + draw(-0.3, 0.3) * time
    hertz = np.exp2(octaves + depth * np.sin(2 * np.pi * rate * time)).clip(low, high)
    tremolo = 0.6 + 0.6 * np.sin(2 * np.pi * (draw(0.3, 4) * time + draw(0, 1)))
    amplitude = np.where(draw(0, 1) < 0.6, tremolo.clip(0, 1), 1.0)
    return torch.from_numpy(math.sqrt(2) * amplitude * np.sin(2 * np.pi * np.cumsum(hertz, 1) / sample_rate)).float()
