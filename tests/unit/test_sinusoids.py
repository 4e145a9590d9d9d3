"""Layers of parametric sinusoids: where tones are, what the decoder makes of them, and that nothing else changes."""

import dataclasses

import numpy as np
import pytest
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import MIN_SINUSOID_FRAMES, N_FREQUENCIES, SINUSOID_RANGES_HZ, Rvq48Config
from rvqcodec.models.rvq48.sinusoid_search import find_sinusoids
from rvqcodec.models.rvq48.sinusoids import frequencies, mix, sinusoid
from tests.tiny import seeded_model, small_config

RATE, HOP = 48_000, 960
CONFIG = small_config(search_stops=(2, 4), codebook_size=1024, sinusoid_layers=(2, 3), default_layers=6)
PLACE = torch.zeros(1, dtype=torch.int64)


def make_codec(config=CONFIG):
    """Return a codec that puts sinusoids from 1.5 kHz up."""
    model = seeded_model(config)
    model.decoder.sinusoids.first_bin.fill_(20.0)
    for zero in model.decoder.sinusoids.loudness.parameters():
        zero.zero_()
    return Codec(model, "small")


def sine(hertz, seconds=2.0, amplitude=0.1):
    time = np.arange(round(RATE * seconds)) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (amplitude * np.sin(2 * np.pi * hertz * time) + 1e-4 * noise).astype(np.float32)


def found(wave, unvoiced=1.0):
    share = torch.full((1, -(-len(wave) // HOP)), unvoiced)
    return find_sinusoids(torch.from_numpy(wave)[None], share, HOP, RATE)[0]


def peak_hertz(wave):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return np.argmax(spectrum) * RATE / len(wave)


def test_codes_are_a_logarithmic_scale_of_their_range():
    hertz = frequencies(torch.arange(N_FREQUENCIES + 1).expand(1, 2, -1))[0]
    assert (hertz[:, 0] == 0).all()
    for row, (low, high) in zip(hertz, SINUSOID_RANGES_HZ, strict=True):
        assert low < float(row[1]) < 1.01 * low and 0.99 * high < float(row[-1]) < high
        assert float((row[2:] / row[1:-1]).std()) < 1e-5
    assert torch.equal(frequencies(torch.full((1, 2, 1), 1023)), frequencies(torch.full((1, 2, 1), N_FREQUENCIES)))


@pytest.mark.parametrize("hertz", [2_040.0, 2_620.0, 3_333.0, 5_000.0, 9_876.0, 14_000.0])
def test_a_sine_is_found_and_comes_back_as_one(hertz):
    codes = found(sine(hertz))
    layer = int(hertz > SINUSOID_RANGES_HZ[0][1])
    heard = frequencies(codes[None])[0, layer, 10:-10]
    assert (codes[1 - layer] == 0).all()
    assert float((heard / hertz - 1).abs().max()) < 0.005
    wave = sinusoid(frequencies(codes[None])[:, layer], PLACE, HOP, RATE)[0].numpy()
    spectrum = np.abs(np.fft.rfft(wave[20 * HOP : 80 * HOP] * np.hanning(60 * HOP))) ** 2
    near = np.abs(np.fft.rfftfreq(60 * HOP, 1 / RATE) - hertz) < 0.005 * hertz
    assert spectrum[near].sum() > 0.99 * spectrum.sum()


def test_a_tone_that_glides_has_no_jumps():
    time = np.arange(2 * RATE) / RATE
    wave = (0.1 * np.sin(2 * np.pi * (5_000 * time + 700 * time**2))).astype(np.float32)
    hertz = frequencies(found(wave)[None])[:, 1]
    assert (hertz[0, 5:-5] > 0).all()
    made = sinusoid(hertz, PLACE, HOP, RATE)[0, 10 * HOP : -10 * HOP].numpy()
    phase = np.unwrap(np.angle(np.fft.ifft(np.fft.fft(made) * (np.fft.fftfreq(len(made)) > 0))))[500:-500]
    steps = np.diff(phase) * RATE / (2 * np.pi)
    assert np.abs(np.diff(np.convolve(steps, np.ones(48) / 48, "valid"))).max() < 20


def test_the_phase_depends_on_no_frame_far_away():
    hertz = frequencies(torch.randint(0, N_FREQUENCIES, (1, 2, 120), generator=torch.Generator().manual_seed(1)))[:, 1]
    whole = sinusoid(hertz, torch.tensor([7]), HOP, RATE)
    part = sinusoid(hertz[:, 30:90], torch.tensor([37]), HOP, RATE)
    kept = slice(19 * HOP, 41 * HOP)
    assert float((whole[:, 30 * HOP : 90 * HOP][:, kept] - part[:, kept]).abs().max()) < 2e-3


def test_noise_and_silence_have_no_tones():
    generator = np.random.default_rng(3)
    white = (0.08 * generator.standard_normal(20 * RATE)).astype(np.float32)
    assert float((found(white) > 0).float().mean()) < 0.002
    assert not found(np.zeros(RATE, np.float32)).any()


def test_sinusoids_leave_the_vectors_and_shorter_files_as_they_are():
    codec = make_codec()
    plain = seeded_model(dataclasses.replace(CONFIG, sinusoid_layers=()))
    plain.load_state_dict(codec.model.state_dict())
    plain = Codec(plain, "plain")
    wave = sine(6_000.0)
    coded, without = codec.encode(wave, 6), plain.encode(wave, 4)
    assert np.array_equal(coded.codes[:, [0, 1, 4, 5]], without.codes)
    assert (coded.codes[:, 3] > 0).any() and not (coded.codes[:, 2] > 0).any()
    for n_layers in range(1, 6):
        assert np.array_equal(codec.encode(wave, n_layers).codes, coded.codes[:, :n_layers])
    two = codec.encode(wave, 2)
    heard, plainly = codec.decode(two), plain.decode(plain.encode(wave, 2))
    assert np.abs(heard - plainly).max() < 1e-4 * np.abs(heard).max()  # contexts differ, and so do roundings
    assert codec.fingerprint != plain.fingerprint and CONFIG.n_vector_layers(6) == 4


def test_a_tone_stands_where_noise_was():
    codec = make_codec()
    coded = codec.encode(sine(6_000.0), 6)
    mute = dataclasses.replace(coded, codes=coded.codes * (np.arange(6) != 3)[:, None].astype(np.uint16))
    pure, noise = (codec.decode(x)[0, RATE // 2 : -RATE // 2] for x in (coded, mute))
    assert abs(peak_hertz(pure) - 6_000) < 30 < abs(peak_hertz(noise) - 6_000)


@pytest.mark.parametrize("hertz", [3_450.0, 4_500.0, 7_000.0])
@pytest.mark.parametrize("louder", [0.0, 0.5])
def test_a_tone_is_as_loud_as_asked(hertz, louder):
    decoder, frames = make_codec().model.decoder, 40
    coefficients = torch.randn(1, 3 * frames, 320, generator=torch.Generator().manual_seed(2))
    tone = decoder.mdct(sinusoid(torch.full((1, frames), hertz), PLACE, HOP, RATE))
    envelope = decoder.energies(tone).clamp(min=-2.0)  # a band that holds nothing of the tone holds noise
    noise = decoder.energies.rescale(coefficients, envelope)
    chosen = torch.ones(1, 1, frames, dtype=torch.bool)
    mixed = mix(noise, tone[None], (envelope, envelope + louder), chosen, decoder.energies)
    gained = mixed.square().sum() / noise.square().sum()
    assert float(gained) == pytest.approx(10 ** (2 * louder), rel=0.15)
    spectrum = np.abs(np.fft.rfft(decoder.mdct.inverse(mixed)[0, 5 * HOP : -5 * HOP].numpy())) ** 2
    place = round(hertz * 30 * HOP / RATE)
    assert spectrum[place - 20 : place + 20].sum() > 0.9 * spectrum.sum()
    assert torch.equal(mix(noise, tone[None], (envelope, envelope), ~chosen, decoder.energies), noise)


def test_two_tones_share_a_band():
    decoder, frames = make_codec().model.decoder, 40
    chosen = torch.ones(2, 1, frames, dtype=torch.bool)
    waves = [sinusoid(torch.full((1, frames), hertz), PLACE, HOP, RATE) for hertz in (2_700.0, 3_070.0)]
    tones, both = torch.stack([decoder.mdct(wave) for wave in waves]), decoder.mdct(sum(waves))
    envelope = decoder.energies(both).clamp(min=-3.0)
    noise = decoder.energies.rescale(torch.randn(both.shape, generator=torch.Generator().manual_seed(2)), envelope)
    mixed = mix(noise, tones, (envelope, envelope), chosen, decoder.energies)
    spectra = [np.abs(np.fft.rfft(decoder.mdct.inverse(x)[0, 5 * HOP : -5 * HOP].numpy())) for x in (mixed, both)]
    for hertz in (2_700, 3_070):
        near = slice(round(hertz * 30 * HOP / RATE) - 20, round(hertz * 30 * HOP / RATE) + 20)
        decibels = 10 * np.log10(np.sum(spectra[0][near] ** 2) / np.sum(spectra[1][near] ** 2))
        assert abs(decibels) < 1.5


def test_a_band_of_next_to_nothing_gets_numbers():
    decoder, frames = make_codec().model.decoder, 8
    tone = decoder.mdct(sinusoid(torch.full((1, frames), 5_000.0), PLACE, HOP, RATE))
    chosen = (torch.arange(frames) % 2 > 0)[None, None]
    envelope = torch.full((1, frames, 24), -25.0)
    mixed = mix(torch.zeros_like(tone), tone[None], (envelope, envelope), chosen, decoder.energies)
    assert torch.isfinite(mixed).all()


def test_sinusoids_count_as_far_as_their_layer_does():
    codec = make_codec()
    coded = codec.encode(sine(6_000.0), 6)
    fewer = dataclasses.replace(coded, layers=np.full_like(coded.layers, 3))
    short = codec.encode(sine(6_000.0), 3)
    assert np.abs(codec.decode(fewer) - codec.decode(short)).max() < 1e-4


def test_codes_past_the_scale_decode():
    codec = make_codec()
    coded = codec.encode(sine(6_000.0), 6)
    wild = dataclasses.replace(coded, codes=np.full_like(coded.codes, 255))
    assert np.isfinite(codec.decode(wild)).all()
    beyond = torch.full((1, 2, 3), 1023)
    assert torch.equal(frequencies(beyond), frequencies(torch.full((1, 2, 3), N_FREQUENCIES)))


def test_a_short_tone_is_none_and_one_beside_a_pitch_must_be_still():
    time = np.arange(RATE) / RATE
    short = sine(6_000.0, 1.0) * ((time > 0.4) & (time < 0.4 + 0.02 * (MIN_SINUSOID_FRAMES - 1)))
    assert not found(short.astype(np.float32)).any()
    moving = (0.1 * np.sin(2 * np.pi * (5_000 * time + 3_000 * time**2))).astype(np.float32)
    assert (found(moving, 1.0)[1, 5:-5] > 0).float().mean() > 0.9
    assert (found(moving, 0.0)[1, 5:-5] > 0).float().mean() < 0.1
    assert (found(sine(6_000.0), 0.0)[1] > 0).float().mean() > 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sinusoid_layers": (0,)}, "one of vectors comes first"),
        ({"sinusoid_layers": (3, 3)}, "sinusoid layers rise"),
        ({"sinusoid_layers": (4, 3)}, "sinusoid layers rise"),
        ({"sinusoid_layers": (6,)}, "sinusoid layers rise"),
        ({"sinusoid_layers": (1, 2, 3)}, "sinusoids have ranges"),
        ({"sample_rate": 24_000, "mdct_size": 160, "band_edges": (0, 160)}, "sinusoids have ranges"),
    ],
)
def test_impossible_layers_of_sinusoids_are_refused(changes, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_the_configuration_survives_json():
    assert Rvq48Config.from_json(CONFIG.to_json()) == CONFIG
