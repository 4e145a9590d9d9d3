import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors
from tiny import small_config
from typer.testing import CliRunner

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.training.commands import app
from rvqcodec.training.corpus.corpus import Corpus, Recording
from rvqcodec.training.release import postfilter as training
from rvqcodec.weights.load import load_model, save_model
from rvqcodec.weights.registry import postfilter_of, read_model_file

PLAIN = small_config(
    n_codebooks=2,
    search_stops=(1, 2),
    noise_bands=(20, 20),
    low_exponents=(80, 80),
    pitch_strengths=(40, 20),
    noise_evenness=(100, 100),
)
CONFIG = replace(PLAIN, postfilter=(8, 2))
HOP, SECOND = CONFIG.hop_length, CONFIG.frame_rate


def make(config, trained=False):
    torch.manual_seed(0)
    codec = Codec(replace(config, postfilter=()), "small").eval().requires_grad_(False)
    codec.quantizer.codebooks.normal_()
    if config.postfilter:
        codec, plain = Codec(config, "small").eval().requires_grad_(False), codec
        codec.load_state_dict(plain.state_dict(), strict=False)
    if config.postfilter and trained:
        for value in codec.decoder.postfilter.parameters():
            value.normal_(0, 0.1)
    return codec


def decoded(codec, n_frames=2 * SECOND, first=0, last=None):
    latent = torch.randn(1, n_frames, CONFIG.latent_dim, generator=torch.Generator().manual_seed(1))[:, first:last]
    counts = torch.ones(latent.shape[:2], dtype=torch.int64)
    with torch.inference_mode():
        return codec.decoder(latent, counts, position=torch.tensor([first]))


def test_untrained_it_is_the_comb_filter():
    decoder = make(CONFIG).decoder
    time = torch.arange(2 * SECOND * HOP) / CONFIG.sample_rate
    voice = torch.stack([0.1 / k * torch.sin(2 * math.pi * 140 * k * time + k) for k in range(1, 16)]).sum(0)[None]
    wave = voice + 0.02 * torch.randn(voice.shape, generator=torch.Generator().manual_seed(0))
    counts, n_low = torch.ones(1, 2 * SECOND, dtype=torch.int64), decoder.postfilter.n_low
    with torch.inference_mode():
        repeats, coefficients = decoder.pitch(wave), decoder.mdct(wave)
        low = coefficients[..., :n_low]
        near = tuple(decoder.mdct(x, n_low) for x in decoder.pitch.neighbours(repeats))
        changed = decoder.postfilter(low, near, repeats, decoder.energies(coefficients), counts) - low
        combed = decoder.mdct(decoder.pitch.change(repeats, counts), n_low)
    assert float((changed - combed)[:, 9:-9].norm() / combed[:, 9:-9].norm()) < 0.3


def test_trained_it_changes_low_coefficients_and_no_band_s_loudness():
    codec, plain = make(CONFIG, trained=True), make(PLAIN)
    one, other = (x.decoder.mdct(decoded(x)) for x in (codec, plain))
    n_low = codec.decoder.postfilter.n_low
    assert n_low == 42 in CONFIG.band_edges
    change = one - other
    assert change[..., n_low + 4 :].abs().max() < 0.01 * change[..., :n_low].abs().max()
    energies = [codec.decoder.energies(x)[:, 2:-2] for x in (one, other)]
    assert float((energies[0] - energies[1]).abs().median()) < 0.05


def test_a_part_with_its_context_is_decoded_as_the_whole():
    codec, context = make(CONFIG, trained=True), CONFIG.decoder_context
    assert context == PLAIN.decoder_context + 2
    whole, part = decoded(codec), decoded(codec, first=10, last=90)
    inner = slice((10 + context) * HOP, (90 - context) * HOP)
    assert torch.allclose(part[:, context * HOP : -context * HOP], whole[:, inner], atol=1e-5)


@pytest.mark.parametrize("changes", [{"postfilter": (8,)}, {"postfilter": (8, 0)}, {"noise_evenness": ()}])
def test_impossible_postfilters_are_refused(changes):
    with pytest.raises(ModelError, match="breaks a rule"):
        replace(CONFIG, **changes)


def write(folder, name="small", config=PLAIN, base=""):
    codec = make(config)
    codec.name = name
    save_model(codec, folder / f"{name}.safetensors", base)
    return folder / f"{name}.safetensors"


def test_it_lies_beside_the_weights_or_those_of_the_base(tmp_path):
    write(tmp_path)
    other = write(tmp_path, "other", base="small")
    other.with_suffix(".finish.json").write_text(json.dumps({"postfilter": [8, 2]}))
    with pytest.raises(ModelError, match="need their postfilter"):
        load_model(read_model_file(other), "cpu")
    network = make(CONFIG, trained=True).decoder.postfilter
    safetensors.save_file(network.state_dict(), postfilter_of(tmp_path / "small.safetensors"))
    found = load_model(read_model_file(other), "cpu").decoder.postfilter
    assert torch.equal(found.head.weight, network.head.weight)
    assert load_model(read_model_file(other, finished=False), "cpu").decoder.postfilter is None
    own = postfilter_of(other)
    own.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(read_model_file(other), "cpu")


@pytest.fixture
def corpus(monkeypatch):
    audio = np.random.default_rng(0).normal(0, 2000, 4 * 48_000).astype(np.int16)
    values = ("p", "1", "a.wav", "00", "CC0", 48_000, 4.0, "speech", "train", 0, len(audio))
    one = Recording(**dict(zip(Recording.__dataclass_fields__, values, strict=True)))
    made = Corpus((one,), {"speech": audio})
    monkeypatch.setattr(training, "open_corpus", lambda _: made)
    monkeypatch.setattr("rvqcodec.training.corpus.corpus.open_corpus", lambda _: made)


def test_it_is_trained_beside_the_weights_goes_on_and_survives_a_calibration(tmp_path, corpus):
    path = write(tmp_path)
    weights = path.read_bytes()
    common = ["postfilter", str(tmp_path), "--model", str(path), "--minutes", "0.02", "--decode-minutes", "0"]
    common += ["--width", "8", "--blocks", "1"]
    assert CliRunner().invoke(app, common, catch_exceptions=False).exit_code == 0
    codec = load_model(read_model_file(path), "cpu")
    assert codec.config.postfilter == (8, 1) and path.read_bytes() == weights
    first = codec.decoder.postfilter.head.weight
    assert first.any()
    CliRunner().invoke(app, [*common, "--init", "own", "--rate", "0"], catch_exceptions=False)
    again = load_model(read_model_file(path), "cpu").decoder.postfilter.head.weight
    assert torch.allclose(first, again, atol=1e-3)
    CliRunner().invoke(app, ["finish", str(tmp_path), "--model", str(path)], catch_exceptions=False)
    assert load_model(read_model_file(path), "cpu").config.postfilter in ((8, 1), ())
    assert not list(tmp_path.glob(".*"))


def test_it_needs_a_calibrated_model_and_a_start_that_fits(tmp_path, corpus):
    bare = write(tmp_path, "bare", replace(PLAIN, noise_evenness=(), pitch_strengths=()))
    options = ["--minutes", "0", "--decode-minutes", "0"]
    with pytest.raises(ModelError, match="no comb filter"):
        CliRunner().invoke(app, ["postfilter", str(tmp_path), "--model", str(bare), *options], catch_exceptions=False)
    path = write(tmp_path)
    command = ["postfilter", str(tmp_path), "--model", str(path), *options, "--init", str(path)]
    with pytest.raises(ModelError, match="can't be read as a postfilter"):
        CliRunner().invoke(app, command, catch_exceptions=False)


def test_an_interrupted_training_leaves_the_one_in_use_and_can_go_on(tmp_path, corpus, monkeypatch):
    path = write(tmp_path)
    base = ["postfilter", str(tmp_path), "--model", str(path), "--decode-minutes", "0", "--width", "8", "--blocks", "1"]
    CliRunner().invoke(app, [*base, "--minutes", "0.02"], catch_exceptions=False)
    before = postfilter_of(path).read_bytes()
    monkeypatch.setattr(training, "KEEP_EVERY_S", 0)
    lines = training.train_postfilter(
        training.PostfilterRequest(corpus=tmp_path, model=str(path), minutes=1, decode_minutes=0, width=8, n_blocks=1)
    )
    monkeypatch.setattr(training, "TOLD", 1000)
    next(line for line in lines if "loss" in line)
    lines.close()
    part = postfilter_of(path).with_suffix(".part")
    assert part.is_file() and postfilter_of(path).read_bytes() == before
    CliRunner().invoke(app, [*base, "--minutes", "0.02", "--init", str(part)], catch_exceptions=False)
    assert not part.exists() and postfilter_of(path).read_bytes() != before


def test_a_model_based_on_another_goes_on_from_what_it_uses(tmp_path, corpus):
    write(tmp_path)
    other = write(tmp_path, "other", base="small")
    other.with_suffix(".finish.json").write_text(json.dumps({"postfilter": [8, 2]}))
    safetensors.save_file(
        make(CONFIG, trained=True).decoder.postfilter.state_dict(), postfilter_of(tmp_path / "small.safetensors")
    )
    options = ["--minutes", "0", "--decode-minutes", "0", "--width", "8", "--blocks", "2", "--init", "own"]
    CliRunner().invoke(app, ["postfilter", str(tmp_path), "--model", str(other), *options], catch_exceptions=False)
    found = load_model(read_model_file(other), "cpu").decoder.postfilter.head.weight
    assert postfilter_of(other).is_file()
    assert torch.allclose(found, make(CONFIG, trained=True).decoder.postfilter.head.weight, atol=1e-3)
