"""info, verify, trim and recover, on made-up files that need no model."""

from __future__ import annotations

import json

import pytest

from rvqcodec.cli.verbs import _effort

INFO = """\
file      a.rvq
format    rvq 1.0
model     tiny (0123456789abcdef)
duration  0:07.5 (7500 samples)
source    1000 Hz, stereo, rotated
layers    4, codebook size 16, 50 frames/s
bitrate   1.60 kbps nominal, {kbps:.2f} kbps on disk
size      {size} KB ({n_bytes} bytes)
entropy   raw
chunks    4 chunks of 2 s
tag name  Ünder\\nline
"""


def records(result):
    return [json.loads(line) for line in result.out.splitlines()]


def test_info_for_people(rvq, stored):
    n_bytes = stored(tags={"name": "Ünder\nline"}).stat().st_size
    result = rvq("info", "a.rvq")
    expected = INFO.format(kbps=n_bytes * 8 / 7500, size=f"{n_bytes / 1000:.3g}", n_bytes=n_bytes)
    assert (result.out.decode(), result.err, result.status) == (expected, "", 0)


def test_info_as_json(rvq, stored):
    path = stored()
    about, again = records(rvq("info", path, path, "--json"))
    assert about == again
    wanted = "file format_version model fingerprint sample_rate channels n_samples duration_s n_layers nominal_kbps"
    assert set(f"{wanted} actual_kbps size_bytes entropy n_chunks chunk_s tags".split()) <= set(about)
    assert (about["n_layers"], about["n_samples"], about["entropy"]) == (4, 7500, ["raw"])
    assert about["file"] == str(path) and about["size_bytes"] == path.stat().st_size


def test_verify(rvq, stored):
    stored()
    assert rvq("verify", "a.rvq").out == b"a.rvq: ok  0:07.5  4 layers\n"
    (deep,) = records(rvq("verify", "a.rvq", "--deep", "--json"))
    assert deep["status"] == "done" and len(deep["codes_sha256"]) == 64
    assert rvq("verify", "-", stdin=stored("b.rvq").read_bytes()).out == b"stdin: ok  0:07.5  4 layers\n"
    assert rvq("verify", "a.rvq", "-qq").out == b""


def test_one_damaged_file_is_5_and_one_of_several_3(rvq, stored):
    data = stored().read_bytes()
    broken = stored("b.rvq")
    broken.write_bytes(data[:-1])
    assert rvq("verify", "b.rvq").status == 5
    several = rvq("verify", "b.rvq", "a.rvq")
    assert several.status == 3 and several.out == b"a.rvq: ok  0:07.5  4 layers\n"
    assert several.err.startswith("rvq: b.rvq: ") and several.err.endswith("1 of 2 files failed\n")
    failed, done = records(rvq("verify", "b.rvq", "a.rvq", "--json"))
    assert (failed["status"], failed["exit_status"], done["status"]) == ("failed", 5, "done")


def test_trim(here, rvq, stored):
    stored()
    result = rvq("trim", "a.rvq", "-n", "2", "-o", "b.rvq", "--json")
    (done,) = records(result)
    assert done["n_layers"] == 2 and done["size_bytes"] == (here / "b.rvq").stat().st_size and result.err == ""
    piped = rvq("trim", "-", "-n", "2", "-", stdin=(here / "a.rvq").read_bytes())
    assert piped.out == (here / "b.rvq").read_bytes() and piped.err.startswith("stdin -> stdout  0:07.5  2 layers  0.8")
    assert rvq("trim", "a.rvq", "-n", "1", "-o", "b.rvq").status == 7
    assert rvq("trim", "a.rvq", "-n", "1", "-o", "b.rvq", "-f", "-qq").err == ""
    assert rvq("trim", "a.rvq", "-n", "1", "-o", "a.rvq", "-f").status == 7
    more = rvq("trim", "a.rvq", "-n", "40", "-o", "more.rvq")
    assert more.status == 0 and "rvq: a.rvq: the file has only 4 layers: none was dropped\n" in more.err


@pytest.mark.parametrize("command", [("trim", "-n", "1"), ("transcode",), ("recover",)])
def test_a_second_name_is_never_overwritten(here, rvq, stored, command):
    kept = stored("b.rvq").read_bytes()
    stored("a.rvq")
    result = rvq(*command, "a.rvq", "b.rvq", "-f")
    assert result.status == 2 and "-o" in result.err and (here / "b.rvq").read_bytes() == kept


def test_info_names_the_effort():
    assert (_effort(1), _effort(4), _effort(7)) == ("effort fast", "effort default", "beam width 7")


def test_recover_tells_what_was_lost(here, rvq, stored):
    path = stored()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size * 6 // 10])
    result = rvq("recover", "a.rvq", "-o", "b.rvq")
    assert result.status == 0 and "the end is missing: the audio now ends at" in result.err
    assert rvq("verify", "b.rvq").status == 0
    (record,) = records(rvq("recover", "a.rvq", "-o", "c.rvq", "--json"))
    assert record["end_known"] is False and record["n_chunks"] >= 2
    assert (here / "c.rvq").read_bytes() == (here / "b.rvq").read_bytes()


def test_recover_of_a_whole_file_loses_nothing(rvq, stored):
    stored()
    assert rvq("recover", "a.rvq", "-o", "b.rvq").err.endswith("nothing was lost\n")


def test_a_flipped_bit_costs_layers(here, rvq, stored):
    path = stored()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)
    (record,) = records(rvq("recover", "a.rvq", "-o", "b.rvq", "--json"))
    assert len(record["losses"]) == 1 and record["losses"][0]["n_layers"] < 4
    assert rvq("verify", "b.rvq", "--deep").status == 0


def test_models(rvq):
    (model,) = (model for model in records(rvq("models", "list", "--json")) if model["default"])
    assert (model["min_kbps"], model["max_kbps"]) == (0.5, 11.8)
    assert f"*  {model['name']}".encode() in rvq("models", "list").out
    (shown,) = records(rvq("models", "show", model["name"], "--json"))
    assert shown["config"]["n_codebooks"] == 22
    assert model["fingerprint"].encode() in rvq("models", "show", model["name"]).out


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_name_that_is_not_utf8(here, rvq, stored, command):
    stored("odd\udcff\n.rvq")
    result = rvq(command, "odd\udcff\n.rvq")
    assert result.status == 0 and b"odd\\xff\\n.rvq" in result.out
    assert rvq(command, "--json", "odd\udcff\n.rvq").status == 0
