"""The losses: zero for equal signals, finite for silence, each blind to what it leaves to others."""

import math

import pytest
import torch

from rvqcodec.models.rvq48.transform import MDCT
from rvqcodec.training.train.discriminator import Discriminator, discriminator_loss, generator_losses
from rvqcodec.training.train.losses import MELS, LowLoss, ReconstructionLoss, ShortTimeSpectrum, mel_filters
from tests.trainers import noise, random_model


@pytest.fixture(scope="module")
def loss():
    made = random_model()
    return ReconstructionLoss(48_000, made.encoder.mdct, made.encoder.energies)


def sine(hertz, n_samples=9600):
    return torch.sin(2 * math.pi * hertz / 48_000 * torch.arange(n_samples))[None]


def test_losses_are_zero_for_equal_signals(loss):
    for step in range(4):
        losses = loss(noise(), noise(), step)
        assert set(losses) == {"mel", "stft", "energies", "waveform"}
        assert all(float(value) == 0.0 for value in losses.values())


def test_waveform_loss_is_the_ratio_of_noise_below_2600_hertz(loss):
    low, high = sine(500), sine(6000)
    losses = [float(loss(low + added, low, 0)["waveform"]) for added in (0.1 * low, low, high)]
    assert losses[0] == pytest.approx(1.0, abs=0.1)
    assert losses[1] == pytest.approx(3.0, abs=0.1)
    assert losses[2] < 0.2


def test_low_loss_minds_noise_between_harmonics_and_nothing_above_3000_hertz():
    loss, mdct = LowLoss(42), MDCT(320)
    low, between, high = (sine(hertz, 48_000) for hertz in (500, 750, 6000))
    coefficients = [mdct(0.1 * x, 42) for x in (low, low + 0.1 * between, low + high)]
    losses = [float(loss(found, coefficients[0], 2)) for found in coefficients]
    assert losses[0] == 0.0 and losses[1] > 0.3 and losses[2] < 0.1


def test_losses_and_gradients_are_finite_for_silence(loss):
    for target in (torch.zeros(2, 9600), noise()):
        output = torch.zeros(2, 9600, requires_grad=True)
        total = sum(loss(output, target, 3).values())
        total.backward()
        assert torch.isfinite(total)
        assert torch.isfinite(output.grad).all()


def test_spectra_by_product_and_by_stft_agree():
    product = ShortTimeSpectrum(64)
    wave = noise()
    expected = torch.stft(wave, 64, 16, window=product.window, center=False, return_complex=True).transpose(1, 2)
    spectrum = product(wave)
    assert torch.allclose(torch.complex(spectrum.real, spectrum.imaginary), expected, atol=1e-5)
    assert float(ShortTimeSpectrum(512)(wave).magnitude().square().mean().sqrt()) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize(("size", "n_mels"), MELS.items())
def test_mel_filters_have_no_holes(size, n_mels):
    filters = mel_filters(n_mels, size, 48_000)
    assert torch.allclose(filters.sum(0), torch.ones(n_mels))
    assert torch.isfinite(filters).all()


def test_discriminator_losses_are_finite_on_silence():
    judge = Discriminator(2)
    with torch.no_grad():
        silent, loud = judge(torch.zeros(1, 9600)), judge(noise(0.2, 1))
    losses = generator_losses(silent, loud)
    assert all(torch.isfinite(value) for value in losses.values())
    assert float(generator_losses(silent, silent)["features"]) == 0.0
    assert float(discriminator_loss(silent, silent)) >= 0
