"""The networks: transforms invert, and what lies outside the context doesn't matter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.layers.convnext import DepthwiseConv
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies, compand, expand
from rvqcodec.signal import LayerGroup
from tests.tiny import seeded_model, small_config, tiny_codec, tiny_config


@pytest.fixture(scope="module")
def model() -> Rvq48:
    return seeded_model(tiny_config())


def decoded(model, latent, first=0, active=None, n=2):
    """Return the decoder's waves of latents [batch, frames, dim]."""
    shape = latent.shape[:2]
    active = torch.ones(shape, dtype=torch.bool) if active is None else active
    none = torch.zeros(shape[0], 0, shape[1], dtype=torch.int64)
    with torch.inference_mode():
        return model.decoder(latent, torch.full(shape, n), active, torch.full(shape[:1], first), none)


def test_mdct_reconstructs_all_but_its_edges():
    mdct = MDCT(16)
    wave = torch.randn(2, 16 * 12)
    back = mdct.inverse(mdct(wave))
    assert torch.allclose(back[:, 8:-8], wave[:, 8:-8], atol=1e-5)
    assert torch.allclose(mdct(wave, 5), mdct(wave)[..., :5], atol=1e-6)


def test_mdct_is_the_definition():
    mdct = MDCT(8)
    wave = torch.randn(1, 32)
    n, k = np.arange(16), np.arange(8)[:, None]
    basis = np.sqrt(2 / 8) * np.sin(np.pi * (n + 0.5) / 16) * np.cos(np.pi / 8 * (n + 0.5 + 4) * (k + 0.5))
    frame = np.pad(wave[0].numpy(), 4)[8:24]
    assert np.allclose(mdct(wave)[0, 1].numpy(), basis @ frame, atol=1e-5)


def test_companding_inverts():
    values = torch.linspace(-4, 4, 1001)
    assert torch.allclose(expand(compand(values)), values, atol=0.02)


def test_rescaling_gives_the_expected_energies():
    energies = BandEnergies((0, 2, 5, 8), 2)
    coefficients = torch.randn(1, 12, 8)
    expected = torch.randn(1, 6, 3) * 0.3
    assert torch.allclose(energies(energies.rescale(coefficients, expected)), expected, atol=1e-4)


def test_depthwise_convolution_is_conv1d():
    layer = DepthwiseConv(6, 7)
    x = torch.randn(2, 20, 6)
    plain = torch.nn.functional.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=3, groups=6)
    assert torch.allclose(layer(x), plain.transpose(1, 2), atol=1e-6)


def test_encoder_sees_no_further_than_its_context(model):
    config = model.config
    reach = config.receptive_field(config.encoder_fine_blocks, config.encoder_coarse_blocks) + 1
    wave = torch.randn(1, (2 * reach + 8) * config.hop_length)
    other = wave.clone()
    other[:, : 2 * config.hop_length] = torch.randn(1, 2 * config.hop_length)
    with torch.inference_mode():
        difference = (model.encoder(wave) - model.encoder(other)).abs().amax(-1)[0]
    assert difference[0] > 0 and reach <= config.encoder_context
    assert difference[2 + reach :].max() == 0


def test_decoder_sees_no_further_than_its_context(model):
    context = model.config.decoder_context
    frames = 4 * context + 4
    latent = torch.randn(1, frames, model.config.latent_dim)
    other = latent.clone()
    other[:, :2] = torch.randn(1, 2, model.config.latent_dim)
    difference = (decoded(model, latent) - decoded(model, other))[0].abs().unflatten(0, (frames, -1)).amax(-1)
    assert difference[0] > 0
    assert difference[2 + context :].max() == 0


@pytest.mark.parametrize("layers", [(), (1, 2)])
def test_a_window_with_its_context_gives_the_frames_of_the_whole(layers):
    model = seeded_model(small_config(sinusoid_layers=layers))
    config, n_frames, first, last = model.config, 120, 45, 75
    hop, n_layers = config.hop_length, model.config.n_layers
    generator = torch.Generator().manual_seed(2)
    time = torch.arange(n_frames * hop) / config.sample_rate
    voice = sum(torch.sin(2 * torch.pi * 130 * k * time) / k for k in range(1, 20)) + torch.sin(
        2 * torch.pi * 5_000 * time
    )
    wave = (0.05 * voice + 0.01 * torch.randn(voice.shape, generator=generator))[None, None]
    encoder, decoder = config.encoder_context, config.decoder_context
    with torch.inference_mode():
        whole = model.encode(wave, n_layers, 4)
        window = wave[..., (first - encoder) * hop : (last + encoder) * hop]
        part = model.encode(window, n_layers, 4, (encoder, encoder))
        assert part.shape == (1, n_layers, last - first)
        assert (part != whole[..., first:last]).float().mean() < 0.01
        counts, active = torch.full((1, n_frames), n_layers), torch.ones(1, n_frames, dtype=torch.bool)
        heard = model.decode(whole, counts, active, torch.tensor([7]))
        near = slice(first - decoder, last + decoder)
        place, context = torch.tensor([7 + near.start]), (decoder, decoder)
        piece = model.decode(whole[..., near], counts[:, near], active[:, near], place, context)
    assert piece.shape == (1, 1, (last - first) * hop)
    assert torch.allclose(piece, heard[..., first * hop : last * hop], atol=2e-3 if layers else 1e-4)
    assert heard.abs().max() > 0.01


def test_silent_frames_decode_to_zeros(model):
    frames = 12
    latent = torch.randn(1, frames, model.config.latent_dim)
    active = torch.ones(1, frames, dtype=torch.bool)
    active[:, 4:8] = False
    wave = decoded(model, latent, active=active)[0].unflatten(0, (frames, -1))
    half = model.config.mdct_size // 2
    assert wave[4:8].flatten()[half:-half].abs().max() == 0
    assert wave[2].abs().max() > 0


@pytest.mark.parametrize(
    "config", [tiny_config(waveform_dim=40), small_config(sinusoid_layers=(1,))], ids=["tiny", "small"]
)
def test_an_untrained_chain_changes_nothing_but_roundings(config):
    """Strengths are neutral until they are trained: all steps give back what they got, up to companding around zero."""
    generator = torch.Generator().manual_seed(1)
    model = Rvq48(config).eval().requires_grad_(False)
    model.decoder.linear.weight.normal_(0, 0.2, generator=generator)
    latent = torch.randn(2, 40, config.latent_dim, generator=generator)
    latent[..., config.waveform_dim :] = 0.3 * latent[..., config.waveform_dim :] - 1
    counts = torch.randint(0, config.n_codebooks + 1, latent.shape[:2], generator=generator)
    active, place = torch.ones(latent.shape[:2], dtype=torch.bool), torch.tensor([0, 1000])
    tones = torch.randint(0, 256, (2, len(config.sinusoid_layers), 40), generator=generator)
    spectrum = model.decoder.spectrum(latent, counts, active, place, tones)
    for step in model.decoder.enhance:
        changed = step(spectrum)
        near = 3e-4 if step is model.decoder.postfilter else 1e-6
        assert torch.allclose(changed.envelope, spectrum.envelope)
        assert torch.allclose(changed.coefficients, spectrum.coefficients, rtol=1e-4, atol=near), type(step).__name__
        spectrum = changed
    wave = model.decoder(latent, counts, active, place, tones)
    plain = model.decoder.wave(model.decoder.network(latent, counts)[0], active)
    assert plain.abs().max() > 0.1 and torch.allclose(wave, plain, atol=1e-3 * float(plain.abs().max()))


def test_a_last_frame_may_be_short(model):
    wave = torch.randn(1, 1, 20 * 160 - 50, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(wave, (0, 50))
    assert torch.equal(model.encode(wave, 3, 2), model.encode(padded, 3, 2))


def test_silence_is_what_the_encoder_gives_for_zeros(model):
    with torch.inference_mode():
        latent = model.encoder(torch.zeros(1, 60 * model.config.hop_length))[0, 30]
    assert torch.allclose(model.silence, latent, atol=1e-6) and model.silence.any()


def test_a_fingerprint_follows_codebooks_and_geometry_alone():
    names = {tiny_codec(seed).fingerprint for seed in (0, 0, 1)}
    assert len(names) == 2 and all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    one, other = seeded_model(tiny_config()), seeded_model(tiny_config(decoder_fine_blocks=2))
    other.quantizer.codebooks.copy_(one.quantizer.codebooks)
    assert one.fingerprint == other.fingerprint
    level = Rvq48(tiny_config(level_dbfs=-20.0))
    level.quantizer.codebooks.copy_(one.quantizer.codebooks)
    assert level.fingerprint != one.fingerprint


def test_a_codec_refuses_what_another_coded(codec):
    wave = np.random.default_rng(0).standard_normal(codec.traits.block_size * 2).astype(np.float32) * 0.1
    encoded = codec.encode(wave, n_layers=2)
    stranger = seeded_model(tiny_config())
    stranger.quantizer.codebooks.add_(1.0)
    with pytest.raises(ModelError, match="the codes need the model"):
        Codec(stranger, "stranger").decode(encoded)


def test_a_codec_refuses_a_description_that_contradicts_it(codec):
    signal = codec.signal(codec.traits.sample_rate, 1, 2)
    codec.check(signal)
    groups = [(LayerGroup(n_layers=2, codebook_size=8),), (LayerGroup(n_layers=5, codebook_size=16),)]
    changes = [{"groups": found} for found in groups]
    for change in (
        *changes,
        {"hop_length": 80, "block_step": 4000},
        {"frames_per_block": 25, "block_step": 4000},
        {"scalable": False},
    ):
        with pytest.raises(ModelError, match="contradicts"):
            codec.check(dataclasses.replace(signal, **change))


def test_decode_returns_the_length_that_was_encoded(codec):
    for channels, n_samples in ((1, 1), (2, 777), (3, 2 * codec.traits.block_size + 5)):
        wave = np.random.default_rng(n_samples).standard_normal((channels, n_samples)).astype(np.float32) * 0.1
        assert codec.decode(codec.encode(wave, n_layers=2)).shape == wave.shape
