"""Folders: mirrored, resumed, never half-written, and told of as a whole."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf

from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.inputs import folders_of
from rvqcodec.cli.plan import plan_decode, plan_encode
from rvqcodec.errors import AudioError, OutputError
from rvqcodec.formats.audio.mark import read_mark
from rvqcodec.formats.files import temporary_path
from tests.cli.tones import glide

ROOT = str(Path(__file__).parents[2])
FAST = ("-n", "2", "--effort", "fast")


def write(path, seconds=0.1):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, glide(seconds), 24000, "PCM_16")
    return path


@pytest.fixture
def tree(here):
    """Three short files in two folders, and one that isn't audio."""
    for name in ("in/a.wav", "in/b c.wav", "in/d/line\nbreak.wav"):
        write(here / name)
    (here / "in/notes.txt").write_text("not audio")
    return here / "in"


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def statuses(result):
    return {Path(row["input"]).name: row["status"] for row in map(json.loads, result.out.splitlines())}


def pairs(plan):
    return [(job.source, job.target) for job in plan.jobs]


def test_the_tree_is_mirrored_both_ways_whatever_the_number_of_workers(here, rvq, tree):
    result = rvq("encode", "in", "-o", "out", "-r", *FAST)
    assert result.status == 0 and "files    3 done, 0 skipped, 0 failed\n" in result.err
    assert sorted(files(here / "out")) == ["a.rvq", "b c.rvq", "d/line\nbreak.rvq"]
    assert rvq("encode", "in", "-o", "again", "-r", "-j", "2", *FAST).status == 0
    assert files(here / "again") == files(here / "out")
    assert rvq("decode", "out", "-o", "back", "-r").status == 0
    assert sorted(files(here / "back")) == ["a.wav", "b c.wav", "d/line\nbreak.wav"]


def test_names_of_outputs(here, tree):
    for name in ("x/a.wav", "y/a.wav", "y/z/c.wav"):
        write(here / name)
    (here / "y/b.ogg").touch()
    everything = folders_of(True, None, None, None)
    assert pairs(plan_encode(["x", "y"], "out", False, everything)) == [
        ("x/a.wav", "out/x/a.rvq"),
        ("y/a.wav", "out/y/a.rvq"),
        ("y/b.ogg", "out/y/b.rvq"),
        ("y/z/c.wav", "out/y/z/c.rvq"),
    ]
    assert pairs(plan_encode(["y"], None, False)) == [("y/a.wav", "y/a.rvq"), ("y/b.ogg", "y/b.rvq")]
    assert pairs(plan_encode(["x/a.wav", "y", "x/a.wav"], "o", False)) == [
        ("x/a.wav", "o/a.rvq"),
        ("y/a.wav", "o/y/a.rvq"),
        ("y/b.ogg", "o/y/b.rvq"),
    ]
    chosen = folders_of(True, "OGG, .wav", ["a.*"], None)
    assert pairs(plan_encode(["y"], "o", False, chosen)) == [("y/b.ogg", "o/b.rvq"), ("y/z/c.wav", "o/z/c.rvq")]


def test_lists_of_files(here, tree):
    (here / "list").write_bytes(b"in/a.wav\r\nin/d\n\n" + os.fsencode(here / "in/b c.wav") + b"\n")
    listed = folders_of(False, None, None, "list")
    assert [target for _, target in pairs(plan_encode([], "o", False, listed))] == [
        "o/in/a.rvq",
        "o/in/d/line\nbreak.rvq",
        "o/b c.rvq",
    ]
    (here / "list").write_bytes(b"in/d/line\nbreak.wav\0odd \xff.wav\0")
    assert [job.source for job in plan_encode([], None, False, folders_of(False, None, None, "list")).jobs] == [
        "in/d/line\nbreak.wav",
        "odd \udcff.wav",
    ]
    (here / "list").write_bytes(b"\n")
    for name in ("list", "absent"):
        with pytest.raises(AudioError):
            folders_of(False, None, None, name)


def test_what_is_refused_before_anything_runs(here, tree):
    write(here / "in/a.flac")
    with pytest.raises(OutputError, match=r"in/a\.flac and in/a\.wav"):
        plan_encode(["in"], "out", False)
    with pytest.raises(AudioError, match=r"in holds no \.rvq files"):
        plan_decode(["in"], "out", False)
    with pytest.raises(UsageError, match="both folders"):
        plan_decode(["in", "in"], None, False)
    with pytest.raises(UsageError):
        folders_of(False, "wav,,flac", None, None)


def test_resume_redoes_what_is_missing_broken_or_different(here, rvq, tree):
    assert rvq("encode", "in", "-o", "out", "-r", *FAST).status == 0
    whole = files(here / "out")
    (here / "out/a.rvq").write_bytes(whole["a.rvq"][:-9])
    temporary_path(here / "out/b c.rvq").write_bytes(b"of a killed run")
    again = rvq("encode", "in", "-o", "out", "-r", *FAST, "--resume", "--json")
    assert statuses(again) == {"a.wav": "done", "b c.wav": "skipped", "line\nbreak.wav": "skipped"}
    assert files(here / "out") == whole
    for changed in (("-n", "3"), ("--entropy", "raw"), ("--chunk", "7"), ("--effort", "default")):
        result = rvq("encode", "in", "-o", "out", *FAST, *changed, "--resume", "--json")
        assert set(statuses(result).values()) == {"done"}, changed
    write(here / "in/a.wav", 0.2)
    result = rvq("encode", "in", "-o", "out", *FAST, "--effort", "default", "--resume", "--json")
    assert statuses(result) == {"a.wav": "done", "b c.wav": "skipped"}


def test_resume_replaces_only_what_is_ours(here, rvq, tree):
    (here / "out").mkdir()
    (here / "out/a.rvq").write_text("a diary")
    result = rvq("encode", "in", "-o", "out", *FAST, "--resume")
    assert result.status == 3 and "not written by rvq" in result.err
    assert (here / "out/a.rvq").read_text() == "a diary"
    assert rvq("encode", "in", "-o", "out", *FAST, "--resume", "-f").status == 0


def test_decoded_files_are_resumed_by_their_mark(here, rvq, tree):
    assert rvq("encode", "in", "-o", "out", *FAST).status == 0
    assert rvq("decode", "out", "-o", "back").status == 0
    whole = files(here / "back")
    with (here / "back/a.wav").open("rb") as file:
        assert read_mark(file) is not None
    assert sf.info(here / "back/a.wav").frames == 2400
    damaged = bytearray(whole["a.wav"])
    damaged[100] ^= 1
    (here / "back/a.wav").write_bytes(damaged)
    again = rvq("decode", "out", "-o", "back", "--resume", "--json")
    assert statuses(again) == {"a.rvq": "done", "b c.rvq": "skipped"} and files(here / "back") == whole
    assert set(statuses(rvq("decode", "out", "-o", "back", "--resume", "--json", "--bits", "24")).values()) == {"done"}
    write(here / "back/a.wav")
    assert rvq("decode", "out", "-o", "back", "--resume").status == 3
    assert rvq("decode", "out", "-o", "back", "--resume", "-f", "--rm").status == 0 and not files(here / "out")


def test_failures_are_reported_and_the_rest_goes_on(here, rvq, tree):
    (here / "in/broken.wav").write_bytes(b"RIFF nonsense")
    (here / "in/empty.wav").write_bytes(b"")
    (here / "in/gone.wav").symlink_to("nowhere")
    (here / "in/text.mp3").write_text("not audio")
    result = rvq("encode", "in", "-o", "out", *FAST, "--report", "r.json")
    assert result.status == 3 and "files    2 done, 0 skipped, 4 failed\n" in result.err
    assert "4 of 6 files failed" in result.err and "the file is empty" in result.err
    assert sorted(files(here / "out")) == ["a.rvq", "b c.rvq"]
    report = json.loads((here / "r.json").read_text())
    assert report["totals"]["failed"] == 4 and sum(report["totals"]["reasons"].values()) == 4
    assert {row["input"] for row in report["files"] if row["status"] == "failed"} == {
        f"in/{name}" for name in ("broken.wav", "empty.wav", "gone.wav", "text.mp3")
    }
    assert rvq("encode", "in", "-o", "out", *FAST, "--resume", "--report", "r.csv", "-qq").status == 3
    rows = list(csv.DictReader((here / "r.csv").read_text().splitlines()))
    assert sorted(row["status"] for row in rows) == ["failed"] * 4 + ["skipped"] * 2
    first = rvq("encode", "in", "-o", "fresh", *FAST, "--fail-fast")
    assert first.status == 3 and "3 not begun" in first.err and sorted(files(here / "fresh")) == ["a.rvq", "b c.rvq"]


def test_outputs_that_cannot_be_written(here, rvq, tree):
    (here / "file").write_text("no folder")
    result = rvq("encode", "in", "-o", "file", "-r", *FAST)
    assert result.status == 3 and "3 of 3 files failed" in result.err
    write(here / "in/a.wav", 9.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    try:
        result = rvq("encode", "in", "-o", "out", *FAST, "-qq")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.status == 3 and "out/a.rvq: the output cannot be written: file too large" in result.err
    assert sorted(files(here / "out")) == ["b c.rvq"]


def test_a_report_is_a_table_or_json_and_replaces_nothing(here, rvq, tree):
    (here / "r.csv").write_text("mine")
    assert rvq("encode", "in", "-o", "out", "--report", "r.csv").status == 7
    assert rvq("encode", "in", "-o", "out", "--report", "r.txt").status == 2
    assert not (here / "out").exists() and (here / "r.csv").read_text() == "mine"


def test_its_own_outputs_are_no_inputs(here, rvq, tree):
    assert rvq("encode", "in", *FAST).status == 0
    assert rvq("decode", "in", "-o", "in/back").status == 0
    result = rvq("encode", "in", "-o", "in/back", "-r", *FAST, "--json")
    assert set(statuses(result)) == {"a.wav", "b c.wav", "line\nbreak.wav"} and result.status == 0


@pytest.fixture
def long_run(here):
    """Start `rvq encode` of six files of 40 s in two workers; yield the process and their folder."""
    first = write(here / "in/0.wav", 40.0)
    for i in range(1, 6):
        (here / f"in/{i}.wav").symlink_to(first)
    command = [sys.executable, "-m", "rvqcodec", "encode", "in", "-o", "out", "-j", "2", "-n", "2", "-q"]
    command += ["--report", "r.json"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        cwd=here,
        env=dict(os.environ, PYTHONPATH=ROOT),
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background shell hands down that it's ignored
    )
    try:
        deadline = time.monotonic() + 60
        while not any(path.name.endswith(".tmp") for path in (here / "out").glob(".*")):
            assert process.poll() is None and time.monotonic() < deadline, "no file was begun"
            time.sleep(0.01)
        yield process, here / "out"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "times", "status"), [("SIGINT", 1, 130), ("SIGINT", 2, 130), ("SIGTERM", 1, 143)])
def test_an_interrupted_run_leaves_only_whole_files(long_run, rvq, number, times, status):
    process, out = long_run
    for _ in range(times):
        process.send_signal(getattr(signal, number))
        time.sleep(0.05)
    _, err = process.communicate(timeout=30)
    assert process.returncode == status and b"Traceback" not in err, err
    left = sorted(out.iterdir())
    report = json.loads((out.parent / "r.json").read_text())
    assert report["totals"]["interrupted"] and report["totals"]["done"] <= len(left)
    assert all(path.suffix == ".rvq" for path in left) and len(left) < 6
    assert not left or rvq("verify", *left).status == 0


def test_a_killed_parent_takes_its_workers_along(long_run):
    process, out = long_run
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(path.name.endswith(".tmp") for path in out.iterdir()):
        assert time.monotonic() < deadline, "a worker goes on"
        time.sleep(0.05)
