import math
from dataclasses import replace

import pytest
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import PITCH_REACH_S as REACH_S
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.models.rvq48.pitch import LONGEST, SHORTEST, PitchFilter, windowed_sinc
from rvqcodec.training.release.calibration import STRENGTHS, calibrate

CONFIG = CodecConfig(n_codebooks=2, search_stops=(1, 2), pitch_strengths=(50, 0))
RATE = CONFIG.sample_rate
SECOND = CONFIG.frame_rate


def comb():
    return PitchFilter(CONFIG)


def combed(wave, n_layers, sounding=None):
    return wave + comb().change(comb()(wave), n_layers, sounding)


def layers(n_frames, n=1, batch=1):
    return torch.full((batch, n_frames), n)


def voice(hertz, n_frames=SECOND):
    time = torch.arange(n_frames * CONFIG.hop_length, dtype=torch.float64) / RATE
    partials = [torch.sin(2 * math.pi * k * hertz * time + k) / k for k in range(1, int(2_400 / hertz))]
    return (0.1 * torch.stack(partials).sum(0)).float()[None]


def hiss(n_frames=SECOND, seed=0):
    return 0.03 * torch.randn(1, n_frames * CONFIG.hop_length, generator=torch.Generator().manual_seed(seed))


def middle(wave):
    return wave[:, RATE // 5 : -RATE // 5]


def decibels(a, b):
    return float(10 * torch.log10(middle(a).square().mean() / middle(b).square().mean()))


@pytest.mark.parametrize("hertz", [82.3, 131.7, 220.0, 347.1])
def test_the_pitch_of_a_voice_is_found(hertz):
    low = voice(hertz)[:, ::6]
    period, correlation = comb().pitch(low)
    inner = slice(20, -20)
    assert period[:, inner] == pytest.approx(8_000 / hertz, rel=0.004)
    assert correlation[:, inner].min() > 0.98
    assert period.min() > SHORTEST - 1 and period.max() < LONGEST + 1


@pytest.mark.parametrize("hertz", [97.0, 180.3])
def test_noise_between_harmonics_is_lowered_and_the_voice_stays(hertz):
    clean, noise = voice(hertz), hiss()
    heard = combed(clean + noise, layers(SECOND))
    low = windowed_sinc(2_000 / RATE, 193)[None, None]
    left, before = (torch.nn.functional.conv1d((x)[:, None], low, padding=96)[:, 0] for x in (heard - clean, noise))
    assert decibels(left, before) < -2.0
    assert decibels(combed(clean, layers(SECOND)) - clean, clean) < -25.0


def test_noise_alone_and_high_frequencies_hardly_change():
    assert decibels(combed(hiss(), layers(SECOND)) - hiss(), hiss()) < -15.0
    time = torch.arange(SECOND * CONFIG.hop_length) / RATE
    high = (0.1 * torch.sin(2 * math.pi * 6_000 * time))[None]
    assert decibels(combed(voice(150.0) + high, layers(SECOND)) - voice(150.0) - high, high) < -20.0


def test_strength_follows_the_number_of_layers_and_silence_stays():
    wave = voice(150.0) + hiss()
    assert torch.equal(combed(wave, layers(SECOND, 2)), wave)
    assert torch.equal(combed(wave, layers(SECOND, 0)), wave)
    silent = torch.zeros(1, SECOND, dtype=torch.bool)
    assert torch.equal(combed(wave, layers(SECOND), silent), wave)
    zeros = torch.zeros_like(wave)
    assert torch.equal(combed(zeros, layers(SECOND)), zeros)
    assert not PitchFilter(replace(CONFIG, pitch_strengths=())).calibrated


def test_what_repeats_itself_is_told_from_noise():
    repeats = comb()(torch.cat([voice(150.0), hiss()]))
    assert repeats.correlation.shape == (2, 4 * SECOND)
    assert repeats.trust[0, 40:-40].min() > 0.9
    assert repeats.correlation[1, 40:-40].mean() < 0.5


def test_neighbours_are_the_wave_a_period_away():
    wave = voice(150.0)
    before, after = comb().neighbours(comb()(wave))
    period = RATE // 150
    assert decibels(before[:, period:] - wave[:, :-period], wave[:, :-period]) < -25.0
    assert decibels(after[:, :-period] - wave[:, period:], wave[:, period:]) < -25.0


def test_a_part_is_filtered_as_in_the_whole_and_items_by_themselves():
    wave, reach = voice(123.0, 2 * SECOND) + hiss(2 * SECOND), round(REACH_S * SECOND)
    whole = combed(wave, layers(2 * SECOND))
    part = combed(wave[:, 30 * CONFIG.hop_length : 70 * CONFIG.hop_length], layers(40))
    inner = slice((30 + reach) * CONFIG.hop_length, (70 - reach) * CONFIG.hop_length)
    assert torch.allclose(part[:, reach * CONFIG.hop_length : -reach * CONFIG.hop_length], whole[:, inner], atol=1e-6)
    both = torch.cat([wave, voice(200.0, 2 * SECOND)])
    assert torch.allclose(combed(both, layers(2 * SECOND, batch=2))[:1], whole, atol=1e-6)


def test_the_context_covers_the_reach():
    assert CONFIG.decoder_context - replace(CONFIG, pitch_strengths=()).decoder_context == REACH_S * SECOND


@pytest.mark.parametrize(
    "changes",
    [
        {"pitch_strengths": (50,)},
        {"pitch_strengths": (50, 101)},
        {"pitch_strengths": (50, -1)},
        {"sample_rate": 44_100},
    ],
)
def test_impossible_filters_are_refused(changes):
    with pytest.raises(ModelError, match="breaks a rule"):
        replace(CONFIG, **{"mdct_size": 294 if "sample_rate" in changes else 320, **changes})


def test_a_calibration_measures_strengths_on_top_of_what_was_measured_before():
    sizes = ("encoder_fine_width", "encoder_coarse_width", "decoder_coarse_width", "decoder_fine_width")
    blocks = ("encoder_fine_blocks", "encoder_coarse_blocks", "decoder_coarse_blocks", "decoder_fine_blocks")
    small = replace(CONFIG, pitch_strengths=(), **dict.fromkeys(sizes, 8), **dict.fromkeys(blocks, 1))
    codec, wave = Codec(small, "small").eval().requires_grad_(False), voice(140.0) + hiss()
    codec.encoder.linear.weight.normal_(0, 0.02)
    codec.decoder.linear.weight.copy_(codec.encoder.linear.weight.T)
    codec.quantizer.codebooks.normal_()
    calibrated = calibrate(codec, torch.cat([wave, wave.flip(1)]))
    assert len(calibrated.config.pitch_strengths) == 2 and set(calibrated.config.pitch_strengths) <= set(STRENGTHS)
    assert len(calibrated.config.noise_evenness) == 2 and set(calibrated.config.noise_evenness) <= {0, 100}
    assert len(calibrated.config.low_exponents) == 2 and calibrated.fingerprint == codec.fingerprint
    again = calibrate(calibrated, torch.cat([wave, wave.flip(1)]))
    assert again.config == calibrated.config
