import math

import pytest
import torch

from rvqcodec.models.rvq48.config import PITCH_SUBFRAMES, VOICING_HANGOVER
from rvqcodec.models.rvq48.unvoiced import unvoiced_weight
from tests.tiny import seeded_model, small_config

CONFIG = small_config(encoder_fine_blocks=4, encoder_coarse_blocks=3)


@pytest.fixture(scope="module")
def weighting():
    """A model whose envelope counts more where it is unvoiced_weight."""
    made = seeded_model(CONFIG)
    made.quantizer.weights.copy_(torch.tensor([4.0, 4.0, 2.0, 2.0]))
    return made


def wave(n_frames):
    """Return a voice, then noise, [1, n]."""
    n, half = n_frames * CONFIG.hop_length, n_frames // 2 * CONFIG.hop_length
    phase = 2 * math.pi * 140 / CONFIG.sample_rate * torch.arange(n, dtype=torch.float64)
    voice = sum(torch.sin(k * phase) / k for k in range(1, 12)).float()
    noise = torch.randn(n, generator=torch.Generator().manual_seed(0))
    return 0.05 * torch.where(torch.arange(n) < half, voice, noise)[None]


def test_noise_is_unvoiced_and_a_voice_keeps_its_surroundings(weighting):
    share = unvoiced_weight(weighting.pitch(wave(200)).correlation)[0]
    assert share.shape == (200,) and share.min() >= 0 and share.max() <= 1
    assert share[:100].max() == 0 and share[100 : 100 + VOICING_HANGOVER - 2].max() < 0.1
    assert share[100 + VOICING_HANGOVER + 3 :].min() == 1


def test_a_single_piece_with_a_pitch_is_not_enough():
    correlation = torch.zeros(1, 60 * PITCH_SUBFRAMES)
    correlation[0, 30 * PITCH_SUBFRAMES] = 1.0
    assert unvoiced_weight(correlation).min() == 1


def test_codes_of_a_window_are_those_of_the_whole(weighting):
    context, sound = CONFIG.encoder_context, wave(200)
    whole = weighting.search(sound, 4, 4)
    first, last = 70, 130
    part = sound[:, None, (first - context) * CONFIG.hop_length : (last + context) * CONFIG.hop_length]
    found = weighting.encode(part, 4, 4, (context, context))
    assert (found != whole[..., first:last]).float().mean() < 0.01


def test_codes_of_fewer_layers_are_the_first_of_those_of_more(weighting):
    assert torch.equal(weighting.search(wave(100), 3, 4), weighting.search(wave(100), 4, 4)[:, :3])


def test_weights_change_codes_where_unvoiced_alone(weighting):
    plain = seeded_model(CONFIG)
    changed = (weighting.search(wave(200), 4, 1) != plain.search(wave(200), 4, 1))[0].any(0)
    assert not changed[:100].any() and changed[120:].float().mean() > 0.1
