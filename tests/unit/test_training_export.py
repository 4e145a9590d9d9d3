import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from tiny import small_config
from typer.testing import CliRunner

from rvqcodec.codec.codec import Codec
from rvqcodec.training.commands import app
from rvqcodec.training.corpus.corpus import Corpus, Recording
from rvqcodec.training.measure import evaluation
from rvqcodec.training.measure.evaluation import Clip, Measurement
from rvqcodec.training.release import export
from rvqcodec.weights.load import load_model, save_model
from rvqcodec.weights.registry import read_model_file
from rvqcodec.weights.tables import read_tables

TINY = small_config()


def recording(index, kind, split, seconds=4.0):
    values = (
        "p",
        "1.0",
        f"usr/{index}.wav",
        f"{index:02}",
        "CC0",
        48_000,
        seconds,
        kind,
        split,
        0,
        round(48_000 * seconds),
    )
    return Recording(**dict(zip(Recording.__dataclass_fields__, values, strict=True)))


@pytest.fixture
def corpus():
    audio = np.random.default_rng(0).normal(0, 2000, 4 * 48_000).astype(np.int16)
    splits = ("train", "train", "valid", "eval")
    recordings = [recording(index, kind, split) for kind in ("speech", "music") for index, split in enumerate(splits)]
    return Corpus((*recordings, recording(9, "speech", "eval", 1.0)), {"speech": audio, "music": audio})


@pytest.fixture
def codec():
    torch.manual_seed(0)
    made = Codec(TINY, "tiny").eval().requires_grad_(False)
    made.quantizer.codebooks.normal_()
    return made


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


def test_measurements_are_taken_for_each_layer_count(monkeypatch, codec):
    monkeypatch.setattr(evaluation, "visqol", lambda *_: 4.0)
    monkeypatch.setattr(evaluation, "pesq_wideband", lambda *_: 2.0)
    noise = np.random.default_rng(0).normal(0, 0.08, 9600).astype(np.float32)
    rows = evaluation.measure(codec, [Clip("a", "speech", noise), Clip("b", "music", noise)], (1, 4), 2)
    assert [(row.clip, row.n_layers) for row in rows] == [("a", 1), ("a", 4), ("b", 1), ("b", 4)]
    assert (rows[0].pesq, math.isnan(rows[2].pesq)) == (2.0, True)
    assert all(row.mel > 0 for row in rows)
    assert json.loads(json.dumps(rows[0].as_dict()))["n_layers"] == 1


def test_export_writes_three_files_that_fit(monkeypatch, tmp_path, corpus, codec):
    source = tmp_path / "source.safetensors"
    save_model(codec, source)
    measured = [Measurement("a", "speech", 3, 1.5, 3.0, 0.2), Measurement("b", "music", 3, math.nan, 4.0, 0.1)]
    monkeypatch.setattr(export, "open_corpus", lambda _: corpus)
    monkeypatch.setattr(export, "measure", lambda *_: measured)
    out = tmp_path / "out"
    arguments = [
        "export",
        str(source),
        str(tmp_path),
        "-o",
        str(out),
        "--name",
        "small",
        "--minutes",
        "0",
        "--entropy-minutes",
        "0",
    ]
    result = CliRunner().invoke(app, [*arguments, "--before", "From noise."], catch_exceptions=False)
    assert result.exit_code == 0
    model = read_model_file(out / "small.safetensors")
    assert result.stdout.split() == [str(model.path), str(model.tables_path), str(model.card_path)]
    assert load_model(model, "cpu").fingerprint == codec.fingerprint == model.fingerprint
    _, table = read_tables(model.tables_path)
    assert (table.sum(1, dtype=np.int64) == 1 << 24).all()
    card = model.card_path.read_text()
    assert "| p | 1.0 | music 0.00, speech 0.00 | CC0 |" in card
    assert "From noise." in card
    assert "| speech | 1 | 3 | 1.50 | 3.00 | 0.200 |" in card


def test_a_model_gets_tone_layers(monkeypatch, tmp_path, corpus):
    torch.manual_seed(0)
    plain = Codec(small_config(codebook_size=512), "plain").eval().requires_grad_(False)
    plain.quantizer.codebooks.normal_(std=0.1)
    save_model(plain, tmp_path / "plain.safetensors")
    monkeypatch.setattr(export, "open_corpus", lambda _: corpus)
    monkeypatch.setattr(export, "TONE_CROPS", 16)
    source, options = str(tmp_path / "plain.safetensors"), "--minutes 0 --entropy-minutes 0 --clips 0 --base plain"
    command = ["export", source, str(tmp_path), "-o", str(tmp_path), "--name", "toned", *options.split()]
    for wrong, code in (("x", 2), ("1", 1), ("4 4", 1)):
        assert CliRunner().invoke(app, [*command, "--tone-layers", wrong]).exit_code == code
    assert CliRunner().invoke(app, [*command, "--tone-layers", "3 4"], catch_exceptions=False).exit_code == 0
    model = read_model_file(tmp_path / "toned.safetensors")
    codec = load_model(model, "cpu")
    assert codec.config.tone_layers == (2, 3) and codec.config.n_vectors(codec.config.n_layers) == 2
    assert codec.fingerprint != plain.fingerprint and torch.equal(codec.quantizer.codebooks, plain.quantizer.codebooks)
    assert codec.decoder.tone_loudness.weight.any(), "fitted"
    assert model.path.stat().st_size < 20_000, "all else is the base's"
    assert read_tables(model.tables_path)[1].shape == (4, 512)
    assert ", 2 layers of 512 entries and 2 of tones" in model.card_path.read_text()


def test_a_shipped_model_is_calibrated_anew_beside_its_weights(monkeypatch, tmp_path, corpus, codec):
    weights = tmp_path / "small.safetensors"
    save_model(codec, weights)
    before = weights.read_bytes()
    monkeypatch.setattr("rvqcodec.training.corpus.corpus.open_corpus", lambda _: corpus)
    result = CliRunner().invoke(app, ["finish", str(tmp_path), "--model", str(weights)], catch_exceptions=False)
    assert result.stdout.split() == [str(weights.with_suffix(".finish.json"))]
    config = load_model(read_model_file(weights), "cpu").config
    assert len(config.low_exponents) == config.n_codebooks
    assert weights.read_bytes() == before


def test_gains_for_sound_without_a_pitch_are_set(monkeypatch, tmp_path, corpus, codec):
    weights, gains = tmp_path / "small.safetensors", (300,) * len(codec.config.search_stops)
    config = dataclasses.replace(codec.config, pitch_strengths=(40,) * codec.config.n_codebooks)
    ready = Codec(config, codec.name)
    ready.load_state_dict(codec.state_dict())
    save_model(ready, weights)
    monkeypatch.setattr("rvqcodec.training.corpus.corpus.open_corpus", lambda _: corpus)
    command = ["finish", str(tmp_path), "--model", str(weights), "--pitchless-gains"]
    for wrong, code in (("3 x", 2), ("300", 1)):
        assert CliRunner().invoke(app, [*command, wrong]).exit_code == code
        assert not weights.with_suffix(".finish.json").exists()
    CliRunner().invoke(app, [*command, " ".join(map(str, gains))], catch_exceptions=False)
    assert load_model(read_model_file(weights), "cpu").config.pitchless_gains == gains


def test_run_without_a_length_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["run", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2
