"""The networks: transforms invert, and what lies outside the context doesn't matter."""

import dataclasses

import numpy as np
import pytest
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.encoded import LayerGroup
from rvqcodec.errors import ModelError
from rvqcodec.models.layers.convnext import DepthwiseConv
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies, compand, expand
from tests.tiny import tiny_codec


@pytest.fixture(scope="module")
def codec() -> Codec:
    """A tiny codec whose branches count: what starts at zero is random."""
    codec = tiny_codec()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return codec


def test_mdct_reconstructs_all_but_its_edges() -> None:
    mdct = MDCT(16)
    wave = torch.randn(2, 16 * 12)
    back = mdct.inverse(mdct(wave))
    assert torch.allclose(back[:, 8:-8], wave[:, 8:-8], atol=1e-5)


def test_mdct_is_the_definition() -> None:
    mdct = MDCT(8)
    wave = torch.randn(1, 32)
    n, k = np.arange(16), np.arange(8)[:, None]
    basis = np.sqrt(2 / 8) * np.sin(np.pi * (n + 0.5) / 16) * np.cos(np.pi / 8 * (n + 0.5 + 4) * (k + 0.5))
    frame = np.pad(wave[0].numpy(), 4)[8:24]
    assert np.allclose(mdct(wave)[0, 1].numpy(), basis @ frame, atol=1e-5)


def test_companding_inverts() -> None:
    values = torch.linspace(-4, 4, 1001)
    assert torch.allclose(expand(compand(values)), values, atol=0.02)


def test_rescaling_gives_the_wanted_energies() -> None:
    energies = BandEnergies((0, 2, 5, 8), 2)
    coefficients = torch.randn(1, 12, 8)
    wanted = torch.randn(1, 6, 3) * 0.3
    assert torch.allclose(energies(energies.rescale(coefficients, wanted)), wanted, atol=1e-4)


def test_depthwise_convolution_is_conv1d() -> None:
    layer = DepthwiseConv(6, 7)
    x = torch.randn(2, 20, 6)
    plain = torch.nn.functional.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=3, groups=6)
    assert torch.allclose(layer(x), plain.transpose(1, 2), atol=1e-6)


def test_encoder_sees_no_further_than_its_context(codec: Codec) -> None:
    config = codec.config
    frames, context = 2 * config.encoder_context + 4, config.encoder_context
    wave = torch.randn(1, frames * config.hop_length)
    other = wave.clone()
    other[:, : 2 * config.hop_length] = torch.randn(1, 2 * config.hop_length)
    with torch.inference_mode():
        difference = (codec.encoder(wave) - codec.encoder(other)).abs().amax(-1)[0]
    assert difference[0] > 0
    assert difference[2 + context :].max() == 0


def test_decoder_sees_no_further_than_its_context(codec: Codec) -> None:
    config = codec.config
    frames, context = 2 * config.decoder_context + 4, config.decoder_context
    latent = torch.randn(1, frames, config.latent_dim)
    other = latent.clone()
    other[:, :2] = torch.randn(1, 2, config.latent_dim)
    layers = torch.full((1, frames), 2)
    with torch.inference_mode():
        difference = (codec.decoder(latent, layers) - codec.decoder(other, layers)).abs()[0]
    assert difference[0] > 0
    assert difference[(2 + context) * config.hop_length :].max() == 0


def test_silent_frames_decode_to_zeros(codec: Codec) -> None:
    frames = 12
    latent = torch.randn(1, frames, codec.config.latent_dim)
    sounding = torch.ones(1, frames, dtype=torch.bool)
    sounding[:, 4:8] = False
    with torch.inference_mode():
        wave = codec.decoder(latent, torch.full((1, frames), 2), sounding)[0].unflatten(0, (frames, -1))
    half = codec.config.mdct_size // 2
    silent = wave[4:8].flatten()
    assert silent[half:-half].abs().max() == 0
    assert wave[2].abs().max() > 0


def test_configuration_survives_json_and_refuses_the_unknown() -> None:
    config = CodecConfig()
    assert CodecConfig.from_json(config.to_json()) == config
    assert (config.hop_length, config.frame_rate, config.latent_dim) == (960, 50, 128)
    with pytest.raises(ModelError, match="unknown key"):
        CodecConfig.from_json('{"layers": 3}')
    with pytest.raises(ModelError, match="bad value"):
        CodecConfig.from_json('{"n_codebooks": "24"}')


def test_a_codec_refuses_what_another_coded(codec: Codec) -> None:
    wave = np.random.default_rng(0).standard_normal(codec.block_size * 2).astype(np.float32) * 0.1
    encoded = codec.encode(wave, n_layers=2)
    stranger = tiny_codec()
    stranger.quantizer.codebooks.add_(1.0)
    with pytest.raises(ModelError, match="the codes need the model"):
        stranger.decode(encoded)


def test_decode_returns_the_length_that_was_encoded(codec: Codec) -> None:
    for channels, n_samples in ((1, 1), (2, 777), (3, 2 * codec.block_size + 5)):
        wave = np.random.default_rng(n_samples).standard_normal((channels, n_samples)).astype(np.float32) * 0.1
        assert codec.decode(codec.encode(wave, n_layers=2)).shape == wave.shape


def test_a_codec_refuses_a_description_that_contradicts_it(codec: Codec) -> None:
    signal = codec.signal(codec.config.sample_rate, 1, 2)
    for change in (
        {"groups": (LayerGroup(n_layers=4, codebook_size=8),)},
        {"hop_length": 8},
        {"groups": (LayerGroup(n_layers=5, codebook_size=16),)},
        {"frames_per_block": 25},
    ):
        with pytest.raises(ModelError, match="contradicts"):
            codec.check(dataclasses.replace(signal, **change))
