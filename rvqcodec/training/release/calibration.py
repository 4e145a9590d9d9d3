"""Calibration of the enhancement chain: noise cut-off, make-up gain, compression exponent and comb gain by number of layers."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from rvqcodec.models.rvq48.model import Rvq48

UNCORRELATED = 0.15
QUIET = 1e-3
REPEATED = 0.2
EXPONENTS = range(50, 105, 5)
COMB_STRENGTHS = range(0, 45, 5)
"""In percent. Higher gains reduce the error below 12 layers further and raise PESQ by 0.04, but lower Zimtohrli and STOI."""
NOISE_STRENGTH = 1.0
"""Strength of smoothing and decorrelation wherever there is noise substitution; gains of effects are proportional to it."""
LOWEST_HZ = 900
"""Lower limit of noise substitution, which would turn voiced speech into whispering."""


@torch.inference_mode()
def calibrate(codec: Rvq48, wave: Tensor) -> None:
    """Set the strengths of the enhancement chain, measured on typical audio.

    Args:
        codec: The model, in evaluation mode; modified in place.
        wave: Crops at the level of the encoder's input, [batch, n], n a multiple of the hop length.
    """
    decoder, config = codec.decoder, codec.config
    original = codec.encoder.mdct(wave)
    codes = codec.search(wave, config.n_codebooks)
    decoder.noise.first_bin[0] = decoder.sinusoids.first_bin[0] = 0.0
    for n_layers in range(1, config.n_codebooks + 1):
        latent = codec.quantizer.decode(codes[:, :n_layers])
        counts = torch.full(latent.shape[:2], n_layers, device=latent.device)
        decoded, _ = decoder.network(latent, counts)
        first = config.band_edges[_first_noise(codec, original, decoded)]
        decoder.noise.first_bin[n_layers] = decoder.sinusoids.first_bin[n_layers] = float(first)
        decoder.noise.gain[n_layers] = _makeup_gain(original, decoded)
        decoder.compression.exponent[n_layers] = _exponent(codec, original, decoded)
        strength = NOISE_STRENGTH if first < config.mdct_size else 0.0
        decoder.smoothing.strength[n_layers] = decoder.decorrelation.strength[n_layers] = strength
        decoder.postfilter.strength[n_layers] = _comb_gain(codec, original, latent, counts)


def _first_noise(codec: Rvq48, original: Tensor, decoded: Tensor) -> int:
    """Return the first band from which on decoded coefficients are uncorrelated with the original and correlated across frames."""
    edges, merge = codec.config.band_edges, codec.config.merge
    first = codec.config.n_bands
    hertz = codec.config.sample_rate / 2 / codec.config.mdct_size
    for band, (low, high) in reversed(list(enumerate(pairwise(edges)))):
        if low * hertz < LOWEST_HZ:
            break
        a, b = (x[..., low:high].unflatten(1, (-1, merge)).flatten(2) for x in (original, decoded))
        if float(_correlation(a, b)) > UNCORRELATED:
            break
        if float(_correlation(b[:, 1:], b[:, :-1])) > REPEATED:
            first = band
    return first


def _exponent(codec: Rvq48, original: Tensor, decoded: Tensor) -> float:
    """Return the compression exponent of the smallest mean log error of the low coefficients."""
    compression, energies = codec.decoder.compression, codec.decoder.energies
    power = original[..., : compression.n_low].square().sum(-1)
    loud = power > QUIET * power.mean()

    def error(exponent: int) -> float:
        flat = compression.compressed(decoded, torch.full_like(decoded[:, :: codec.config.merge, 0], exponent / 100))
        difference = energies.rescale(flat, energies(decoded)) - original
        left = difference[..., : compression.n_low].square().sum(-1)
        return float(torch.log(left[loud] / power[loud]).mean())

    return min(EXPONENTS, key=error) / 100


def _comb_gain(codec: Rvq48, original: Tensor, latent: Tensor, counts: Tensor) -> float:
    """Return the comb gain of the smallest mean log error of the low coefficients, after the preceding steps of the chain."""
    decoder, postfilter = codec.decoder, codec.decoder.postfilter
    nothing = counts.new_zeros(len(counts))
    spectrum = decoder.spectrum(latent, counts, counts > 0, nothing, counts.new_zeros(len(counts), 0, counts.shape[1]))
    for step in (decoder.compression, decoder.noise, decoder.smoothing, decoder.decorrelation):
        spectrum = step(spectrum)
    low, target = (x[..., : postfilter.n_low] for x in (spectrum.coefficients, original))
    before, after = (
        decoder.mdct(near, postfilter.n_low) for near in decoder.pitch.long_term_predictions(spectrum.pitch)
    )
    piece = (
        (torch.arange(low.shape[1], device=low.device) + 0.5) * spectrum.pitch.voicing.shape[1] / low.shape[1]
    ).long()
    change = spectrum.pitch.voicing[:, piece, None] * (0.5 * (before + after) - low)
    power = target.square().sum(-1)
    loud = power > QUIET * power.mean()

    def error(strength: int) -> float:
        left = (target - low - strength / 100 * change).square().sum(-1)
        return float(torch.log(left[loud] / power[loud]).mean())

    return min(COMB_STRENGTHS, key=error) / 100


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the median over frames of the normalised correlation of two tensors [batch, frames, coefficients]."""
    norms = a.square().sum(-1) * b.square().sum(-1)
    return ((a * b).sum(-1) / norms.sqrt().clamp(min=1e-9)).median()


def _makeup_gain(original: Tensor, decoded: Tensor) -> float:
    """Return the median over crops of the level deficit of the decoded signal, as log10 of an amplitude, at least 0."""
    power = [x.square().sum((1, 2)).clamp(min=1e-9) for x in (original, decoded)]
    return max(0.0, 0.5 * float(torch.log10(power[0] / power[1]).median()))
