"""Export: held-out measurements, calibrated weights, tables and card that fit each other."""

import json
import math

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from rvqcodec.training.commands import app
from rvqcodec.training.corpus.corpus import Corpus
from rvqcodec.training.measure import evaluation
from rvqcodec.training.measure.evaluation import Clip, Measurement
from rvqcodec.training.release import export
from rvqcodec.training.release.calibration import calibrate
from rvqcodec.weights.load import load_model, save_model
from rvqcodec.weights.registry import read_model_file
from rvqcodec.weights.tables import read_tables
from tests.trainers import random_model, recording


@pytest.fixture
def corpus():
    audio = np.random.default_rng(0).normal(0, 2000, 4 * 48_000).astype(np.int16)
    splits = ("train", "train", "valid", "eval")
    recordings = [
        recording(f"usr/{n}.wav", kind, split, 4.0) for kind in ("speech", "music") for n, split in enumerate(splits)
    ]
    short = recording("usr/9.wav", "speech", "eval", 1.0)
    return Corpus((*recordings, short), {"speech": audio, "music": audio})


@pytest.fixture
def model():
    return random_model()


def test_clips_are_held_out_fixed_and_levelled(corpus):
    clips = evaluation.select_clips(corpus, 2)
    assert [(clip.name, clip.kind) for clip in clips] == [
        ("p:2.wav", "speech"),
        ("p:3.wav", "speech"),
        ("p:2.wav", "music"),
        ("p:3.wav", "music"),
    ]
    assert all(len(clip.wave) % 960 == 0 and clip.wave.dtype == np.float32 for clip in clips)
    assert np.square(clips[0].wave).mean() == pytest.approx(10**-2.2, rel=1e-3)


def test_measurements_are_taken_for_each_layer_count(monkeypatch, model):
    monkeypatch.setattr(evaluation, "visqol", lambda *_: 4.0)
    monkeypatch.setattr(evaluation, "pesq_wideband", lambda *_: 2.0)
    noise = np.random.default_rng(0).normal(0, 0.08, 9600).astype(np.float32)
    rows = evaluation.measure(model, [Clip("a", "speech", noise), Clip("b", "music", noise)], (1, 4), 2)
    assert [(row.clip, row.n_layers) for row in rows] == [("a", 1), ("a", 4), ("b", 1), ("b", 4)]
    assert (rows[0].pesq, math.isnan(rows[2].pesq)) == (2.0, True)
    assert all(row.mel > 0 for row in rows)
    assert json.loads(json.dumps(rows[0].as_dict()))["n_layers"] == 1


def test_calibration_sets_the_strengths_of_each_number_of_layers(model):
    codebooks, decoder = model.quantizer.codebooks.clone(), model.decoder
    for strengths in (decoder.compression.exponent, decoder.noise.gain, decoder.smoothing.strength):
        assert strengths.shape == (5,)
        strengths[1:] = -1.0
    decoder.postfilter.strength[1:] = -1.0
    calibrate(model, 0.08 * torch.randn(4, 48_000, generator=torch.Generator().manual_seed(0)))
    assert (decoder.postfilter.strength >= 0).all()
    assert ((decoder.compression.exponent[1:] >= 0.5) & (decoder.compression.exponent[1:] <= 1)).all()
    assert (decoder.noise.gain >= 0).all() and (decoder.smoothing.strength >= 0).all()
    assert set(decoder.noise.first_bin.tolist()) <= set(map(float, model.config.band_edges))
    assert torch.equal(decoder.noise.first_bin, decoder.sinusoids.first_bin)
    assert torch.equal(decoder.smoothing.strength, decoder.decorrelation.strength)
    assert torch.equal(model.quantizer.codebooks, codebooks)


@pytest.mark.parametrize(("noise", "strength"), [(0.03, 0.3), (0.0, 0.0)])
def test_the_comb_is_as_strong_as_the_noise_over_a_pitch_asks_for(monkeypatch, model, noise, strength):
    """A period before and after there is other noise; where there is none, the comb only blurs a voice that trembles."""
    time = torch.arange(48_000) / 48_000
    phase = 2 * math.pi * (150 * time + torch.sin(2 * math.pi * 6 * time) / math.pi)
    wave = 0.02 * sum(torch.cos(k * phase) for k in range(1, 16)).repeat(2, 1)
    added = noise * torch.randn(wave.shape, generator=torch.Generator().manual_seed(0))
    decoded = model.decoder.mdct(wave + added)
    monkeypatch.setattr(model.decoder, "network", lambda *_: (decoded, model.decoder.energies(decoded)))
    calibrate(model, wave)
    assert model.decoder.postfilter.strength[1:].tolist() == pytest.approx([strength] * 4)


def exported(monkeypatch, tmp_path, corpus, model, name, *options):
    """Export a model from a weights file and return it as it is read, and what the command said."""
    source = tmp_path / "source.safetensors"
    save_model(model, "source", source)
    measured = [Measurement("a", "speech", 3, 1.5, 3.0, 0.2), Measurement("b", "music", 3, math.nan, 4.0, 0.1)]
    monkeypatch.setattr(export, "open_corpus", lambda _: corpus)
    monkeypatch.setattr(export, "measure", lambda *_: measured)
    monkeypatch.setattr(export, "SINUSOID_CROPS", 16)
    monkeypatch.setattr(export, "CALIBRATION_S", 8)
    where = ["-o", str(tmp_path / "out"), "--name", name, "--minutes", "0", "--entropy-minutes", "0"]
    arguments = ["export", str(source), str(tmp_path), *where, *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return read_model_file(tmp_path / "out" / f"{name}.safetensors"), result.stdout


def test_export_writes_three_files_that_fit(monkeypatch, tmp_path, corpus, model):
    found, said = exported(monkeypatch, tmp_path, corpus, model, "small", "--before", "From noise.")
    assert found.name == "small"
    assert said.split() == [str(found.path), str(found.tables_path), str(found.card_path)]
    loaded = load_model(found, "cpu")
    assert loaded.fingerprint == model.fingerprint == found.fingerprint
    assert loaded.silence.any() and loaded.decoder.noise.first_bin[0] == 0, "calibrated"
    _, table = read_tables(found.tables_path)
    assert [len(row) for row in table] == [16] * 4
    assert all(row.sum(dtype=np.int64) == 1 << 24 for row in table)
    card = found.card_path.read_text()
    assert card.startswith("# small\n") and "4 vector layers of 16 entries" in card
    assert "| p | 1.0 | music 0.00, speech 0.00 | CC0 |" in card
    assert "From noise." in card
    assert "| speech | 1 | 3 | 1.50 | 3.00 | 0.200 |" in card


def test_the_loudness_of_sinusoids_is_fitted(monkeypatch, tmp_path, corpus):
    toned = random_model(scale=0.1, codebook_size=512, n_codebooks=2, search_stops=(1, 2), sinusoid_layers=(2, 3))
    found, _ = exported(monkeypatch, tmp_path, corpus, toned, "toned", "--clips", "0")
    loaded = load_model(found, "cpu")
    assert loaded.fingerprint == toned.fingerprint and loaded.config.sinusoid_layers == (2, 3)
    assert loaded.decoder.sinusoids.loudness.weight.any(), "fitted"
    assert [len(row) for row in read_tables(found.tables_path)[1]] == [512, 512, 256, 256]
    card = found.card_path.read_text()
    assert ", 2 vector layers of 512 entries and 2 sinusoid layers" in card and "Not measured." in card
