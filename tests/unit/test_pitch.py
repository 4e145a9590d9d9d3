import math

import pytest
import torch

from rvqcodec.models.rvq48.pitch import MAX_LAG, MIN_LAG, PitchAnalyser
from tests.tiny import small_config, tiny_config

CONFIG = small_config()
RATE, HOP, SECOND = CONFIG.sample_rate, CONFIG.hop_length, CONFIG.frame_rate


@pytest.fixture(scope="module")
def analyser():
    return PitchAnalyser(CONFIG)


def voice(hertz, n_frames=SECOND):
    time = torch.arange(n_frames * HOP, dtype=torch.float64) / RATE
    partials = [torch.sin(2 * math.pi * k * hertz * time + k) / k for k in range(1, int(2_400 / hertz))]
    return (0.1 * torch.stack(partials).sum(0)).float()[None]


def hiss(n_frames=SECOND, seed=0):
    return 0.03 * torch.randn(1, n_frames * HOP, generator=torch.Generator().manual_seed(seed))


def decibels(a, b):
    """Return the power of one wave over that of another, without their ends."""
    a, b = (wave[:, RATE // 5 : -RATE // 5] for wave in (a, b))
    return float(10 * torch.log10(a.square().mean() / b.square().mean()))


@pytest.mark.parametrize("hertz", [82.3, 131.7, 220.0, 347.1])
def test_the_pitch_of_a_voice_is_found(analyser, hertz):
    period, correlation = analyser.periods(voice(hertz)[:, ::6])
    inner = slice(20, -20)
    assert period[:, inner] == pytest.approx(8_000 / hertz, rel=0.004)
    assert correlation[:, inner].min() > 0.98
    assert period.min() > MIN_LAG - 1 and period.max() < MAX_LAG + 1


def test_other_sample_rates_find_the_same_pitch():
    config = tiny_config()
    found = PitchAnalyser(config)(voice(131.7)[:, ::6])
    assert found.lag[:, 20:-20] == pytest.approx(8_000 / 131.7, rel=0.004)
    assert found.low.shape == (1, 8_000) and found.lag.shape == (1, 4 * config.frame_rate)


def test_what_repeats_itself_is_told_from_noise(analyser):
    found = analyser(torch.cat([voice(150.0), hiss()]))
    assert found.low.shape == (2, 8_000) and found.correlation.shape == found.lag.shape == (2, 4 * SECOND)
    assert found.voicing[0, 40:-40].min() > 0.9
    assert found.correlation[1, 40:-40].mean() < 0.5
    assert found.voicing.min() >= 0 and found.voicing.max() <= 1


def test_zeros_repeat_nothing(analyser):
    found = analyser(torch.zeros(1, SECOND * HOP))
    assert torch.isfinite(found.lag).all() and not found.voicing.any()


def test_neighbours_are_the_wave_a_period_away(analyser):
    wave = voice(150.0)
    before, after = analyser.long_term_predictions(analyser(wave))
    period = RATE // 150
    assert before.shape == after.shape == wave.shape
    assert decibels(before[:, period:] - wave[:, :-period], wave[:, :-period]) < -25.0
    assert decibels(after[:, :-period] - wave[:, period:], wave[:, period:]) < -25.0


def test_a_part_is_analysed_as_in_the_whole_and_items_by_themselves(analyser):
    """What a frame's neighbours are depends on nothing outside the reach that the configuration says."""
    wave, reach = voice(123.0, 2 * SECOND) + hiss(2 * SECOND), CONFIG.pitch_receptive_field
    whole = analyser.long_term_predictions(analyser(wave))
    part = analyser.long_term_predictions(analyser(wave[:, 30 * HOP : 70 * HOP]))
    both = analyser.long_term_predictions(analyser(torch.cat([wave, voice(200.0, 2 * SECOND)])))
    inner = slice((30 + reach) * HOP, (70 - reach) * HOP)
    for one, other, pair in zip(whole, part, both, strict=True):
        assert torch.allclose(other[:, reach * HOP : -reach * HOP], one[:, inner], atol=1e-6)
        assert torch.allclose(pair[:1], one, atol=1e-6)
