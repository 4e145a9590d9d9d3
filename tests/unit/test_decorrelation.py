import math
from dataclasses import replace

import pytest
import torch
from tiny import small_config

from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import BUZZ_REACH, PITCH_PIECES
from rvqcodec.models.rvq48.enhance.decorrelation import BuzzFilter

CONFIG = small_config(buzz_strengths=(100, 100, 50, 0), noise_evenness=(100,) * 4, pitch_strengths=(40,) * 4)
FRAMES, FIRST, LAST = 200, 4, 50
EDGE = BUZZ_REACH + 1
"""Frames at each end that lack some of those they are compared with."""


def noise(seed=0):
    shape = (1, FRAMES * CONFIG.merge, CONFIG.mdct_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pattern():
    return noise()[:, : CONFIG.merge].repeat(1, FRAMES, 1)


def broken(coefficients, linear=None, correlation=0.0, n_layers=1, position=0):
    made = BuzzFilter(CONFIG)
    return made(
        coefficients,
        (torch.zeros_like(coefficients) if linear is None else linear)[..., made.bins],
        torch.full((1, FRAMES * PITCH_PIECES), correlation),
        torch.full((1, FRAMES), n_layers),
        torch.tensor([position]),
    )


def inner(coefficients):
    return coefficients[:, EDGE * CONFIG.merge : -EDGE * CONFIG.merge]


def coherence(coefficients):
    """Return the share of the power that lies in the mean frame, over the bins that are looked at."""
    frames = coefficients[..., FIRST:LAST].unflatten(1, (-1, CONFIG.merge))
    return float(frames.mean(1).square().sum() / frames.square().mean(1).sum())


def test_a_pattern_is_broken_and_keeps_its_magnitudes():
    found = broken(pattern())
    assert coherence(pattern()) == pytest.approx(1.0, abs=1e-5) and coherence(found) < 0.05
    assert torch.equal(inner(found).abs(), inner(pattern()).abs())
    signs = (inner(found) / inner(pattern()))[..., FIRST:LAST].unflatten(1, (-1, CONFIG.merge))
    assert torch.equal(signs, signs[:, :, :1, :1].expand_as(signs))  # one a frame


def test_other_frequencies_stay():
    found = broken(pattern())
    for outside in (slice(0, FIRST), slice(LAST, None)):
        assert torch.equal(found[..., outside], pattern()[..., outside])


def test_what_does_not_repeat_has_a_pitch_or_is_known_stays():
    changed = (broken(noise()) != noise())[..., FIRST:LAST]
    assert changed.float().mean() < 0.1
    assert torch.equal(broken(pattern(), correlation=0.9), pattern())
    assert torch.equal(broken(pattern(), linear=pattern()), pattern())
    assert torch.equal(broken(pattern(), n_layers=4), pattern())


def test_strength_is_of_the_number_of_layers():
    half = broken(pattern(), n_layers=3)
    assert coherence(half) == pytest.approx(0.5, abs=0.15)
    ratio = inner(half / pattern())[..., FIRST:LAST]
    assert set(ratio.unique().round(decimals=4).tolist()) <= {0.0, 1.0}


def test_signs_are_of_the_absolute_place():
    whole, part = broken(pattern(), position=70), broken(pattern(), position=90)
    places = (
        slice((20 + EDGE) * CONFIG.merge, -EDGE * CONFIG.merge),
        slice(EDGE * CONFIG.merge, -(20 + EDGE) * CONFIG.merge),
    )
    assert torch.equal(whole[:, places[0]], part[:, places[1]])
    assert not torch.equal(broken(pattern(), position=71), whole)


def test_frames_depend_on_those_within_reach_alone():
    changed = pattern()
    changed[:, 100 * CONFIG.merge] = 7.0
    differs = (broken(changed) != broken(pattern()))[0].any(-1).unflatten(0, (-1, CONFIG.merge)).any(-1)
    assert differs.nonzero().min() >= 100 - BUZZ_REACH and differs.nonzero().max() <= 100 + BUZZ_REACH + 1
    assert math.isfinite(float(broken(torch.zeros_like(changed)).sum()))


def test_a_model_without_a_band_to_look_at_has_none():
    assert BuzzFilter(CONFIG).calibrated
    assert not BuzzFilter(replace(CONFIG, band_edges=(0, CONFIG.mdct_size), waveform_dim=31)).calibrated


@pytest.mark.parametrize(
    "change", [{"buzz_strengths": (100,)}, {"buzz_strengths": (101,) * 4}, {"noise_evenness": ()}], ids=str
)
def test_strengths_that_make_no_sense_are_refused(change):
    with pytest.raises(ModelError):
        replace(CONFIG, **change)
