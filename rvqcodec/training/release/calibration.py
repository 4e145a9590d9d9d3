"""Measures what a decoder's finish needs: where decoded coefficients are only texture, how uneven, and by how much too quiet they are."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from torch import Tensor

from rvqcodec.codec.codec import Codec
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.models.rvq48.pitch import PitchFilter

UNKNOWN = 0.15
QUIET = 1e-3
REPEATED = 0.2
EXPONENTS, STRENGTHS = range(50, 105, 5), range(0, 45, 5)
"""Stronger combs bring fewer than 12 layers nearer still, and PESQ up by 0.04, but voices get blurred: Zimtohrli and STOI fall."""
EVEN = 100
"""How far noise is evened out, in hundredths, wherever there is any. Half of it gives effects half as much, at any number of layers."""
LOWEST_HZ = 900
"""Below, a voice's pitch is better wrong than whispered."""


def calibrate(codec: Codec, wave: Tensor) -> Codec:
    """Return the codec with its finish measured on typical sound; noise bands that it was trained with, and pitchless gains, stay.

    Args:
        codec: The codec, in evaluation mode.
        wave: Crops at the encoder's level, [batch, n], n a multiple of the hop length.
    """
    noise, makeup, exponents = [], [], []
    with torch.inference_mode():
        original = codec.encoder.mdct(wave)
        codes = codec.search(wave, codec.config.n_codebooks)
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
        pitch_strengths=(),
        noise_evenness=(),
        buzz_strengths=(),
        postfilter=(),
        pitchless_gains=(),
    )
    calibrated = with_config(codec, config)
    if not config.takes_pitch_filter:
        return calibrated
    with torch.inference_mode():
        strengths = _strengths(calibrated, wave, codes)
    even = tuple(EVEN if first < config.n_bands else 0 for first in config.noise_bands)
    return with_config(
        codec,
        dataclasses.replace(
            config,
            pitch_strengths=strengths,
            noise_evenness=even,
            buzz_strengths=even if any(even) else (),
            postfilter=codec.config.postfilter if any(even) else (),
            pitchless_gains=codec.config.pitchless_gains,
        ),
    )


def with_config(codec: Codec, config: CodecConfig) -> Codec:
    """Return the codec with another configuration of the same shape, perhaps without its postfilter or with tone layers."""
    changed, known = Codec(config, codec.name), codec.state_dict()
    fresh = {key: value for key, value in changed.state_dict().items() if ".tone_loudness." in key}
    changed.load_state_dict(
        fresh | {key: known[key] for key in changed.state_dict() if key in known or key not in fresh}
    )
    return changed.to(codec.silence.device).eval().requires_grad_(False)


def _strengths(codec: Codec, wave: Tensor, codes: Tensor) -> tuple[int, ...]:
    """Return the strengths of the comb filter, in hundredths, that bring the low coefficients nearest to the original's.

    Args:
        codec: Calibrated but for them.
        wave: As for `calibrate`.
        codes: All of its codes, [batch, layers, frames].
    """
    config = codec.config
    comb = PitchFilter(dataclasses.replace(config, pitch_strengths=(100,) * config.n_codebooks)).to(wave.device)
    decoder = codec.decoder
    n_low, position = decoder.finish.n_low, torch.zeros(len(wave), dtype=torch.int64, device=wave.device)
    original = decoder.mdct(wave)[..., :n_low]
    power = original.square().sum(-1)
    loud = power > QUIET * power.mean()
    strengths = []
    for n_layers in range(1, config.n_codebooks + 1):
        latent = codec.quantizer.decode(codes[:, :n_layers])
        counts = torch.full(latent.shape[:2], n_layers, device=wave.device)
        decoded = decoder(latent, counts, position=position)
        difference = comb.change(comb(decoded), counts)
        missed, change = original - decoder.mdct(decoded)[..., :n_low], decoder.mdct(difference)[..., :n_low]
        errors = [
            torch.log((missed - strength / 100 * change).square().sum(-1)[loud] / power[loud]).mean()
            for strength in STRENGTHS
        ]
        strengths.append(STRENGTHS[int(torch.stack(errors).argmin())])
    return tuple(strengths)


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
