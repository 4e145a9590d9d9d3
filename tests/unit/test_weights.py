import json

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors
from tiny import fitting_tables, tiny_codec

from rvqcodec.errors import DeviceError, ModelError
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.weights.load import load_model, pick_device, save_model
from rvqcodec.weights.registry import find_fingerprint, find_model, list_models, read_metadata, read_model_file
from rvqcodec.weights.tables import read_tables, write_tables


@pytest.fixture
def path(tmp_path):
    save_model(tiny_codec(), tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_a_saved_model_is_loaded(path):
    codec = load_model(find_model(str(path)), "cpu")
    assert codec.name == "tiny" and codec.fingerprint == tiny_codec().fingerprint
    assert not codec.training and not any(value.requires_grad for value in codec.parameters())
    assert {value.dtype for value in codec.state_dict().values()} == {torch.float32}
    assert torch.equal(codec.quantizer.codebooks, tiny_codec().quantizer.codebooks)
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.safetensors"]


def test_a_model_file_is_read_without_its_tensors(path):
    found = read_model_file(path)
    assert found.name == "tiny" and json.loads(found.config)["merge"] == 2
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


def test_what_a_base_holds_is_left_out(path):
    changed = tiny_codec()
    with torch.no_grad():
        changed.decoder.head.weight.add_(1.0)
        changed.quantizer.codebooks.mul_(0.5)
    changed.name = "changed"
    other = path.with_name("changed.safetensors")
    save_model(changed, other, "tiny")
    assert set(safetensors.load_file(other)) == {"decoder.head.weight", "quantizer.codebooks"}
    found, whole = load_model(read_model_file(other), "cpu"), path.with_name("whole.safetensors")
    save_model(changed, whole)
    expected = load_model(read_model_file(whole), "cpu").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in found.state_dict().items())
    third = path.with_name("third.safetensors")
    save_model(changed, third, "changed")
    assert not safetensors.load_file(third), "a base may have one itself"
    again = load_model(read_model_file(third), "cpu").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in again.items())
    before = path.read_bytes()
    for base in ("tiny", "changed", "third"):
        with pytest.raises(ModelError, match="its own base"):
            save_model(tiny_codec(), path, base)
    assert path.read_bytes() == before
    safetensors.save_file(safetensors.load_file(other), other, {**read_metadata(other), "base": "third"})
    with pytest.raises(ModelError, match="based on themselves, by way of"):
        load_model(read_model_file(third), "cpu")
    save_model(changed, other, "tiny")
    path.unlink()
    with pytest.raises(ModelError, match="need those of 'tiny' beside them"):
        load_model(read_model_file(other), "cpu")


def test_a_base_is_looked_for_in_the_same_folder(path):
    tensors = safetensors.load_file(path)
    safetensors.save_file(tensors, path, {**read_metadata(path), "base": f"../{path.parent.name}/tiny"})
    with pytest.raises(ModelError, match="beside them"):
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
    for name in ("no-such-model", "../rvq48-v1", "", "/etc/passwd"):
        with pytest.raises(ModelError, match="no model is called") as caught:
            find_model(name)
        assert "known models" in caught.value.hint
    with pytest.raises(ModelError):
        find_model("no/such/file.safetensors")
    with pytest.raises(ModelError, match="the file needs the model 'x' with fingerprint 0000000000000000"):
        find_fingerprint("0" * 16, "x")


def test_listed_models_are_found():
    for model in list_models():
        assert find_model(model.name) == model and find_fingerprint(model.fingerprint, "") == model


def test_a_newer_calibration_finishes_a_model(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_codec(), path)
    finish = path.with_suffix(".finish.json")
    finish.write_text('{"low_exponents": [90, 80, 70, 60]}')
    found = read_model_file(path)
    assert load_model(found, "cpu").config.low_exponents == (90, 80, 70, 60)
    assert found.fingerprint == read_model_file(path, finished=False).fingerprint
    assert load_model(read_model_file(path, finished=False), "cpu").config.low_exponents == ()
    for bad in ('{"n_codebooks": 2}', "[1]", "{", '{"low_exponents": [1]}'):
        finish.write_text(bad)
        with pytest.raises(ModelError):
            load_model(read_model_file(path), "cpu")


def test_devices():
    assert pick_device("cpu") == torch.device("cpu")
    for name in ("no-such-device", "cuda:99"):
        with pytest.raises(DeviceError, match="can't be used"):
            pick_device(name)


def test_tables_come_back(tmp_path):
    path, tables = tmp_path / "t.static.safetensors", fitting_tables(2)
    write_tables(path, tables.static.frequencies, "tiny", "0123456789abcdef")
    name, frequencies = read_tables(path)
    assert len(name) == 8 and np.array_equal(frequencies, tables.static.frequencies)
    assert StaticTables(name, frequencies).fit(1, 16)
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
        ({"sample_rate": 16 << 30}, "within limits"),
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
