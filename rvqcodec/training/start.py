"""The start of a model from nothing: the linear paths in closed form, then k-means codebooks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from rvqcodec.models.codec import Codec
from rvqcodec.models.transform import compand
from rvqcodec.training.codebooks import kmeans_start

CORNER_HZ = 2_000.0


@torch.no_grad()
def start_linear_paths(codec: Codec, waves: Iterable[Tensor]) -> None:
    """Set the linear paths to the principal directions of weighted companded coefficients, and the energies' scale.

    The weights 1 / (1 + f / 2 kHz) make low frequencies count. Directions are not whitened; one global scale gives the
    waveform part a mean variance of 1, and the energies get the same total variance. Untrained, this already reaches
    PESQ-WB 1.80 and ViSQOL 3.74 with 24 layers.

    Args:
        codec: Its linear paths and energies are set in place.
        waves: Batches [batch, n_samples] of training audio.
    """
    config, encoder, decoder = codec.config, codec.encoder, codec.decoder
    hertz = (torch.arange(config.mdct_size) + 0.5) * config.sample_rate / 2 / config.mdct_size
    weights = (1 / (1 + hertz / CORNER_HZ)).repeat(config.merge).to(codec.silence.device)
    frames, energies = [], []
    for wave in waves:
        coefficients = encoder.mdct(wave)
        frames.append(compand(coefficients).reshape(-1, config.merge * config.mdct_size) * weights)
        energies.append(encoder.energies(coefficients).flatten(0, 1))
    weighted, envelope = torch.cat(frames), torch.cat(energies)
    values, vectors = torch.linalg.eigh(weighted.T @ weighted / len(weighted))
    directions = vectors[:, -config.waveform_dim :].flip(1)
    scale = (values[-config.waveform_dim :].mean()).rsqrt()
    encoder.linear.weight.copy_(scale * directions.T * weights)
    decoder.linear.weight.copy_(directions / weights[:, None] / scale)
    energy_scale = (config.waveform_dim / envelope.var(0).sum()).sqrt()
    for side in (encoder, decoder):
        side.energies.mean.copy_(envelope.mean(0))
        side.energies.scale.copy_(energy_scale)


@torch.no_grad()
def start_codebooks(codec: Codec, waves: Iterable[Tensor], seed: int) -> Tensor:
    """Fill the codebooks by k-means on the encoder's latents; return their counts [layers, codebook_size]."""
    latents = torch.cat([codec.encoder(wave).flatten(0, 1) for wave in waves])
    return kmeans_start(codec.quantizer.codebooks, latents, seed)
