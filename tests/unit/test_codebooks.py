"""Codebooks follow the latents, from a start that already codes."""

import pytest
import torch

from rvqcodec.training.train.codebooks import CodebookAverages, kmeans_start, quantize
from rvqcodec.training.train.parallel import Group
from rvqcodec.training.train.start import ENVELOPE, start_linear_paths
from tests.trainers import noise, random_model, started, waves


def latent_of(made, wave):
    with torch.no_grad():
        return made.encoder(wave)


def test_quantizer_uses_only_an_items_layers():
    made = started()
    latent, n_layers = latent_of(made, noise(0.2, 3)), torch.tensor([1, 4, 2])
    result = quantize(made.quantizer.codebooks, latent, n_layers, made.quantizer.costs)
    codes = made.quantizer.encode(latent, 4)
    expected = made.quantizer.decode(codes, n_layers[:, None].expand(3, 10))
    assert torch.allclose(result.total, expected, atol=1e-4)
    assert result.counts.sum(1).tolist() == [30, 20, 10, 10]


def test_codebooks_follow_and_dead_codes_restart():
    made = started()
    latent, layers = latent_of(made, noise(0.5, 4)), torch.full((4,), 4)
    averages = CodebookAverages(made.quantizer.codebooks)
    before = (latent - quantize(averages.codebooks, latent, layers).total).square().mean()
    for _ in range(20):
        averages.update(quantize(averages.codebooks, latent, layers), 0.5, Group())
    result = quantize(averages.codebooks, latent, layers)
    assert (latent - result.total).square().mean() < before
    assert all(1 <= value <= 16 for value in averages.perplexity())
    averages.counts[0, 3] = 0
    assert averages.restart(result, Group()) >= 1
    assert torch.isfinite(averages.codebooks).all()
    assert averages.counts[0, 3] > 0


def test_kmeans_start_codes_better_layer_by_layer():
    latents = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    codebooks = torch.zeros(3, 16, 6)
    counts = kmeans_start(codebooks, latents, seed=0)
    assert counts.sum(1).tolist() == [500, 500, 500]
    errors = [
        float((latents - quantize(codebooks, latents[None], torch.tensor([n])).total[0]).square().mean())
        for n in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.3


def test_linear_paths_start_with_the_variances_that_they_should():
    made = random_model()
    start_linear_paths(made, waves())
    dim = made.config.waveform_dim
    latent = latent_of(made, torch.cat(waves())).flatten(0, 1)
    waveform, envelope = latent[:, :dim], latent[:, dim:]
    assert float(waveform.square().mean()) == pytest.approx(1, rel=0.05)
    assert float(envelope.var(0).sum()) == pytest.approx(ENVELOPE**2 * dim, rel=0.05)
    assert float(envelope.mean(0).abs().max()) < 1e-3
    product = made.encoder.linear.weight @ made.decoder.linear.weight
    assert torch.allclose(product, torch.eye(dim), atol=1e-4), "the decoder's inverts the encoder's"


def test_frames_skip_layers_that_save_little():
    made = started()
    first, *_, last = made.quantizer.costs.tolist()
    assert first == 0 < last
    assert made.quantizer.weights.tolist() == [2.0] * 4, "unvoiced frames, up to the second stop"
    assert not made.quantizer.codebooks[:, 0].any()
    latent = latent_of(made, torch.cat(waves()))
    n_layers = torch.full((len(latent),), 4)
    free, costly = (quantize(made.quantizer.codebooks, latent, n_layers, c) for c in (None, made.quantizer.costs))
    assert (costly.counts[2:, 0] > free.counts[2:, 0]).all()
    assert torch.equal(costly.counts[:2], free.counts[:2])
    codes = made.quantizer.encode(latent, 4)
    counted = torch.stack([torch.bincount(codes[:, layer].flatten(), minlength=16) for layer in range(4)])
    assert torch.equal(counted.float(), costly.counts)


def test_untrained_start_already_codes():
    made, wave = started().eval(), noise(0.4)
    with torch.inference_mode():
        latent = made.encoder(wave)
        coefficients, _ = made.decoder.network(latent, torch.full(latent.shape[:2], 4))
        decoded = made.decoder.mdct.inverse(coefficients)
    assert decoded.square().mean() == pytest.approx(float(wave.square().mean()), rel=0.4)
