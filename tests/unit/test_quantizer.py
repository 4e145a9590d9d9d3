import numpy as np
import pytest
import torch

from rvqcodec.models.layers.quantizer import ResidualQuantizer, _smallest
from tests.tiny import tiny_codec


def latents(n_frames=60, seed=0):
    return torch.randn(2, n_frames, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def quantizer():
    return tiny_codec().model.quantizer


@pytest.mark.parametrize("beam_width", [1, 2, 4, 16])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_codes_of_fewer_layers_are_the_first_of_those_of_more(quantizer, n_layers, beam_width):
    whole = quantizer.encode(latents(), 4, beam_width)
    assert torch.equal(quantizer.encode(latents(), n_layers, beam_width), whole[:, :n_layers])


def test_a_greedy_search_takes_the_nearest_entry_in_each_layer(quantizer):
    latent = latents()
    codes = quantizer.encode(latent, 4, 1)
    residual = latent.clone()
    for layer, codebook in enumerate(quantizer.codebooks):
        nearest = torch.cdist(residual, codebook[None]).argmin(-1)
        assert torch.equal(codes[:, layer], nearest)
        residual = residual - codebook[nearest]
    assert torch.allclose(quantizer.decode(codes), latent - residual, atol=1e-6)


def test_a_wider_beam_leaves_less_error(quantizer):
    latent = latents(400)
    errors = [(quantizer.decode(quantizer.encode(latent, 4, n)) - latent).square().mean().item() for n in (1, 4, 16)]
    assert errors[0] > errors[1] >= 0.999 * errors[2]


def test_a_beam_of_all_entries_finds_the_best_pair(quantizer):
    latent, books = latents(20), quantizer.codebooks
    codes = quantizer.encode(latent, 2, 16)
    sums = (books[0][:, None] + books[1][None]).reshape(256, 8)
    best = torch.cdist(latent, sums[None]).argmin(-1)
    assert torch.equal(codes[:, 0] * 16 + codes[:, 1], best)


def test_layers_count_by_frame(quantizer):
    codes = quantizer.encode(latents(), 4, 1)
    n_layers = torch.arange(60).repeat(2, 1) % 5
    found = quantizer.decode(codes, n_layers)
    for count in range(5):
        expected = quantizer.decode(codes[:, :count])
        assert torch.allclose(found[n_layers == count], expected[n_layers == count], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 4, 16])
@pytest.mark.parametrize("width", [16, 64, 256, 1024, 4096])
def test_the_smallest_are_found(n, width):
    errors = torch.randn(50, width, generator=torch.Generator().manual_seed(n * width))
    values, places = _smallest(errors, n)
    assert torch.equal(values.sort(-1).values, errors.sort(-1).values[:, :n])
    assert torch.equal(errors.gather(1, places), values)


def test_codes_do_not_depend_on_the_frames_beside(quantizer):
    latent = latents(60)
    whole = quantizer.encode(latent, 4, 4)
    halves = torch.cat([quantizer.encode(latent[:, :30], 4, 4), quantizer.encode(latent[:, 30:], 4, 4)], 2)
    assert (whole != halves).float().mean() < 0.01


def test_a_new_quantizer_is_neutral_and_a_seed_gives_one_model():
    made = ResidualQuantizer(3, 16, 8, (1, 3), 5)
    assert made.codebooks.shape == (3, 16, 8) and not made.codebooks.any() and not made.costs.any()
    assert (made.weights == 1).all()
    one, other = tiny_codec(3), tiny_codec(3)
    assert one.fingerprint == other.fingerprint != tiny_codec(4).fingerprint
    assert np.array_equal(one.model.silence, other.model.silence)


def test_an_entry_must_save_more_than_its_cost():
    made = ResidualQuantizer(4, 16, 8, (2, 4), 5)
    made.costs.copy_(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    made.codebooks[0, 1:], made.codebooks[1:, 1:, 0] = 5.0, 0.9
    latent = torch.zeros(1, 2, 8)
    latent[0, 1, 0] = 1.1
    assert made.encode(latent, 3).tolist() == [[[0, 0], [0, 1], [0, 0]]]
    assert made.encode(latent, 3, 2).tolist() == [[[0, 0], [0, 1], [0, 0]]]


CUT = 8


@pytest.fixture
def weighted():
    """A quantizer whose envelope counts 4 times in the first two layers, then 2, and latents for it."""
    generator = torch.Generator().manual_seed(0)
    made = ResidualQuantizer(4, 16, 32, (2, 4), CUT)
    made.codebooks.normal_(generator=generator)
    made.weights.copy_(torch.tensor([4.0, 4.0, 2.0, 2.0]))
    return made, torch.randn(2, 30, 32, generator=generator)


def test_where_unvoiced_errors_of_the_envelope_count_more(weighted):
    made, latent = weighted
    plain, share = made.encode(latent, 4, 4), torch.zeros(2, 30)
    assert (made.encode(latent, 4, 4, share) == plain).float().mean() > 0.99
    share[1] = 1.0
    codes = made.encode(latent, 4, 4, share)
    assert (codes[0] == plain[0]).float().mean() > 0.99
    assert torch.equal(made.encode(latent, 3, 4, share), codes[:, :3])
    errors = [(made.decode(found) - latent)[1].square().sum(0) for found in (plain, codes)]
    before, after = (error.tensor_split([CUT]) for error in errors)
    assert after[0].sum() > before[0].sum() and after[1].sum() < before[1].sum()


def test_the_search_minimises_the_weighted_error(weighted):
    made, latent = weighted
    codes = made.encode(latent, 1, 1, torch.full((2, 30), 0.5))
    weights = torch.ones(32)
    weights[CUT:] = 2.0
    errors = ((latent[:, :, None] - made.codebooks[0]).square() * weights).sum(-1)
    assert torch.equal(codes[:, 0], errors.argmin(-1))


def test_weights_of_one_leave_the_search_as_it_is(quantizer):
    assert torch.equal(quantizer.encode(latents(), 4, 4, torch.ones(2, 60)), quantizer.encode(latents(), 4, 4))
