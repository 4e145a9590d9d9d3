"""Sessions: from nothing, resumed, continued from a checkpoint or a model; their commands."""

import subprocess
import sys
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from typer.testing import CliRunner

from rvqcodec.errors import RvqError
from rvqcodec.training.commands import app
from rvqcodec.training.train import session as sessions
from rvqcodec.weights.load import save_model
from rvqcodec.weights.registry import DEFAULT_MODEL, find_model
from tests.trainers import SETTINGS, made_corpus, random_model, trained_config


@pytest.fixture
def session(monkeypatch, tmp_path):
    monkeypatch.setattr(sessions, "open_corpus", lambda _: made_corpus())
    monkeypatch.setattr(sessions, "START_CROPS", 32)
    monkeypatch.setattr(sessions, "LOG_EVERY", 2)

    def make(**changes):
        values = {"settings": replace(SETTINGS, steps=4), "evaluate_minutes": 0.0, "device": "cpu"}
        places = {"corpus": tmp_path, "folder": tmp_path / "run", "config": trained_config()}
        return sessions.Session(**{**places, **values, **changes})

    return make


def test_session_runs_from_nothing_and_continues(session, tmp_path):
    sessions.train(session())
    log = (tmp_path / "run" / "losses.csv").read_text()
    sessions.train(session(settings=replace(SETTINGS, steps=9)))
    assert (tmp_path / "run" / "losses.csv").read_text() == log
    adversarial = replace(SETTINGS, steps=2, stage="adversarial", discriminator_width=2)
    init = str(tmp_path / "run" / "checkpoint.pt")
    sessions.train(session(folder=tmp_path / "next", settings=adversarial, init=init))
    assert (tmp_path / "next" / "before-adversarial.pt").exists()
    lines = (tmp_path / "run" / "losses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4"]
    assert "layer_3" in (tmp_path / "run" / "perplexity.csv").read_text()


def test_a_run_starts_from_a_weights_file(tmp_path):
    model = random_model()
    save_model(model, "small", tmp_path / "small.safetensors")
    found, counts = sessions.load_start(str(tmp_path / "small.safetensors"))
    assert counts is None and found.fingerprint == model.fingerprint
    assert torch.equal(found.quantizer.codebooks, model.quantizer.codebooks)


def test_a_model_from_nothing_has_the_shape_of_the_default_model():
    made, _ = sessions.load_start("")
    assert made.config.to_json() == find_model(DEFAULT_MODEL).config


def test_models_of_other_families_are_not_trained(monkeypatch):
    monkeypatch.setattr(sessions, "find_model", lambda _: None)
    monkeypatch.setattr(sessions, "load_model", lambda *_: torch.nn.Linear(1, 1))
    with pytest.raises(RvqError, match="another family"):
        sessions.load_start("lyra")


def test_a_process_whose_parent_was_killed_does_not_train_on(monkeypatch):
    assert not sessions._abandoned()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(sessions.multiprocessing, "parent_process", lambda: Mock(is_alive=lambda: gone.poll() is None))
    assert sessions._abandoned()


def test_run_without_a_length_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["run", str(tmp_path), str(tmp_path)])
    assert result.exit_code == 2


def test_commands_do_not_import_torch():
    code = "import sys, rvqcodec.training.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
