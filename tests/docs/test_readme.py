"""The README: its examples run as one script, its table and picture are those of the results."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import soundfile as sf
from blocks import ROOT, blocks, run_shell

README = ROOT / "README.md"


@pytest.fixture(scope="module")
def rate_quality():
    """The script that writes the table and draws the picture."""
    spec = importlib.util.spec_from_file_location("rate_quality", ROOT / "docs" / "rate_quality.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rate_quality"] = module
    spec.loader.exec_module(module)
    return module


def test_examples_run_as_one_script(desk):
    shell, python = (block for block in blocks(README) if block.mark == "examples")
    assert (shell.kind, python.kind) == ("sh", "python")
    assert shell.text.count("\n# ") + 1 == 10
    run_shell(f"{shell.text}\npython - <<'END'\n{python.text}END\n", desk)
    assert (
        sf.info(desk / "restored.wav").frames == sf.info(desk / "talk.wav").frames == sf.info(desk / "piped.wav").frames
    )
    assert sf.info(desk / "part.wav").duration == 1.5
    with sf.SoundFile(desk / "restored.wav") as restored:
        assert restored.title == "Greeting"
    assert (desk / "smaller.rvq").read_bytes() == (desk / "small.rvq").read_bytes()  # 3 kbps are 6 layers
    assert {path.name for path in (desk / "restored").rglob("*.wav")} == {"interview.wav", "lecture.wav", "song.wav"}
    assert sf.info(desk / "restored" / "song.wav").subtype == "PCM_24"


def test_every_block_is_an_example_or_run_by_the_integration():
    assert {block.mark for block in blocks(README)} == {"run", "examples", "test"}


def test_table_and_picture_are_those_of_the_results(rate_quality):
    scores = rate_quality.read_scores()
    for path in rate_quality.DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert text == rate_quality.with_table(text, scores), "run python docs/rate_quality.py"
    assert rate_quality.PICTURE.read_text(encoding="utf-8") == rate_quality.picture(scores), (
        "run python docs/rate_quality.py"
    )
    assert rate_quality.PICTURE.stat().st_size < 200_000
