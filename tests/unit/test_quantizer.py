from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import small_config, tiny_codec, tiny_config

from rvqcodec.models.layers.quantizer import ResidualQuantizer, _smallest


def latents(n_frames=60, seed=0):
    return torch.randn(2, n_frames, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_candidates", [1, 2, 4, 16])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_fewer_layers_are_a_prefix(codec, n_layers, n_candidates):
    whole = codec.quantizer.encode(latents(), 4, n_candidates)
    assert torch.equal(codec.quantizer.encode(latents(), n_layers, n_candidates), whole[:, :n_layers])


def test_one_candidate_takes_the_nearest_entry_in_each_layer(codec):
    quantizer, latent = codec.quantizer, latents()
    codes = quantizer.encode(latent, 4, 1)
    residual = latent.clone()
    for layer, codebook in enumerate(quantizer.codebooks):
        nearest = torch.cdist(residual, codebook[None]).argmin(-1)
        assert torch.equal(codes[:, layer], nearest)
        residual = residual - codebook[nearest]
    assert torch.allclose(quantizer.decode(codes), latent - residual, atol=1e-6)


def test_more_candidates_leave_less_error(codec):
    latent = latents(400)
    errors = [
        (codec.quantizer.decode(codec.quantizer.encode(latent, 4, n)) - latent).square().mean().item()
        for n in (1, 4, 16)
    ]
    assert errors[0] > errors[1] >= 0.999 * errors[2]


def test_a_search_of_all_candidates_finds_the_best_pair(codec):
    latent, books = latents(20), codec.quantizer.codebooks
    codes = codec.quantizer.encode(latent, 2, 16)
    sums = (books[0][:, None] + books[1][None]).reshape(256, 8)
    best = torch.cdist(latent, sums[None]).argmin(-1)
    assert torch.equal(codes[:, 0] * 16 + codes[:, 1], best)


def test_layers_count_by_frame(codec):
    codes = codec.quantizer.encode(latents(), 4, 1)
    n_layers = torch.arange(60).repeat(2, 1) % 5
    found = codec.quantizer.decode(codes, n_layers)
    for count in range(5):
        expected = codec.quantizer.decode(codes[:, :count])
        assert torch.allclose(found[n_layers == count], expected[n_layers == count], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
@pytest.mark.parametrize("width", [16, 64, 256, 1024, 4096])
def test_the_smallest_are_found(n, width):
    errors = torch.randn(50, width, generator=torch.Generator().manual_seed(n * width))
    values, places = _smallest(errors, n)
    assert torch.equal(values.sort(-1).values, errors.sort(-1).values[:, :n])
    assert torch.equal(errors.gather(1, places), values)


def test_codes_do_not_depend_on_the_frames_beside(codec):
    latent = latents(60)
    whole = codec.quantizer.encode(latent, 4, 4)
    halves = torch.cat([codec.quantizer.encode(latent[:, :30], 4, 4), codec.quantizer.encode(latent[:, 30:], 4, 4)], 2)
    assert (whole != halves).float().mean() < 0.01


def test_a_new_quantizer_is_empty_and_a_seed_gives_one_model():
    assert not ResidualQuantizer(tiny_config()).codebooks.any()
    one, other = tiny_codec(3), tiny_codec(3)
    assert one.fingerprint == other.fingerprint != tiny_codec(4).fingerprint
    assert np.array_equal(one.silence, other.silence)


def test_an_entry_must_save_more_than_its_cost():
    config = replace(tiny_config(), code_costs=(0, 100, 100, 100))
    made = ResidualQuantizer(config)
    made.codebooks[0, 1:], made.codebooks[1:, 1:, 0] = 5.0, 0.9
    latent = torch.zeros(1, 2, config.latent_dim)
    latent[0, 1, 0] = 1.1
    assert made.encode(latent, 3).tolist() == [[[0, 0], [0, 1], [0, 0]]]
    assert made.encode(latent, 3, 2).tolist() == [[[0, 0], [0, 1], [0, 0]]]


@pytest.fixture
def minding():
    """A quantizer whose envelope counts 4 times, then 2, and latents for it."""
    config, generator = (
        small_config(pitchless_gains=(400, 200), pitch_strengths=(40,) * 4),
        torch.Generator().manual_seed(0),
    )
    made = ResidualQuantizer(config)
    made.codebooks.normal_(generator=generator)
    return made, torch.randn(2, 30, config.latent_dim, generator=generator)


def test_without_a_pitch_errors_of_the_envelope_count_more(minding):
    made, latent = minding
    plain, share = made.encode(latent, 4, 4), torch.zeros(2, 30)
    assert (made.encode(latent, 4, 4, share) == plain).float().mean() > 0.99
    share[1] = 1.0
    codes = made.encode(latent, 4, 4, share)
    assert (codes[0] == plain[0]).float().mean() > 0.99
    assert torch.equal(made.encode(latent, 3, 4, share), codes[:, :3])
    errors = [(made.decode(found) - latent)[1].square().sum(0) for found in (plain, codes)]
    before, after = (error.tensor_split([made.config.waveform_dim]) for error in errors)
    assert after[0].sum() > before[0].sum() and after[1].sum() < before[1].sum()


def test_the_search_minimises_the_weighted_error(minding):
    made, latent = minding
    codes = made.encode(latent, 1, 1, torch.full((2, 30), 0.5))
    weights = torch.ones(made.config.latent_dim)
    weights[made.config.waveform_dim :] = 2.0
    errors = ((latent[:, :, None] - made.codebooks[0]).square() * weights).sum(-1)
    assert torch.equal(codes[:, 0], errors.argmin(-1))
