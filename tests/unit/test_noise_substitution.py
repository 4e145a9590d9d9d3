"""Random signs where codes tell loudness alone, by place; make-up gain; low magnitudes to a power."""

import pytest
import torch

from rvqcodec.models.rvq48.enhance.compression import MagnitudeCompression
from rvqcodec.models.rvq48.enhance.noise_substitution import NoiseSubstitution
from rvqcodec.models.rvq48.enhance.spectrum import hash_bits
from tests.enhancing import some_spectrum
from tests.tiny import tiny_config

CONFIG = tiny_config()


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


def test_coefficients_from_the_first_noise_bin_on_change_their_signs_alone():
    step = NoiseSubstitution(CONFIG)
    step.first_bin.copy_(torch.tensor([0.0, 80.0, 60.0, 6.0, 0.0]))
    for n_layers, edge in ((1, 80), (2, 60), (3, 6), (4, 0)):
        before = some_spectrum(CONFIG, n_layers=n_layers)
        after = step(before).coefficients
        assert torch.allclose(after[..., :edge], before.coefficients[..., :edge], rtol=1e-4)
        assert torch.allclose(after.abs(), before.coefficients.abs(), rtol=1e-4)
        changed = (after.sign() != before.coefficients.sign())[..., edge:]
        assert edge == 80 or 0.4 < changed.float().mean() < 0.6


def test_signs_are_of_the_absolute_place():
    step = NoiseSubstitution(CONFIG)
    step.first_bin.zero_()
    whole, part = some_spectrum(CONFIG, frame_index=70), some_spectrum(CONFIG, frame_index=90)
    signs = [(step(x).coefficients / x.coefficients).sign() for x in (whole, part)]
    assert torch.equal(signs[0][:, 20 * CONFIG.merge :], signs[1][:, : -20 * CONFIG.merge])
    assert not torch.equal(signs[0], signs[1])


def test_makeup_gain_raises_the_envelope_by_the_number_of_layers():
    step = NoiseSubstitution(CONFIG)
    step.gain.copy_(torch.tensor([0.0, 0.0, 0.1, 0.2, 0.3]))
    before = some_spectrum(CONFIG, n_layers=2)
    before.n_layers[:, 10:] = 4
    after = step(before)
    louder = after.envelope - before.envelope
    assert torch.allclose(louder[:, :10], torch.tensor(0.1)) and torch.allclose(louder[:, 10:], torch.tensor(0.3))
    assert torch.allclose(before.energies(after.coefficients), after.envelope, atol=1e-3)


def test_low_magnitudes_are_raised_to_a_power_of_the_number_of_layers():
    step = MagnitudeCompression(CONFIG)
    coefficients, powers = torch.randn(1, 6, 80), torch.tensor([[1.0, 0.5, 0.8]])
    found = step.compressed(coefficients, powers)
    expected = coefficients.sign() * coefficients.abs() ** powers.repeat_interleave(2)[:, None]
    assert step.n_low == 52
    assert torch.allclose(found[..., :52], expected[..., :52], atol=5e-3)
    assert torch.equal(found[..., 52:], coefficients[..., 52:])


@pytest.mark.parametrize("exponent", [0.6, 1.0])
def test_compression_keeps_loudness_and_signs_and_makes_magnitudes_alike(exponent):
    step, before = MagnitudeCompression(CONFIG), some_spectrum(CONFIG)
    step.exponent[2] = exponent
    after = step(before)
    assert torch.allclose(before.energies(after.coefficients), before.envelope, atol=1e-3)
    assert torch.equal(after.coefficients.sign(), before.coefficients.sign())
    spread = [float(torch.log(x.coefficients[..., 6:52].abs()).std()) for x in (before, after)]
    assert spread[1] == pytest.approx(exponent * spread[0], rel=0.05)
    others = some_spectrum(CONFIG, n_layers=3)
    assert torch.allclose(step(others).coefficients, others.coefficients, rtol=1e-4)
