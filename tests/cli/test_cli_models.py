"""Models beside the one of the package: imported, shown, used by every verb, removed; and what is said where one is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file, save_file

from rvqcodec.weights.load import save_model
from tests.cli.tones import glide
from tests.soundstreams import shared_lyra, tiny_model


@pytest.fixture
def models(here, monkeypatch):
    """An empty folder of imported models."""
    monkeypatch.setenv("RVQ_MODELS", str(here / "models"))
    return here / "models"


@pytest.fixture
def weights(here, models):
    """A random SoundStream model in a file outside of the folder of models."""
    path = here / "weights.safetensors"
    save_model(tiny_model(), "little", path, half=False)
    return path


def test_a_model_comes_and_goes(rvq, models, weights):
    assert rvq("models", "import", weights).status == 0
    listed = json.loads(rvq("models", "list", "--json").out.splitlines()[1])
    assert (listed["name"], listed["family"], listed["embedded"]) == ("little", "soundstream", False)
    assert b"soundstream" in rvq("models", "show", "little").out
    assert rvq("models", "verify", "little").status == 0
    again = rvq("models", "import", weights)
    assert again.status == 6 and "a model named little exists already" in again.err
    assert rvq("models", "import", weights, "-f").status == 0
    assert rvq("models", "import", weights, "--as", "other").status == 0
    assert sorted(path.name for path in models.iterdir()) == ["little.safetensors", "other.safetensors"]
    assert rvq("models", "remove", "little").status == 0
    assert [path.name for path in models.iterdir()] == ["other.safetensors"]


def test_another_name_keeps_the_precision(rvq, models, weights):
    save_model(tiny_model(), "half", weights, half=True)
    assert rvq("models", "import", weights, "--as", "other").status == 0
    stored, given = load_file(models / "other.safetensors"), load_file(weights)
    assert {value.dtype for value in given.values()} == {torch.float16, torch.float32}
    assert all(torch.equal(stored[key], value) and stored[key].dtype == value.dtype for key, value in given.items())


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("import nothing.safetensors", "nothing.safetensors: no such file or folder"),
        ("import . --as lyra-v1.2.0", "soundstream_encoder.tflite"),
        ("import .", "is not a weights file"),
        ("import weights.safetensors --as rvq48", "is part of the package"),
        ("import weights.safetensors --as ../up", "is not a valid model name"),
        ("remove rvq48", "is not an imported model"),
        ("remove nope", "unknown model: 'nope'"),
        ("verify nope", "unknown model: 'nope'"),
    ],
)
def test_what_is_refused(rvq, models, weights, command, problem):
    result = rvq("models", *command.split())
    assert result.status == 6 and problem in result.err
    assert not models.exists() or not list(models.iterdir())


def test_a_damaged_model_is_not_imported(rvq, models, weights):
    data = bytearray(weights.read_bytes())
    data[-1] ^= 64
    weights.write_bytes(data)
    assert rvq("models", "import", weights).status == 6
    assert not list(models.iterdir())


def test_a_stray_file_among_the_models_hides_no_other(rvq, models, weights):
    rvq("models", "import", weights)
    (models / "stray.safetensors").write_bytes(b"no model")
    about = {"kind": "future", "name": "newer", "fingerprint": "0" * 16, "config": "{}"}
    save_file({"x": torch.zeros(1)}, models / "newer.safetensors", about)
    assert len(rvq("models", "list", "--json").out.splitlines()) == 2


def test_every_verb_takes_a_model_of_another_family(here, rvq, models, weights):
    rvq("models", "import", weights)
    sf.write(here / "a.wav", glide(1.2, channels=2), 24000, "PCM_16")
    limit = rvq("encode", "a.wav", "--model", "little", "--layers", "99")
    assert limit.status == 2 and "--layers 99: the model little has 1 to" in limit.err
    assert rvq("encode", "a.wav", "--model", "little").status == 0
    assert rvq("encode", "a.wav", "two.rvq", "--model", "little", "--layers", "2").status == 0
    assert rvq("trim", "a.rvq", "--layers", "2", "-o", "trimmed.rvq").status == 0
    assert (here / "trimmed.rvq").read_bytes() == (here / "two.rvq").read_bytes()
    about = json.loads(rvq("info", "a.rvq", "--json").out)
    assert about["model"] == "little" and set(about["entropy"]) <= {"raw", "counts"}
    assert rvq("verify", "--deep", "a.rvq").status == 0
    assert rvq("transcode", "a.rvq", "-o", "raw.rvq", "--entropy", "raw").status == 0
    assert rvq("decode", "raw.rvq", "back.wav").status == 0
    back, rate = sf.read(here / "back.wav")
    assert rate == 24000 and back.shape == (round(1.2 * 24000), 2)
    assert rvq("decode", "a.rvq", "part.wav", "--start", "0.5", "--duration", "0.5").status == 0
    part, _ = sf.read(here / "part.wav")
    np.testing.assert_allclose(part, back[12000:24000], atol=2 / 32768)
    piped = rvq("encode", "-", "-c", "--model", "little", stdin=(here / "a.wav").read_bytes())
    assert piped.status == 0
    (here / "in").mkdir()
    (here / "a.wav").rename(here / "in/a.wav")
    command = ("encode", "in", "-o", "out", "--model", "little", "-j", "1", "--resume", "--json")
    assert [json.loads(rvq(*command).out)["status"] for _ in range(2)] == ["done", "skipped"]


def test_a_file_of_a_model_that_is_gone_says_what_brings_it(here, rvq, models, weights):
    rvq("models", "import", weights, "--as", "lyra-v1.2.1")
    sf.write(here / "a.wav", glide(0.5, channels=1), 24000, "PCM_16")
    rvq("encode", "a.wav", "--model", "lyra-v1.2.1")
    rvq("models", "remove", "lyra-v1.2.1")
    result = rvq("decode", "a.rvq", "-o", "b.wav")
    assert result.status == 6 and "the file needs the model 'lyra-v1.2.1'" in result.err
    assert "rvq models import" in result.err
    missing = rvq("encode", "a.wav", "b.rvq", "--model", "lyra-v1.2.0")
    assert "rvq models import DIR --as lyra-v1.2.0" in missing.err


def test_lyra_codes_and_decodes_its_vector(here, rvq, models):
    from rvqcodec.models.soundstream.model import SoundStream
    from rvqcodec.pipeline.coding import load_codec
    from rvqcodec.pipeline.stored import read_encoded
    from rvqcodec.weights.importers.lyra import from_safetensors

    shared = shared_lyra()
    config, tensors = from_safetensors(shared / "lyra-v1.2.0.safetensors")
    model = SoundStream(config)
    model.load_state_dict(tensors)
    models.mkdir()
    save_model(model.eval(), "lyra-v1.2.0", models / "lyra-v1.2.0.safetensors", half=False)
    vector = load_file(shared / "lyra-v1.2.0-vector.safetensors")
    wave = vector["wave"].reshape(-1)
    sf.write(here / "a.wav", wave.numpy(), 16000, "FLOAT")
    for chunk in (1, 3, 10):
        rvq("encode", "a.wav", "a.rvq", "-f", "--model", "lyra-v1.2.0", "--layers", "46", "--chunk", chunk)
        codes = read_encoded(here / "a.rvq").codes[0]
        tokens = vector["tokens"].reshape(46, -1).numpy()
        assert np.array_equal(codes[:, : tokens.shape[1]], tokens)
    codec = load_codec("lyra-v1.2.0", "cpu")
    encoded = codec.encode(wave.numpy(), 46, n_threads=2)
    assert np.array_equal(encoded.codes[0], codes)
    decoded = {int(key.split("_")[1]): value for key, value in vector.items() if key.startswith("decoded")}
    for n_layers, expected in decoded.items():
        found = torch.from_numpy(codec.decode(codec.encode(wave.numpy(), n_layers)))[0]
        n = min(len(found), expected.numel())
        torch.testing.assert_close(found[:n], expected.reshape(-1)[:n], atol=1e-5, rtol=0)


@pytest.fixture
def tables(weights):
    """Static entropy tables beside the weights file, which isn't imported."""
    from rvqcodec.weights.registry import read_model_file
    from rvqcodec.weights.tables import write_tables

    model = read_model_file(weights)
    rows = []
    for group in model.traits.groups:
        row = np.full(group.codebook_size, (1 << 24) // group.codebook_size, np.uint32)
        row[0] += (1 << 24) - int(row.sum())
        rows += [row] * group.n_layers
    write_tables(model.tables_path, rows, model.name, model.fingerprint)
    return model.tables_path


def test_a_models_entropy_tables_are_found_beside_its_weights(here, rvq, models, weights, tables):
    sf.write(here / "a.wav", glide(1.2), 24000, "PCM_16")
    encode = ("encode", "a.wav", "a.rvq", "--model", "weights.safetensors", "--entropy", "static", "-n", "2")
    assert rvq(*encode).status == 0
    assert json.loads(rvq("info", "a.rvq", "--json").out)["entropy"] == ["static"]
    assert json.loads(rvq(*encode, "--resume", "--json").out)["status"] == "skipped"
    alone = rvq("verify", "a.rvq", "--deep")
    assert alone.status == 6 and rvq("verify", "a.rvq", "--deep", "--model", "weights.safetensors").status == 0
    for verb in (["transcode", "--entropy", "raw"], ["recover"]):
        assert rvq(verb[0], "a.rvq", "-o", "b.rvq", "-f", "--model", "weights.safetensors", *verb[1:]).status == 0
    assert rvq("decode", "a.rvq", "b.wav", "--model", "weights.safetensors").status == 0
    assert rvq("encode", "a.wav", "c.rvq", "--model", "weights.safetensors", "-n", "2", "--rm").status == 0
    tables.unlink()
    missing = rvq("encode", "b.wav", "d.rvq", "--model", "weights.safetensors", "--entropy", "static")
    assert missing.status == 6 and "hint: --entropy auto does without" in missing.err


def test_python_finds_them_too(here, rvq, models, weights, tables):
    import rvqcodec

    sf.write(here / "a.wav", glide(0.3), 24000, "PCM_16")
    codec = rvqcodec.load_codec(str(weights), "cpu")
    rvqcodec.encode_file("a.wav", "a.rvq", codec, rvqcodec.EncodeOptions(entropy="static", n_layers=2))
    rvqcodec.decode_file("a.rvq", "b.wav", codec)
    assert sf.info(here / "b.wav").frames == 7200
