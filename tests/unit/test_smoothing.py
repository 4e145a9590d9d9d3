from dataclasses import replace

import pytest
import torch

from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.models.rvq48.decoder import Decoder
from rvqcodec.models.rvq48.enhance.smoothing import LOWEST_HZ, NOISE, VOICED, NoiseTexture
from rvqcodec.models.rvq48.transform import BandEnergies

CONFIG = CodecConfig(n_codebooks=2, search_stops=(1, 2), pitch_strengths=(0, 0), noise_evenness=(100, 0))
FRAMES = CONFIG.frame_rate
FIRST = 50
ENERGIES = BandEnergies(CONFIG.band_edges, CONFIG.merge)


def texture():
    return NoiseTexture(CONFIG)


def striped(n_frames=FRAMES):
    """Return coefficients of a fixed pattern with random signs, and their envelope."""
    generator = torch.Generator().manual_seed(0)
    pattern = 10 ** (0.5 * torch.randn(CONFIG.mdct_size, generator=generator) - 2)
    signs = torch.randn(1, n_frames * CONFIG.merge, CONFIG.mdct_size, generator=generator).sign()
    return pattern * signs, ENERGIES(pattern * signs)


def evened(correlation, n_layers=1):
    coefficients, envelope = striped()
    found = torch.full((1, 4 * FRAMES), correlation)
    return ENERGIES.rescale(texture()(coefficients, found, torch.full((1, FRAMES), n_layers)), envelope)


def spread(coefficients):
    return float(torch.log10(coefficients[..., FIRST:].abs()).std(-1).mean())


def test_it_starts_at_the_edge_of_a_band():
    assert texture().first == FIRST in CONFIG.band_edges
    assert FIRST * CONFIG.sample_rate / 2 / CONFIG.mdct_size == LOWEST_HZ


def test_noise_becomes_even_and_keeps_its_loudness_and_signs():
    coefficients, envelope = striped()
    even = evened(NOISE)
    assert spread(even) < 0.6 * spread(coefficients)
    assert torch.allclose(ENERGIES(even), envelope, atol=1e-3)
    assert torch.equal(even.sign(), coefficients.sign())
    assert torch.allclose(even[..., :FIRST], coefficients[..., :FIRST], rtol=1e-4)


def test_what_is_voiced_and_what_another_number_of_layers_gives_stays():
    coefficients, _ = striped()
    assert torch.allclose(evened(VOICED), coefficients, rtol=1e-4)
    assert torch.allclose(evened(NOISE, n_layers=2), coefficients, rtol=1e-4)
    assert spread(evened(NOISE)) < spread(evened((NOISE + VOICED) / 2)) < spread(coefficients)


def test_silent_frames_stay_silent_beside_noise():
    decoder = Decoder(CONFIG).eval()
    torch.nn.init.normal_(decoder.head.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    sounding = torch.ones(1, FRAMES, dtype=torch.bool)
    sounding[:, 20:30] = False
    with torch.inference_mode():
        latent = torch.randn(1, FRAMES, CONFIG.latent_dim, generator=torch.Generator().manual_seed(1))
        wave = decoder(latent, torch.ones(1, FRAMES, dtype=torch.int64), sounding, torch.zeros(1, dtype=torch.int64))
    hop = CONFIG.hop_length
    assert not wave[:, 21 * hop : 29 * hop].any()
    assert wave[:, : 19 * hop].any()


def test_the_context_covers_one_more_overlap():
    assert CONFIG.decoder_context == replace(CONFIG, noise_evenness=()).decoder_context + 1


@pytest.mark.parametrize(
    "changes",
    [{"noise_evenness": (100,)}, {"noise_evenness": (100, 101)}, {"noise_evenness": (0, -1)}, {"pitch_strengths": ()}],
)
def test_impossible_textures_are_refused(changes):
    with pytest.raises(ModelError, match="breaks a rule"):
        replace(CONFIG, **changes)
