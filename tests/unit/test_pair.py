"""Scores of one pair; the reference measures themselves are replaced, since not every machine has them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from rvqcodec.errors import AudioError
from rvqcodec.training.measure import pair


@pytest.fixture
def measures(monkeypatch):
    for name, value in (("visqol", 4.5), ("pesq_wideband", math.nan), ("_stoi", 0.9), ("_zimtohrli", 4.0)):
        monkeypatch.setattr(pair, name, lambda *_, value=value: value)


def written(path, wave, rate=48_000):
    soundfile.write(path, wave, rate, "FLOAT", format="WAV")
    return path


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(48_000 * seconds))).astype(np.float32)


def test_a_pair_has_all_scores(tmp_path, measures):
    wave = noise(1.5)
    one, other = written(tmp_path / "a.wav", wave), written(tmp_path / "b.wav", np.stack([0.5 * wave] * 2, 1))
    scores = pair.score_pair(one, other).as_dict()
    assert scores["pesq_wb"] is None and scores["visqol"] == 4.5 and scores["seconds"] == 1.5
    assert scores["si_sdr_db"] > 100, "the scale doesn't count"
    assert scores["mel_distance"] == pytest.approx(math.log10(2), abs=0.02)
    assert pair.score_pair(one, one).mel_distance == 0.0


def test_si_sdr_is_a_ratio_of_powers():
    wave, other = noise(1), noise(1, seed=1)
    assert pair.si_sdr(wave, wave + 0.1 * other) == pytest.approx(20, abs=0.2)
    assert math.isnan(pair.si_sdr(np.zeros(9, np.float32), wave[:9]))


@pytest.mark.parametrize(
    ("seconds", "problem"), [(0.5, "at least a second"), (3.0, "lengths differ"), (None, "no such file or folder")]
)
def test_what_is_no_pair_is_refused(tmp_path, measures, seconds, problem):
    one = written(tmp_path / "a.wav", noise(1.5))
    other = tmp_path / "b.wav" if seconds is None else written(tmp_path / "b.wav", noise(seconds))
    with pytest.raises(AudioError, match=problem):
        pair.score_pair(one, other)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(AudioError, match="this is not audio that can be read"):
        pair.score_pair(one, tmp_path / "text.wav")


def test_an_rvq_file_is_decoded_first(tmp_path, measures, monkeypatch):
    one = written(tmp_path / "a.wav", noise(1.5))
    (tmp_path / "a.rvq").write_bytes(bytes(1000))
    monkeypatch.setattr(pair, "decode_file", lambda _, target: SimpleNamespace(path=written(target, noise(1.5))))
    scores = pair.score_pair(one, tmp_path / "a.rvq")
    assert scores.mel_distance == 0.0 and scores.kbps == pytest.approx(8 / 1.5)
