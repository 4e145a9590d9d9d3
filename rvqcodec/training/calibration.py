"""Measures what a decoder's finish needs: where decoded coefficients are only texture, how uneven, and by how much too quiet they are."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor

from rvqcodec.models.codec import Codec

UNKNOWN = 0.15
QUIET = 1e-3
REPEATED = 0.2
EXPONENTS = range(50, 105, 5)
LOWEST_HZ = 900
"""Below, a voice's pitch is better wrong than whispered."""


def calibrate(codec: Codec, wave: Tensor) -> Codec:
    """Return the codec with its finish measured on typical sound; noise bands that it was trained with stay.

    Args:
        codec: The codec, in evaluation mode.
        wave: Crops at the encoder's level, [batch, n], n a multiple of the hop length.
    """
    noise, makeup, exponents = [], [], []
    with torch.inference_mode():
        original = codec.encoder.mdct(wave)
        codes = codec.quantizer.encode(codec.encoder(wave), codec.config.n_codebooks, 1)
        for n_layers in range(1, codec.config.n_codebooks + 1):
            latent = codec.quantizer.decode(codes[:, :n_layers])
            counts = torch.full(latent.shape[:2], n_layers, device=latent.device)
            decoded = codec.encoder.mdct(codec.decoder(latent, counts))
            noise.append(_first_noise(codec, original, decoded))
            makeup.append(_centibels(original, decoded))
            exponents.append(_exponent(codec, original, decoded))
    config = dataclasses.replace(
        codec.config,
        noise_bands=codec.config.noise_bands or tuple(noise),
        makeup_centibels=tuple(makeup),
        low_exponents=tuple(exponents),
    )
    calibrated = Codec(config, codec.name)
    calibrated.load_state_dict(codec.state_dict())
    return calibrated.to(wave.device).eval().requires_grad_(False)


def _first_noise(codec: Codec, original: Tensor, decoded: Tensor) -> int:
    """Return the first band from which on the decoded coefficients know nothing of the original and repeat themselves."""
    edges, merge = codec.config.band_edges, codec.config.merge
    first = codec.config.n_bands
    hertz = codec.config.sample_rate / 2 / codec.config.mdct_size
    for band, (low, high) in reversed(list(enumerate(pairwise(edges)))):
        if low * hertz < LOWEST_HZ:
            break
        a, b = (x[..., low:high].unflatten(1, (-1, merge)).flatten(2) for x in (original, decoded))
        if float(_correlation(a, b)) > UNKNOWN:
            break
        if float(_correlation(b[:, 1:], b[:, :-1])) > REPEATED:
            first = band
    return first


def _exponent(codec: Codec, original: Tensor, decoded: Tensor) -> int:
    """Return the exponent, in hundredths, that brings the low coefficients nearest to the original's, frame by frame."""
    finish, energies = codec.decoder.finish, codec.decoder.energies
    power = original[..., : finish.n_low].square().sum(-1)
    loud = power > QUIET * power.mean()

    def error(exponent: int) -> float:
        flat = finish.flattened(decoded, torch.full_like(decoded[:, :: codec.config.merge, 0], exponent / 100))
        difference = energies.rescale(flat, energies(decoded)) - original
        left = difference[..., : finish.n_low].square().sum(-1)
        return float(torch.log(left[loud] / power[loud]).mean())

    return min(EXPONENTS, key=error)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the median over frames of the normalised correlation of [batch, frames, coefficients]."""
    norms = a.square().sum(-1) * b.square().sum(-1)
    return ((a * b).sum(-1) / norms.sqrt().clamp(min=1e-9)).median()


def _centibels(original: Tensor, decoded: Tensor) -> int:
    """Return the median over crops of how much quieter the decoded sound is, in tenths of a decibel, not below 0."""
    power = [x.square().sum((1, 2)).clamp(min=1e-9) for x in (original, decoded)]
    return max(0, round(100 * float(torch.log10(power[0] / power[1]).median())))
