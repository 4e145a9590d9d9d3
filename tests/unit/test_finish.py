"""Random signs where codes tell loudness alone, by place and above the calibrated band; low coefficients to a power."""

import dataclasses

import numpy as np
import pytest
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.enhance.noise_substitution import hash_bits
from rvqcodec.training.release.calibration import calibrate
from tests.tiny import tiny_codec, tiny_config


def finished(noise_bands, makeup=(0, 0, 0, 0), exponents=()):
    plain = tiny_codec()
    config = dataclasses.replace(
        plain.config, noise_bands=noise_bands, makeup_centibels=makeup, low_exponents=exponents
    )
    codec = Codec(config, "tiny").eval().requires_grad_(False)
    codec.load_state_dict(plain.state_dict())
    return codec


def test_bits_depend_on_the_place_alone():
    whole = hash_bits(torch.tensor([1000]), 50, 8)
    part = hash_bits(torch.tensor([1020]), 30, 8)
    assert torch.equal(whole[:, 20:], part)
    assert torch.equal(hash_bits(torch.tensor([-3, 4]), 5, 8)[0], hash_bits(torch.tensor([-3]), 5, 8)[0])


def test_bits_are_fair_and_independent():
    bits = hash_bits(torch.tensor([0]), 2000, 320).float()[0] * 2 - 1
    assert bits.mean().abs() < 0.005
    for other in (bits.roll(1, 0), bits.roll(3, 0), bits.roll(1, 1), bits.roll((1, 1), (0, 1))):
        assert (bits * other).mean().abs() < 0.005


def test_only_bands_from_the_calibrated_one_change_and_keep_their_magnitudes():
    codec = finished((3, 2, 1, 1))
    coefficients = torch.randn(1, 12, 8)
    for n_layers, edge in ((1, 8), (2, 5), (3, 2)):
        changed = codec.decoder.finish(coefficients, torch.full((1, 6), n_layers), torch.tensor([7]))
        assert torch.equal(changed[..., :edge], coefficients[..., :edge])
        assert torch.equal(changed.abs(), coefficients.abs())
        assert edge == 8 or not torch.equal(changed[..., edge:], coefficients[..., edge:])


def test_makeup_gain_is_in_centibels():
    finish = finished((3,) * 4, (0, 20, 0, 0)).decoder.finish
    assert torch.allclose(finish.gain(torch.tensor([[1, 2, 0]])), torch.tensor([[[0.0], [0.1], [0.0]]]))


def test_streams_and_repeats_differ_only_by_place():
    codec = finished((0,) * 4)
    codes = np.random.default_rng(0).integers(0, 16, (2, 40)).astype(np.uint16)
    layers, sounding = np.full(40, 2), np.ones(40, bool)
    first, again, later = (codec.decode_window(codes, layers, sounding, place) for place in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.allclose(first, later)


def test_any_threads_and_any_part_give_the_same_wave():
    codec = finished((1,) * 4)
    wave = np.random.default_rng(1).standard_normal((2, 6 * codec.block_size)).astype(np.float32) * 0.1
    encoded = codec.encode(wave, n_layers=2)
    whole = codec.decode(encoded)
    assert np.array_equal(codec.decode(encoded, n_threads=3), whole)
    part = list(codec.decode_blocks(list(encoded.blocks())[1:], 1, 1, 2))
    every = list(codec.decode_blocks(encoded.blocks(), 1))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(part, every[2:], strict=True))


def test_a_calibration_covers_every_number_of_layers():
    with pytest.raises(ModelError, match="entry for each number"):
        tiny_config(noise_bands=(1, 2))


def test_low_coefficients_are_raised_to_a_power_of_the_layers():
    codec = finished((3, 3, 3, 3), exponents=(100, 50, 80, 100))
    coefficients = torch.randn(1, 6, 8)
    finish = codec.decoder.finish
    changed = finish(coefficients, torch.tensor([[1, 2, 3]]), torch.tensor([0]))
    expected = coefficients.sign() * coefficients.abs() ** torch.tensor([1.0, 0.5, 0.8]).repeat_interleave(2)[:, None]
    assert torch.allclose(changed, expected, atol=5e-3)
    finish.n_low = 3
    assert torch.equal(finish(coefficients, torch.full((1, 3), 2), torch.tensor([0]))[..., 3:], coefficients[..., 3:])


def test_a_calibration_measures_and_keeps_the_codes():
    plain = tiny_codec()
    wave = 0.08 * torch.randn(4, 1600, generator=torch.Generator().manual_seed(0))
    calibrated = calibrate(plain, wave)
    config = calibrated.config
    assert len(config.low_exponents) == len(config.noise_bands) == 4
    assert all(50 <= exponent <= 100 for exponent in config.low_exponents)
    assert calibrated.fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("name", "bad"),
    [("noise_bands", 4), ("noise_bands", -1), ("makeup_centibels", 10**30), ("low_exponents", 10**30),
     ("low_exponents", 0), ("code_costs", 10**30), ("code_costs", -1)],
)  # fmt: skip
def test_numbers_past_their_limits_are_refused(name, bad):
    with pytest.raises(ModelError, match="breaks a rule"):
        tiny_config(**{name: (1, 1, 1, bad)})
