"""What goes wrong on the way through a folder costs the file that it concerns, and a killed run is finished by the next."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf
from test_cli_folders import FAST, ROOT, files, statuses, write

ENVIRONMENT = {**os.environ, "PYTHONPATH": ROOT}


def test_every_odd_name_goes_there_and_back(here, rvq):
    names = [b"with space", b"line\nbreak", b"caf\xe9 \xff", b"x" * 251, b"-n", b"[red]", b"deep/" * 64 + b"end"]
    sound = write(here / "sound.wav").read_bytes()
    for name in names:
        path = Path(os.fsdecode(b"in/" + name + b".wav"))
        if len(path.name.encode("utf-8", "surrogateescape")) <= 255:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sound)  # libsndfile's wrapper can't name all of them
    (here / "in/loop").symlink_to(here / "in")
    (here / "in/self").symlink_to("self")
    coded = rvq("encode", "in", "-o", "out", "-r", "-j", "2", "--json", "--report", "r.csv", *FAST)
    assert coded.status == 0 and len(coded.out.splitlines()) == len(names) == len(files(here / "out"))
    assert all(json.loads(line)["status"] == "done" for line in coded.out.splitlines())
    assert os.fsencode("caf\udce9") in (here / "r.csv").read_bytes()
    back = rvq("decode", "out", "-o", "back", "-r", "-j", "1")
    assert back.status == 0 and f"{len(names)} done" in back.err
    assert sorted(files(here / "back")) == sorted(files(here / "in").keys() & files(here / "back").keys())
    assert rvq("verify", "out", "-r", "--deep").status == 0
    assert rvq("verify", "out").out.count(b": ok") == len(names) - 1


def test_each_fault_costs_one_file(here, rvq):
    write(here / "in/good.wav")
    for name, data in {"zero.wav": b"", "text.wav": b"not audio at all", "half.flac": b"fLaC\0\0"}.items():
        (here / "in" / name).write_bytes(data)
    (here / "in/dangling.wav").symlink_to("nowhere")
    write(here / "in/wrong.wav").rename(here / "in/wrong.flac")
    result = rvq("encode", "in", "in/good.wav", "-o", "out", "--json", *FAST)
    found = statuses(result)
    assert result.status == 3 and found.pop("good.wav") == "done" and found.pop("wrong.flac") == "done"
    assert set(found.values()) == {"failed"} and len(found) == 4
    (here / "out/in/torn.rvq").write_bytes((here / "out/in/wrong.rvq").read_bytes()[:-9])
    checked = rvq("verify", "out", "-r", "--json")
    assert checked.status == 3 and statuses_of_files(checked)["torn.rvq"] == "failed"
    assert rvq("verify", "in").status == 4


def statuses_of_files(result):
    return {Path(row["file"]).name: row["status"] for row in map(json.loads, result.out.splitlines())}


def test_a_file_that_vanishes_meanwhile(here, rvq):
    for i in range(4):
        write(here / f"in/{i}.wav", 20.0 if i == 0 else 0.2)
    process = start("encode", "in", "-o", "out", "-j", "1", "-n", "2", "--json")
    while not list((here / "out").glob(".*")) and process.poll() is None:
        time.sleep(0.01)
    (here / "in/3.wav").unlink()
    out, err = process.communicate(timeout=60)
    found = {Path(row["input"]).name: row for row in map(json.loads, out.splitlines())}
    assert process.returncode == 3 and found["3.wav"]["status"] == "failed", err
    assert found["3.wav"]["error"] == "no such file or folder"
    assert sorted(files(here / "out")) == ["0.rvq", "1.rvq", "2.rvq"]


def test_a_full_disk_costs_what_does_not_fit(here, rvq):
    """The kernel refuses writes past a file's size limit as it does on a full disk, to root too."""
    write(here / "in/short.wav", 0.2)
    write(here / "in/long.wav", 30.0)
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "-", sys.executable, "-m", "rvqcodec"]
    words = [*limited, "encode", "in", "-o", "out", "-j", "1", "-q", "-n", "24", "--effort", "fast"]
    coded = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert coded.returncode == 3 and "the output cannot be written: file too large" in coded.stderr
    assert sorted(files(here / "out")) == ["short.rvq"]
    assert rvq("encode", "in/long.wav", "long.rvq", *FAST).status == 0
    words = [*limited, "decode", "long.rvq", "out/short.rvq", "-o", "back/", "-j", "1", "-q"]
    back = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert back.returncode == 3 and "the output cannot be written" in back.stderr
    assert sorted(files(here / "back")) in (["short.wav"], [])


def start(*args):
    words = [sys.executable, "-m", "rvqcodec", *map(str, args)]
    return subprocess.Popen(
        words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_killed_at_any_moment_and_resumed_ends_as_one_run(here, rvq, command):
    for i in range(8):
        write(here / f"in/d{i % 3}/{i}.wav", 2.0 + i)
    assert rvq("encode", "in", "-o", "whole", "-r", *FAST).status == 0
    source, options, expected = "in", FAST, "whole"
    if command == "decode":
        assert rvq("decode", "whole", "-o", "sound", "-r").status == 0
        source, options, expected = "whole", (), "sound"
    chance = random.Random(1)
    for _ in range(3):
        process = start(command, source, "-o", "out", "-r", "-j", "2", "-q", "--resume", *options)
        n_before = len(list((here / "out").rglob("*.*")))
        deadline = time.monotonic() + 30
        while (
            len(list((here / "out").rglob("*.*"))) <= n_before
            and time.monotonic() < deadline
            and process.poll() is None
        ):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    last = rvq(command, source, "-o", "out", "-r", "-j", "2", "--resume", *options)
    assert last.status == 0 and files(here / "out") == files(here / expected), last.err
    assert sf.info(next((here / "in").rglob("*.wav"))).frames
