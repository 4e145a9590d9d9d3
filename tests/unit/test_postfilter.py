import math

import pytest
import torch

from rvqcodec.models.rvq48.model import Rvq48
from tests.tiny import seeded_model, small_config

CONFIG = small_config()
HOP, SECOND = CONFIG.hop_length, CONFIG.frame_rate


def make(trained):
    """Return a seeded model whose postfilter is at its start, a comb filter, or one that has learnt something."""
    made = seeded_model(CONFIG)
    if not trained:
        fresh = Rvq48(CONFIG).decoder.postfilter
        fresh.strength.fill_(0.4)
        made.decoder.postfilter.load_state_dict(fresh.state_dict())
    return made.decoder


def spectra(decoder, n_frames=2 * SECOND, first=0, last=None):
    """Return spectra of random latents before the postfilter and after it."""
    latent = torch.randn(1, n_frames, CONFIG.latent_dim, generator=torch.Generator().manual_seed(1))[:, first:last]
    shape = latent.shape[:2]
    counts, active = torch.ones(shape, dtype=torch.int64), torch.ones(shape, dtype=torch.bool)
    none = torch.zeros(1, 0, shape[1], dtype=torch.int64)
    with torch.inference_mode():
        before = decoder.spectrum(latent, counts, active, torch.tensor([first]), none)
        return before, decoder.postfilter(before)


def voice(n_frames=2 * SECOND):
    time = torch.arange(n_frames * HOP) / CONFIG.sample_rate
    return torch.stack([0.1 / k * torch.sin(2 * math.pi * 140 * k * time + k) for k in range(1, 16)]).sum(0)[None]


def filtered(decoder, wave, n_layers=1):
    """Return the low coefficients of a wave, and what the postfilter makes of them."""
    n_low = decoder.postfilter.n_low
    counts = torch.full((1, wave.shape[1] // HOP), n_layers)
    with torch.inference_mode():
        analysis, coefficients = decoder.pitch(wave), decoder.mdct(wave)
        low = coefficients[..., :n_low]
        near = tuple(decoder.mdct(x, n_low) for x in decoder.pitch.long_term_predictions(analysis))
        return low, decoder.postfilter.filtered(low, near, analysis, decoder.energies(coefficients), counts)


def test_it_ends_at_the_edge_of_a_band():
    assert make(trained=False).postfilter.n_low == 42 in CONFIG.band_edges


@pytest.mark.parametrize("strength", [0.0, 0.4, 0.8])
def test_untrained_it_is_a_comb_filter(strength):
    """A voice stays, and of the noise between its harmonics so much goes as the mean with a period before and after leaves."""
    decoder = make(trained=False)
    decoder.postfilter.strength.fill_(strength)
    noise = 0.01 * torch.randn(voice().shape, generator=torch.Generator().manual_seed(0))
    clean, stays = filtered(decoder, voice())
    inner = slice(30, -30)
    assert float((stays - clean)[:, inner].norm() / clean[:, inner].norm()) < 0.08
    heard, combed = filtered(decoder, voice() + noise)
    left = float((combed - clean)[:, inner].square().mean() / (heard - clean)[:, inner].square().mean())
    assert left == pytest.approx((1 - strength) ** 2 + strength**2 / 2, abs=0.12)


def test_noise_and_numbers_of_layers_without_strength_stay():
    decoder = make(trained=False)
    hiss = 0.05 * torch.randn(voice().shape, generator=torch.Generator().manual_seed(0))
    low, found = filtered(decoder, hiss)
    assert float((found - low).norm() / low.norm()) < 0.2
    decoder.postfilter.strength[2] = 0.0
    low, found = filtered(decoder, voice() + hiss, n_layers=2)
    assert torch.allclose(found, low, atol=3e-4)


def test_trained_it_changes_low_coefficients_and_no_bands_loudness():
    decoder = make(trained=True)
    before, after = spectra(decoder)
    n_low, change = decoder.postfilter.n_low, after.coefficients - before.coefficients
    assert change[..., :n_low].abs().max() > 0.01
    loud = (decoder.energies(before.coefficients) - before.envelope).abs() < 1e-3  # gains of others were limited
    same = (loud.float() @ decoder.energies.spread).repeat_interleave(CONFIG.merge, 1) > 0
    assert loud.float().mean() > 0.6
    assert torch.allclose((change * same)[..., n_low:], torch.zeros(()), atol=1e-3)
    assert torch.allclose(after.envelope, before.envelope)
    error = decoder.energies(after.coefficients) - before.envelope
    assert float(error.abs().median()) < 1e-3


def test_a_part_within_reach_is_filtered_as_in_the_whole():
    decoder = make(trained=True)
    around = CONFIG.decoder_context
    whole, part = (x[1].coefficients for x in (spectra(decoder), spectra(decoder, first=10, last=90)))
    inner = slice((10 + around) * CONFIG.merge, (90 - around) * CONFIG.merge)
    assert torch.allclose(part[:, around * CONFIG.merge : -around * CONFIG.merge], whole[:, inner], atol=1e-5)
