"""encode and decode with the shipped model, through the command line."""

from __future__ import annotations

import json
import re

import pytest
import soundfile as sf

from rvqcodec.batch import coding, engines
from rvqcodec.batch.engines import Gpu
from tests.cli.tones import glide

LINE = re.compile(
    r"a\.wav -> a\.rvq  0:01\.2  3 layers  3\.0 kbps nominal, \d+\.\d kbps on disk  [\d.]+ K?B  [\d.e+]+ x real time\n"
)


@pytest.fixture
def coded(rvq, wav):
    """a.rvq beside a.wav, with 3 layers."""
    result = rvq("encode", "a.wav", "-n", "3")
    assert result.status == 0 and LINE.fullmatch(result.err) and result.out == b""
    return wav.with_suffix(".rvq")


def test_there_and_back(here, rvq, coded):
    assert rvq("decode", "a.rvq").status == 7
    assert rvq("decode", "a.rvq", "b.flac", "-qq").err == ""
    assert (sf.info("b.flac").frames, sf.info("b.flac").samplerate, sf.info("b.flac").channels) == (28800, 24000, 2)
    assert sorted(path.name for path in here.iterdir()) == ["a.rvq", "a.wav", "b.flac"]


def test_pipes_give_the_same_bytes(here, rvq, coded):
    assert rvq("encode", "-", "-", "-n", "3", stdin=(here / "a.wav").read_bytes()).out == coded.read_bytes()
    piped = rvq("decode", "-", "-", stdin=coded.read_bytes())
    (here / "p.wav").write_bytes(piped.out)
    assert piped.status == 0 and rvq("decode", "a.rvq", "b.wav").status == 0
    assert (sf.read("p.wav")[0] == sf.read("b.wav")[0]).all()


def test_json_lines(here, rvq, wav):
    result = rvq("encode", "a.wav", "absent.wav", "-b", "4", "-o", "out", "--json")
    done, failed = map(json.loads, result.out.splitlines())
    assert result.status == 3 and result.err.startswith("rvq: absent.wav: no such file or folder\n")
    assert (done["input"], done["output"], done["status"], done["error"]) == ("a.wav", "out/a.rvq", "done", None)
    assert (done["n_layers"], done["nominal_kbps"], done["duration_s"]) == (4, 4.0, 1.2)
    assert done["size_bytes"] == (here / "out/a.rvq").stat().st_size and done["x_real_time"] > 0
    assert (
        failed["status"] == "failed"
        and failed["error"] == "no such file or folder"
        and set(failed) >= set(done) - {"n_samples", "sample_rate", "channels", "n_clipped"}
    )


def test_the_bitrate_is_of_all_channels_also_from_a_pipe(here, rvq, wav):
    piped = rvq("encode", "-", "b.rvq", "--bitrate", "3.1", "--json", stdin=wav.read_bytes())
    assert json.loads(piped.out)["n_layers"] == 3


def test_windows_rates_and_formats(rvq, coded):
    result = rvq(
        "decode", "a.rvq", "b.wav", "--start", "0:00.5", "--duration", "4800s", "--rate", "16000", "--bits", "24"
    )
    assert result.status == 0, result.err
    about = sf.info("b.wav")
    assert (about.frames, about.samplerate, about.subtype) == (3200, 16000, "PCM_24")
    assert rvq("decode", "a.rvq", "c.wav", "--start", "2").status == 2


def test_removal_after_the_check(here, rvq, coded):
    (here / "a.wav").unlink()
    assert rvq("decode", "a.rvq", "--rm").status == 0
    assert not coded.exists()
    assert rvq("encode", "a.wav", "-n", "2", "--rm").status == 0
    assert sorted(path.name for path in here.iterdir()) == ["a.rvq"]


@pytest.mark.parametrize("replaced", [True, False])
def test_an_input_that_changes_meanwhile_is_not_removed(here, rvq, coded, monkeypatch, replaced):
    (here / "a.wav").unlink()
    decode = coding.decode

    def meanwhile(*arguments):
        done = decode(*arguments)
        place = here / "new" if replaced else coded
        place.write_bytes(b"newer")
        place.replace(coded)
        return done

    monkeypatch.setattr(coding, "decode", meanwhile)
    result = rvq("decode", "a.rvq", "--rm")
    assert result.status == 7 and "changed while it was read" in result.err
    assert coded.read_bytes() == b"newer" and (here / "a.wav").exists()


def test_a_failure_leaves_nothing(here, rvq, coded):
    coded.write_bytes(coded.read_bytes()[:-1])
    assert rvq("decode", "a.rvq", "b.wav").status == 5
    data = glide(1.0)
    data[777] = float("nan")
    sf.write(here / "nan.wav", data, 24000, "FLOAT")
    result = rvq("encode", "nan.wav")
    assert result.status == 4 and "777" in result.err
    assert sorted(path.name for path in here.iterdir()) == ["a.rvq", "a.wav", "nan.wav"]


def test_a_gpu_gets_files_side_by_side_and_pipes_one_by_one(here, rvq, wav, monkeypatch):
    taken = []

    class Noted(Gpu):
        def run(self, jobs, work, listener):
            taken.append((len(jobs), self.n_files))
            super().run(jobs, work, listener)

    monkeypatch.setattr(engines, "is_gpu", lambda device: device == "cpu")
    monkeypatch.setattr(engines, "Gpu", Noted)
    fast = ("-n", "1", "--effort", "fast", "--device", "cpu")
    (here / "b.wav").write_bytes(wav.read_bytes())
    assert rvq("encode", "a.wav", *fast).status == 0 and taken == [(1, 0)]
    assert rvq("encode", "a.wav", "b.wav", "-f", "-j", "1", *fast).status == 0 and taken[1:] == [(2, 1)]
    piped = rvq("encode", "-", "-", *fast, stdin=wav.read_bytes())
    assert piped.status == 0 and len(taken) == 2 and piped.out.startswith((here / "a.rvq").read_bytes()[:4])
    assert rvq("encode", "absent.wav", *fast).status == 4 and rvq("encode", "a.wav", *fast).status == 7
