"""`rvq transcode` and `--entropy`: other bytes, the same codes; networks that are missing are named."""

import json
import shutil
from pathlib import Path

import pytest

from rvqcodec.cli import main
from rvqcodec.weights.registry import list_models

N_LAYERS = "6"
SPEECH = str(Path(__file__).parents[1] / "audio/speech.flac")
MODES = ("raw", "static", "counts", "network", "auto")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a recording's .rvq files by entropy mode."""
    folder = tmp_path_factory.mktemp("modes")
    for mode in MODES:
        assert main(["encode", SPEECH, str(folder / f"{mode}.rvq"), "-n", N_LAYERS, "--entropy", mode, "-qq"]) == 0
    return folder


def about(rvq, path):
    return json.loads(rvq("info", path, "--json").out)


def test_modes_are_what_was_asked_for(rvq, files):
    for mode in MODES[:-1]:
        assert about(rvq, files / f"{mode}.rvq")["entropy"] == [mode]
    sizes = {mode: (files / f"{mode}.rvq").stat().st_size for mode in MODES}
    # the header of auto names the static tables too: 4 bytes
    assert sizes["auto"] <= min(sizes.values()) + 4 and sizes["network"] < sizes["static"] < sizes["raw"]


def test_transcoding_equals_encoding(rvq, files, tmp_path):
    for source in MODES:
        for target in MODES:
            rvq("transcode", files / f"{source}.rvq", "-o", tmp_path / "t.rvq", "-f", "--entropy", target)
            assert (tmp_path / "t.rvq").read_bytes() == (files / f"{target}.rvq").read_bytes(), (source, target)


def test_trimming_equals_encoding_in_every_mode(rvq, files, tmp_path):
    for mode in MODES:
        rvq("trim", files / f"{mode}.rvq", "-n", 2, "-o", tmp_path / f"{mode}.rvq")
        rvq("encode", SPEECH, tmp_path / "direct.rvq", "-f", "-n", 2, "--entropy", mode)
        assert (tmp_path / f"{mode}.rvq").read_bytes() == (tmp_path / "direct.rvq").read_bytes(), mode


def test_resume_tells_modes_apart(rvq, files, tmp_path):
    for mode in MODES:
        shutil.copy(files / f"{mode}.rvq", tmp_path / "speech.rvq")
        arguments = ("encode", SPEECH, "-o", f"{tmp_path}/", "-n", N_LAYERS, "--resume", "--json")
        for wanted in MODES[:-1]:
            done = json.loads(rvq(*arguments, "--entropy", wanted).out)
            assert done["status"] == ("skipped" if wanted == mode else "done"), (mode, wanted)
            shutil.copy(files / f"{mode}.rvq", tmp_path / "speech.rvq")


def test_a_missing_network_is_named(rvq, files, monkeypatch):
    network = about(rvq, files / "network.rvq")["tables"][1]
    monkeypatch.setattr("rvqcodec.weights.registry.ModelFile.network_paths", [])
    for command in (("verify", "--deep"), ("transcode", "-o", "-")):
        done = rvq(command[0], files / "network.rvq", *command[1:])
        assert done.status == 6
        assert network in done.err and "entropy mode network" in done.err
    assert rvq("verify", files / "network.rvq").status == 0
    assert rvq("verify", files / "counts.rvq", "--deep").status == 0


def test_models_name_their_networks(rvq):
    for model in list_models():
        shown = json.loads(rvq("models", "show", model.name, "--json").out)
        assert shown["networks"] == [path.stem.split(".")[1] for path in model.network_paths] != []
