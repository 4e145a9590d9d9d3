import json

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors

from rvqcodec.errors import DeviceError, ModelError, OutputError
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.weights.load import load_model, pick_device, save_model
from rvqcodec.weights.registry import (
    MODELS_VARIABLE,
    find_fingerprint,
    find_model,
    list_models,
    read_metadata,
    read_model_file,
)
from rvqcodec.weights.tables import read_tables, write_tables
from tests.entropies import tables_of_sizes
from tests.trainers import random_model


@pytest.fixture
def path(tmp_path):
    save_model(random_model(), "tiny", tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_a_saved_model_is_loaded(path):
    found = find_model(str(path))
    model = load_model(found, "cpu")
    assert (found.kind, found.name, found.fingerprint) == ("rvq48", "tiny", model.fingerprint)
    assert not model.training and not any(value.requires_grad for value in model.parameters())
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert model.config == random_model().config and model.traits == found.traits
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("half", [True, False])
def test_a_model_that_was_saved_is_the_one_in_the_file(tmp_path, half):
    """Matrices are rounded where they are stored in half precision, in memory as well: codes mean the same."""
    model, before = random_model(), random_model().state_dict()
    save_model(model, "tiny", tmp_path / "tiny.safetensors", half=half)
    loaded = load_model(read_model_file(tmp_path / "tiny.safetensors"), "cpu")
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    assert half != all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    stored = safetensors.load_file(tmp_path / "tiny.safetensors")["quantizer.codebooks"]
    assert stored.dtype == (torch.float16 if half else torch.float32)
    assert torch.allclose(stored.float(), before["quantizer.codebooks"], rtol=1e-3)


def test_a_model_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "tiny.safetensors").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        save_model(random_model(), "tiny", tmp_path / "tiny.safetensors")
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_a_model_file_is_read_without_its_tensors(path):
    found = read_model_file(path)
    assert found.name == "tiny" and json.loads(found.config)["merge"] == 3
    assert found.tables_path.name == "tiny.static.safetensors" and found.card_path.name == "tiny.md"


def test_a_damaged_codebook_is_found_by_the_fingerprint(path):
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    start, _ = json.loads(data[8 : 8 + length])["quantizer.codebooks"]["data_offsets"]
    data[8 + length + start] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="don't match their fingerprint"):
        load_model(read_model_file(path), "cpu")


def test_weights_that_do_not_fit_are_refused(path):
    tensors, metadata = safetensors.load_file(path), read_metadata(path)
    tensors.pop("silence")
    safetensors.save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(read_model_file(path), "cpu")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(read_model_file(path), "cpu")


@pytest.mark.parametrize(("kind", "problem"), [("other", "unknown model family"), ("soundstream", "unknown key")])
def test_models_of_a_family_that_does_not_fit_are_refused(path, kind, problem):
    safetensors.save_file(safetensors.load_file(path), path, {**read_metadata(path), "kind": kind})
    with pytest.raises(ModelError, match=problem):
        load_model(read_model_file(path), "cpu")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 16,
        (9).to_bytes(8, "little") + b"not json!",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
    ],
)
def test_other_files_are_no_models(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ModelError):
        read_model_file(tmp_path / "x.safetensors")


def test_unknown_models_are_said():
    with pytest.raises(ModelError, match="unknown model") as caught:
        find_model("no-such-model")
    assert "known models: rvq48" in caught.value.hint
    for name in ("../rvq48", "", "/etc/passwd"):
        with pytest.raises(ModelError, match="is not a valid model name"):
            find_model(name)
    with pytest.raises(ModelError):
        find_model("no/such/file.safetensors")
    with pytest.raises(ModelError, match="the file needs the model 'x' with fingerprint 0000000000000000"):
        find_fingerprint("0" * 16, "x")


def test_listed_models_are_found(path, monkeypatch):
    """Those of the user's folder too."""
    monkeypatch.setenv(MODELS_VARIABLE, str(path.parent))
    assert {"rvq48", "tiny"} <= {model.name for model in list_models()}
    for model in list_models():
        assert find_model(model.name) == model and find_fingerprint(model.fingerprint, "") == model


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    for name in ("no-such-device", "cuda:99"):
        with pytest.raises(DeviceError, match="can't be used"):
            pick_device(name)


def test_tables_come_back(tmp_path):
    path, tables = tmp_path / "t.static.safetensors", tables_of_sizes((16, 16, 5, 16))
    write_tables(path, tables.static.frequencies, "tiny", "0123456789abcdef")
    name, frequencies = read_tables(path)
    assert len(name) == 8
    assert all(np.array_equal(*rows) for rows in zip(frequencies, tables.static.frequencies, strict=True))
    assert StaticTables(name, frequencies).fit(2, 5)
    assert read_metadata(path) == {"model": "tiny", "fingerprint": "0123456789abcdef", "kind": "static"}


@pytest.mark.parametrize("data", [b"", b"rubbish" * 9, safetensors.save({"other": torch.zeros(2)})])
def test_other_files_are_no_tables(tmp_path, data):
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(ModelError, match="can't be read as static entropy tables"):
        read_tables(tmp_path / "t")
    with pytest.raises(ModelError):
        read_tables(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"codebook_size": 1 << 40}, "within limits"),
        ({"encoder_fine_width": 1 << 30}, "within limits"),
        ({"decoder_fine_blocks": 1 << 30}, "within limits|shorter than a block"),
        ({"window_blocks": 1 << 30}, "within limits"),
        ({"sample_rate": 48_000 << 20}, "whole samples"),
        ({"level_dbfs": float("nan")}, "level"),
    ],
)
def test_sizes_are_refused_before_memory_is_taken(path, changes, problem):
    tensors, metadata = safetensors.load_file(path), read_metadata(path)
    metadata["config"] = json.dumps({**json.loads(metadata["config"]), **changes})
    safetensors.save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match=problem):
        load_model(read_model_file(path), "cpu")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\x1b[2J", "a\nb"])
def test_names_that_files_cannot_hold_are_refused(path, name):
    safetensors.save_file(safetensors.load_file(path), path, {**read_metadata(path), "name": name})
    with pytest.raises(ModelError, match="name"):
        read_model_file(path)


def test_weights_that_are_no_numbers_are_refused(path):
    tensors, metadata = safetensors.load_file(path), read_metadata(path)
    tensors["encoder.head.bias"][0] = float("nan")
    safetensors.save_file(tensors, path, metadata)
    with pytest.raises(ModelError, match="aren't finite"):
        load_model(read_model_file(path), "cpu")


def test_json_that_nests_without_end_is_refused(path):
    deep = b"[" * 200_000
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(ModelError, match="can't be read as a model"):
        read_model_file(path)
