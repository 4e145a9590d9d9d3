import dataclasses
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from rvqcodec.errors import ModelError
from rvqcodec.models.soundstream.config import SoundStreamConfig
from rvqcodec.models.soundstream.model import SoundStream
from rvqcodec.signal import LayerGroup
from rvqcodec.weights.importers.lyra import LYRA, from_safetensors
from tests.soundstreams import TINY, shared_lyra, tiny_model

HOP = TINY.hop_length


def waves(n_samples, batch=1, seed=1):
    return torch.randn(batch, 1, n_samples, generator=torch.Generator().manual_seed(seed))


def decode(model, codes, n_layers=None, active=None):
    batch, depth, n_frames = codes.shape
    counts = torch.full((batch, n_frames), depth) if n_layers is None else n_layers
    heard = torch.ones(batch, n_frames, dtype=torch.bool) if active is None else active
    return model.decode(codes, counts, heard, torch.zeros(batch, dtype=torch.int64))


@pytest.mark.parametrize("size", [3, 7, 20])
def test_windows_with_context_give_the_whole(size):
    model, wave = tiny_model(), waves(60 * HOP, batch=2)
    context = TINY.context[0]
    codes = model.encode(wave, 3, 1)
    whole = decode(model, codes)
    for start in range(0, 60, size):
        begin, end = max(0, start - context), min(start + size, 60)
        found = model.encode(wave[..., begin * HOP : end * HOP], 3, 1)[..., start - begin :]
        assert torch.equal(found, codes[..., start:end])
        heard = decode(model, codes[..., begin:end])[..., (start - begin) * HOP :]
        torch.testing.assert_close(heard, whole[..., start * HOP : end * HOP], atol=1e-6, rtol=1e-5)


def test_the_context_is_no_longer_than_it_needs_to_be():
    model, context = tiny_model(), TINY.context[0]
    wave = waves((context + 1) * HOP)
    latent, short = (model.encoder(x)[..., -1] for x in (wave, wave[..., 2 * HOP :]))
    assert not torch.allclose(latent, short, atol=1e-6)
    assert TINY.context == (context, 0)
    assert LYRA.context == (25, 0)


def test_nothing_looks_ahead():
    model, wave = tiny_model(), waves(30 * HOP)
    later = torch.cat([wave[..., : 20 * HOP], waves(10 * HOP, seed=2)], -1)
    assert torch.equal(model.encode(wave, 3, 1)[..., :20], model.encode(later, 3, 1)[..., :20])


@pytest.mark.parametrize("missing", [1, HOP - 1])
def test_zeros_fill_up_the_last_frame(missing):
    model, wave = tiny_model(), waves(10 * HOP)
    wave[..., -missing:] = 0
    codes = model.encode(wave[..., :-missing], 3, 1)
    assert codes.shape == (1, 3, 10)
    assert torch.equal(codes, model.encode(wave, 3, 1))


def test_codes_are_the_nearest_entries_and_fewer_layers_a_prefix():
    model, wave = tiny_model(), waves(40 * HOP, batch=2)
    codes = model.encode(wave, 3, 16)
    residual = model.encoder(wave).transpose(1, 2)
    for layer, codebook in enumerate(model.quantizer.codebooks):
        errors = (residual[:, :, None] - codebook).square().sum(-1)
        assert torch.equal(errors.argmin(-1), codes[:, layer])
        residual = residual - codebook[codes[:, layer]]
    assert codes.unique().tolist() == [0, 1, 2, 3]
    for n_layers in (1, 2):
        assert torch.equal(model.encode(wave, n_layers, 1), codes[:, :n_layers])


def test_of_equal_entries_the_first_is_taken():
    model = tiny_model()
    model.quantizer.codebooks[:] = model.quantizer.codebooks[:, :1]
    assert not model.encode(waves(10 * HOP), 3, 1).any()


def test_layers_count_by_frame():
    model = tiny_model()
    codes = model.encode(waves(20 * HOP), 3, 1)
    n_layers = torch.arange(20)[None] % 3 + 1
    latent = model.quantizer.decode(codes, n_layers)
    for count in (1, 2, 3):
        expected = model.quantizer.decode(codes[:, :count], torch.full((1, 20), count))
        frames = n_layers[0] == count
        assert torch.equal(latent[..., frames], expected[..., frames])


def test_frames_without_codes_are_zeros():
    model = tiny_model()
    codes = model.encode(waves(20 * HOP), 3, 1)
    active = torch.ones(1, 20, dtype=torch.bool)
    active[:, 5:8] = False
    wave = decode(model, codes, active=active)
    assert not wave[..., 5 * HOP : 8 * HOP].any()
    other = torch.where(active[:, None], codes, (codes + 1) % 4)
    assert torch.equal(decode(model, other, active=active), wave)
    assert torch.equal(wave[..., : 5 * HOP], decode(model, codes)[..., : 5 * HOP])


def test_the_fingerprint_is_of_codebooks_and_geometry():
    model = tiny_model()
    assert len(model.fingerprint) == 16
    assert model.fingerprint == tiny_model().fingerprint
    assert model.fingerprint != tiny_model(seed=1).fingerprint
    other = SoundStream(replace(TINY, sample_rate=2_400))
    other.quantizer.codebooks.copy_(model.quantizer.codebooks)
    assert other.fingerprint != model.fingerprint
    model.decoder.first.weight.data += 1
    assert model.fingerprint == tiny_model().fingerprint
    assert model.start() is None


def test_traits():
    traits = LYRA.traits()
    assert traits == SoundStream(LYRA).traits
    assert traits.groups == (LayerGroup(n_layers=46, codebook_size=16),)
    assert (traits.sample_rate, traits.hop_length, traits.frames_per_block, traits.block_size) == (
        16_000,
        320,
        50,
        16_000,
    )
    assert (traits.encoder_context, traits.decoder_context, traits.default_layers) == ((25, 0), (25, 0), 30)
    assert (traits.levels, traits.edges, traits.scalable) == ("none", "network", True)


@pytest.mark.parametrize("config", [TINY, LYRA])
def test_the_number_of_weights_is_known_beforehand(config):
    assert config._n_weights() == sum(value.numel() for value in SoundStream(config).state_dict().values())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"latent_dim": 0}, "positive"),
        ({"widths": (4, 8, -16)}, "positive"),
        ({"n_layers": 1.0}, "positive"),
        ({"dilations": ()}, "1 to 8 stages"),
        ({"dilations": (1,) * 9}, "1 to 8 stages"),
        ({"strides": (4, 6)}, "as many strides"),
        ({"negative_slope": float("nan")}, "slope"),
        ({"sample_rate": 1 << 40}, "sample rate"),
        ({"n_layers": 65}, "64 layers"),
        ({"codebook_size": 1}, "entries"),
        ({"window_blocks": 65}, "window"),
        ({"sample_rate": 1_201}, "whole frames"),
        ({"kernels": (8, 7, 4)}, "multiples"),
        ({"groups": (1, 3)}, "groups"),
        ({"latent_dim": 7}, "groups"),
        ({"widths": (4, 8, 1 << 30)}, "weights"),
        ({"kernel_size": 1 << 40}, "weights"),
        ({"dilations": (1, 1 << 40)}, "activations"),
        ({"sample_rate": 768_000, "window_blocks": 64}, "activations"),
        ({"default_layers": 4}, "default"),
        ({"dilations": (1, 90)}, "contexts"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(change, rule):
    with pytest.raises(ModelError, match=rule):
        replace(TINY, **change)


def test_configurations_go_through_json():
    assert SoundStreamConfig.from_json(TINY.to_json()) == TINY
    assert SoundStreamConfig.from_json(LYRA.to_json()) == LYRA


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"strides": 4},
        {"strides": [4, 3, 2.0]},
        {"n_layers": True},
        {"negative_slope": "0.3"},
        {"groups": None},
    ],
)
def test_json_of_another_kind_is_refused(change):
    with pytest.raises(ModelError, match=next(iter(change))):
        SoundStreamConfig.from_json(json.dumps(dataclasses.asdict(TINY) | change))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "1" * 10_000, "{}"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ModelError, match="configuration"):
        SoundStreamConfig.from_json(text)


@pytest.fixture(scope="module")
def lyra():
    config, tensors = from_safetensors(shared_lyra() / "lyra-v1.2.0.safetensors")
    model = SoundStream(config)
    model.load_state_dict(tensors)
    return model.eval(), load_file(shared_lyra() / "lyra-v1.2.0-vector.safetensors")


def test_lyras_codes_are_the_originals(lyra):
    model, vector = lyra
    codes = model.encode(vector["wave"][None, None], 46, 1)
    assert torch.equal(codes[0], vector["tokens"].long())


@pytest.mark.parametrize("n_layers", [16, 30, 46])
def test_lyras_waves_are_the_originals(lyra, n_layers):
    model, vector = lyra
    wave = decode(model, vector["tokens"][None, :n_layers].long())
    assert (wave[0, 0] - vector[f"decoded_{n_layers}"]).abs().max() < 1e-5  # 1.8e-6 measured


def test_lyras_codes_depend_on_no_division(lyra):
    model, vector = lyra
    wave = vector["wave"][None, None]
    codes = model.encode(wave, 46, 1)
    for size in (13, 50, 100):
        starts = range(0, 172, size)
        begins = [max(0, start - 25) for start in starts]
        parts = [
            model.encode(wave[..., begin * 320 : (start + size) * 320], 46, 1)[..., start - begin :]
            for start, begin in zip(starts, begins, strict=True)
        ]
        assert torch.equal(torch.cat(parts, -1), codes)


def test_lyras_codes_depend_on_no_number_of_threads(lyra):
    model, vector = lyra
    wave, n_threads = vector["wave"][None, None], torch.get_num_threads()
    codes = []
    for n in (1, 2):
        torch.set_num_threads(n)
        codes.append(model.encode(wave, 46, 1))
    torch.set_num_threads(n_threads)
    assert torch.equal(*codes)
