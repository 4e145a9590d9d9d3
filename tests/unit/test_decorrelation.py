import math

import pytest
import torch

from rvqcodec.models.rvq48.enhance.decorrelation import REACH, Decorrelation
from rvqcodec.models.rvq48.transform import compand
from tests.enhancing import make_spectrum
from tests.tiny import small_config

CONFIG = small_config()
FRAMES, FIRST, LAST = 200, 4, 50
EDGE = REACH + 1
"""Frames at each end that lack some of those they are compared with."""


def noise(seed=0):
    shape = (1, FRAMES * CONFIG.merge, CONFIG.mdct_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pattern():
    return noise()[:, : CONFIG.merge].repeat(1, FRAMES, 1)


def broken(coefficients, config=CONFIG, n_layers=1, **known):
    step = Decorrelation(config)
    step.strength.copy_(torch.tensor([0.0, 1.0, 1.0, 0.5, 0.0]))
    return step(make_spectrum(config, coefficients, n_layers=n_layers, **known)).coefficients


def ratios(found, coefficients):
    """Return what the coefficients of the bins that are looked at were multiplied by, where their neighbours are all there."""
    inner = slice(EDGE * CONFIG.merge, -EDGE * CONFIG.merge)
    return (found / coefficients)[:, inner, FIRST:LAST].unflatten(1, (-1, CONFIG.merge))


def unchanged(found, coefficients):
    return torch.allclose(found, coefficients, rtol=1e-4, atol=1e-7)


def coherence(coefficients):
    """Return the share of the power that lies in the mean frame, over the bins that are looked at."""
    frames = coefficients[..., FIRST:LAST].unflatten(1, (-1, CONFIG.merge))
    return float(frames.mean(1).square().sum() / frames.square().mean(1).sum())


def test_it_looks_at_whole_bands():
    step = Decorrelation(CONFIG)
    assert step.bins == slice(FIRST, LAST) and {FIRST, LAST} < set(CONFIG.band_edges)
    assert step.reach == EDGE and not step.strength.any()


def test_a_pattern_is_broken_and_keeps_its_magnitudes():
    found = broken(pattern())
    assert coherence(pattern()) == pytest.approx(1.0, abs=1e-5) and coherence(found) < 0.05
    signs = ratios(found, pattern())
    assert torch.allclose(signs.abs(), torch.ones(()), rtol=1e-3)
    assert torch.equal(signs.sign(), signs.sign()[:, :, :1, :1].expand_as(signs))  # one a frame


def test_other_frequencies_stay():
    found = broken(pattern())
    for outside in (slice(0, FIRST), slice(LAST, None)):
        assert unchanged(found[..., outside], pattern()[..., outside])


def test_what_does_not_repeat_has_a_pitch_or_is_known_stays():
    changed = (ratios(broken(noise()), noise()) - 1).abs() > 0.5
    assert changed.float().mean() < 0.1
    assert unchanged(broken(pattern(), correlation=0.9), pattern())
    assert unchanged(broken(pattern(), linear=compand(pattern())), pattern())
    assert unchanged(broken(pattern(), n_layers=4), pattern())


def test_strength_is_of_the_number_of_layers():
    half = ratios(broken(pattern(), n_layers=3), pattern())
    values = half.abs().flatten()
    assert float(values.median()) >= 0 and not (half < -1e-3).any()
    assert 0.3 < float((values < 1e-3).float().mean()) < 0.7  # the opposed half is halved to nothing


def test_signs_are_of_the_absolute_place():
    whole, part = (ratios(broken(pattern(), frame_index=n), pattern()).sign() for n in (70, 90))
    assert torch.equal(whole[:, 20:], part[:, :-20])
    assert not torch.equal(ratios(broken(pattern(), frame_index=71), pattern()).sign(), whole)


def test_frames_depend_on_those_within_reach_alone():
    changed = pattern()
    changed[:, 100 * CONFIG.merge] = 7.0
    differs = (broken(changed) != broken(pattern()))[0].any(-1).unflatten(0, (-1, CONFIG.merge)).any(-1)
    assert differs.nonzero().min() >= 100 - REACH and differs.nonzero().max() <= 100 + REACH + 1
    assert math.isfinite(float(broken(torch.zeros_like(changed)).sum()))


def test_without_a_band_to_look_at_nothing_changes():
    config = small_config(band_edges=(0, CONFIG.mdct_size))
    assert unchanged(broken(pattern(), config), pattern())
