"""The measures of `benchmarks.listening` find what is put in, and only that."""

import numpy as np
import pytest

from benchmarks.listening import measures

RATE = 48_000


def noise(seconds, level=0.1):
    return level * np.random.default_rng(0).standard_normal(int(RATE * seconds))


def sine(hz, seconds, peak=0.1):
    return peak * np.sin(2 * np.pi * hz * np.arange(int(RATE * seconds)) / RATE)


def test_a_level_is_an_rms_and_a_spectrum_adds_up_to_it():
    assert measures.level_db(sine(1000, 1, peak=1)) == pytest.approx(-3.01, abs=0.01)
    assert measures.spectra(noise(2), 2048, 512).mean(0).sum() == pytest.approx(0.01, rel=0.02)
    assert measures.level_db(np.zeros(100)) == -200


def test_a_line_and_ripple_in_noise_are_found():
    multiples = np.arange(50, 20_000, 50)
    assert measures.lines(noise(8), multiples).worst_db < 6
    found = measures.lines(noise(8) + sine(800, 8, peak=0.02), multiples)
    assert found.worst_hz == 800 and found.worst_db > 15 and found.n_heard == 1 and abs(found.median_db) < 1
    comb = noise(8) + np.roll(noise(8), RATE // 400)
    assert measures.ripple_db(noise(8)) < 0.2 < 1 < measures.ripple_db(comb)


def test_a_tone_has_a_level_error_and_noise():
    original, decoded = sine(3000, 2), sine(3000, 2, peak=0.05) + sine(3050, 2, peak=0.005)
    assert measures.tone_errors(original, decoded, 3000) == pytest.approx((-6.02, -20), abs=0.05)


def test_a_sweep_has_an_error_for_each_octave():
    t = np.arange(4 * RATE) / RATE
    sweep = 0.2 * np.sin(2 * np.pi * 20 * 1000 ** (t / 4) / np.log(1000) * 4)
    found = measures.sweep_errors(sweep, 0.5 * sweep)
    assert set(found) == set(measures.OCTAVES_HZ)
    assert all(errors.level_db == pytest.approx(-6.02, abs=0.01) for errors in found.values())
    assert found[1000].noise_to_tone_db < -40


def test_an_octave_without_anything_has_no_error():
    errors = measures.octave_errors(sine(1000, 1), 2 * sine(1000, 1))
    assert errors[4] == pytest.approx(6.02, abs=0.01) and np.isnan(errors[-1])


def test_pre_echo_is_what_comes_before_an_attack():
    original = np.zeros(RATE)
    original[10_000::15_000] = 1.0
    assert measures.attacks(original) == [10_000, 25_000, 40_000]
    decoded = original + np.roll(noise(1, level=0.01) * (original > 0).cumsum().clip(0, 1), -480)
    assert measures.pre_echo(original, original).excess_db < -100
    found = measures.pre_echo(original, decoded)
    assert found.excess_db > 40 and found.to_attack_db < -10


def test_birdies_are_peaks_that_the_original_lacks():
    decoded = noise(2) + sine(9000, 2, peak=0.05)
    assert measures.new_peaks(noise(2), decoded) == pytest.approx(9, abs=1)
    assert measures.new_peaks(decoded, noise(2)) == measures.new_peaks(decoded, decoded) == 0
