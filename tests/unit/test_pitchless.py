import math
from dataclasses import replace

import pytest
import torch
from tiny import small_config

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import PITCH_HOLD, PITCH_PIECES
from rvqcodec.models.rvq48.unvoiced import pitchless

CONFIG = small_config(
    pitchless_gains=(400, 200), pitch_strengths=(40,) * 4, encoder_fine_blocks=4, encoder_coarse_blocks=3
)


@pytest.fixture
def minding():
    torch.manual_seed(0)
    made = Codec(CONFIG).eval().requires_grad_(False)
    made.quantizer.codebooks.normal_()
    return made


def wave(n_frames):
    """Return a voice, then noise, [1, n]."""
    n, half = n_frames * CONFIG.hop_length, n_frames // 2 * CONFIG.hop_length
    phase = 2 * math.pi * 140 / CONFIG.sample_rate * torch.arange(n, dtype=torch.float64)
    voice = sum(torch.sin(k * phase) / k for k in range(1, 12)).float()
    noise = torch.randn(n, generator=torch.Generator().manual_seed(0))
    return 0.05 * torch.where(torch.arange(n) < half, voice, noise)[None]


def test_noise_has_no_pitch_and_a_voice_keeps_its_surroundings(minding):
    share = pitchless(minding.decoder.pitch(wave(200)).correlation)[0]
    assert share.shape == (200,) and share.min() >= 0 and share.max() <= 1
    assert share[:100].max() == 0 and share[100 : 100 + PITCH_HOLD - 2].max() < 0.1
    assert share[100 + PITCH_HOLD + 3 :].min() == 1


def test_a_single_piece_with_a_pitch_is_not_enough():
    correlation = torch.zeros(1, 60 * PITCH_PIECES)
    correlation[0, 30 * PITCH_PIECES] = 1.0
    assert pitchless(correlation).min() == 1


def test_codes_of_a_window_are_those_of_the_whole(minding):
    context, sound = CONFIG.encoder_context, wave(200)
    whole = minding.search(sound, 4, 4)
    first, last = 70, 130
    part = sound[:, (first - context) * CONFIG.hop_length : (last + context) * CONFIG.hop_length]
    assert (minding.codes(part, 4, 4, context) != whole[..., first:last]).float().mean() < 0.01


def test_fewer_layers_are_a_prefix(minding):
    assert torch.equal(minding.search(wave(100), 3, 4), minding.search(wave(100), 4, 4)[:, :3])


@pytest.mark.parametrize(
    "change", [{"pitchless_gains": (400,)}, {"pitchless_gains": (400, 50)}, {"pitch_strengths": ()}], ids=str
)
def test_gains_that_make_no_sense_are_refused(change):
    with pytest.raises(ModelError, match="gains"):
        replace(CONFIG, **change)
