import pytest
import torch

from rvqcodec.models.rvq48.enhance.smoothing import LOWEST_HZ, SpectralSmoothing
from rvqcodec.models.rvq48.enhance.spectrum import APERIODIC, PERIODIC, aperiodicity
from tests.enhancing import make_spectrum
from tests.tiny import seeded_model, small_config

CONFIG = small_config()
FRAMES = CONFIG.frame_rate
FIRST = 50


@pytest.fixture(scope="module")
def smoothing():
    step = SpectralSmoothing(CONFIG)
    step.strength.copy_(torch.tensor([0.0, 1.0, 0.0, 0.5, 1.0]))
    return step


def striped(correlation=APERIODIC, n_layers=1):
    """Return a spectrum of a fixed pattern with random signs."""
    generator = torch.Generator().manual_seed(0)
    pattern = 10 ** (0.5 * torch.randn(CONFIG.mdct_size, generator=generator) - 2)
    signs = torch.randn(1, FRAMES * CONFIG.merge, CONFIG.mdct_size, generator=generator).sign()
    return make_spectrum(CONFIG, pattern * signs, correlation, n_layers)


def spread(coefficients):
    return float(torch.log10(coefficients[..., FIRST:].abs()).std(-1).mean())


def test_it_starts_at_the_edge_of_a_band(smoothing):
    assert smoothing.first == FIRST in CONFIG.band_edges
    assert FIRST * CONFIG.sample_rate / 2 / CONFIG.mdct_size == LOWEST_HZ


def test_noise_becomes_even_and_keeps_its_loudness_and_signs(smoothing):
    before = striped()
    even = smoothing(before).coefficients
    assert spread(even) < 0.6 * spread(before.coefficients)
    assert torch.allclose(before.energies(even), before.envelope, atol=1e-3)
    assert torch.equal(even.sign(), before.coefficients.sign())
    assert torch.allclose(even[..., :FIRST], before.coefficients[..., :FIRST], rtol=1e-4)


def test_what_is_voiced_and_what_another_number_of_layers_gives_stays(smoothing):
    for before in (striped(PERIODIC), striped(n_layers=2), striped(n_layers=0)):
        assert torch.allclose(smoothing(before).coefficients, before.coefficients, rtol=1e-4)


def test_between_noise_and_voice_and_at_half_strength_it_does_less(smoothing):
    whole, none = spread(smoothing(striped()).coefficients), spread(striped().coefficients)
    for between in (striped((APERIODIC + PERIODIC) / 2), striped(n_layers=3)):
        assert whole < spread(smoothing(between).coefficients) < none


def test_noise_is_what_repeats_itself_little():
    correlation = torch.tensor([APERIODIC, APERIODIC, PERIODIC, PERIODIC, 0.0, 1.0, 0.55, 0.55]).repeat_interleave(2)[
        None
    ]
    assert torch.allclose(aperiodicity(correlation, 4), torch.tensor([[1.0, 0.0, 2 / 3, 0.5]]), atol=1e-5)


def test_silent_frames_stay_silent_beside_noise():
    decoder, hop = seeded_model(CONFIG).decoder, CONFIG.hop_length
    active = torch.ones(1, FRAMES, dtype=torch.bool)
    active[:, 20:30] = False
    counts, none = torch.ones(1, FRAMES, dtype=torch.int64), torch.zeros(1, 0, FRAMES, dtype=torch.int64)
    with torch.inference_mode():
        latent = torch.randn(1, FRAMES, CONFIG.latent_dim, generator=torch.Generator().manual_seed(1))
        wave = decoder(latent, counts, active, torch.zeros(1, dtype=torch.int64), none)
    assert not wave[:, 21 * hop : 29 * hop].any()
    assert wave[:, : 19 * hop].any() and wave[:, 31 * hop :].any()
