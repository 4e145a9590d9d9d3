"""A real Ray cluster of two nodes on this machine: shared out, workers and a node lost, failures told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf

from tests.cli.tones import glide

pytest.importorskip("ray", reason="Ray is not installed: pip install 'rvqcodec[test]'")
pytestmark = pytest.mark.filterwarnings("ignore")
HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_health_check_period_ms": "500"}
ENVIRONMENT = {**os.environ, **QUIET, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
FAST = ("-n", "2", "--effort", "fast", "--no-progress")


class Cluster:
    """The process that keeps the cluster."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "ray_cluster.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=(folder / "cluster.log").open("w"), text=True, env=ENVIRONMENT, start_new_session=True,
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()
        assert self.address, (folder / "cluster.log").read_text()

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "done"

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        finally:
            self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    found = Cluster(tmp_path_factory.mktemp("ray"))
    yield found
    found.stop()


def workers():
    """Return the process ids of our actors."""
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::RvqWorker"):
                pids.append(int(entry.name))
        except OSError:
            continue
    return pids


def start(*args):
    words = [sys.executable, "-m", "rvqcodec", *map(str, args)]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def audio(folder, count, seconds):
    folder.mkdir()
    for i in range(count):
        sf.write(folder / f"{i:02}.wav", glide(seconds + i / 10), 24000, "PCM_16")
    return folder


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_bytes_are_those_of_one_machine_and_failures_are_told(cluster, tmp_path):
    source = audio(tmp_path / "in", 6, 0.2)
    (source / "broken.wav").write_bytes(b"not audio")
    on_ray = ("--engine", "ray", "--ray-address", cluster.address)
    status, out, err = finish(
        start("encode", source, "-o", tmp_path / "far", *on_ray, "--report", tmp_path / "r.json", *FAST)
    )
    assert status == 3 and not out and "1 of 7 files failed" in err and "INFO" not in err, err
    assert finish(start("encode", source, "-o", tmp_path / "near", "-j", "1", *FAST))[0] == 3
    assert files(tmp_path / "far") == files(tmp_path / "near") and len(files(tmp_path / "far")) == 6
    assert json.loads((tmp_path / "r.json").read_text())["totals"]["failed"] == 1
    status, _, err = finish(start("decode", tmp_path / "far", "-o", tmp_path / "back", *on_ray))
    assert status == 0 and len(files(tmp_path / "back")) == 6, err
    assert not workers()


@pytest.mark.parametrize("loss", ["worker", "node"])
def test_what_is_lost_in_the_middle_is_done_elsewhere(cluster, tmp_path, loss):
    source = audio(tmp_path / "in", 40, 1.0)
    begun = time.monotonic()
    process = start(
        "encode", source, "-o", tmp_path / "out", "--engine", "ray", "--ray-address", cluster.address, *FAST
    )
    try:
        while len(list(tmp_path.glob("out/*.rvq"))) < 5 and process.poll() is None:
            time.sleep(0.02)
        if loss == "worker":
            os.kill(workers()[0], signal.SIGKILL)
        else:
            cluster.say("remove")
        left = 40 - len(list(tmp_path.glob("out/*.rvq")))
    finally:
        status, _, err = finish(process)
        if loss == "node":
            cluster.say("add")
    assert status == 0 and "40 done, 0 skipped, 0 failed" in err, err
    assert left > 10 and sorted(files(tmp_path / "out")) == [f"{i:02}.rvq" for i in range(40)]
    print(f"{loss} lost with {left} of 40 files to go: all done after {time.monotonic() - begun:.1f} s\n{err}")
    assert finish(start("encode", source, "-o", tmp_path / "near", "-j", "1", *FAST))[0] == 0
    assert files(tmp_path / "out") == files(tmp_path / "near")


FATES = """
import json, sys
from pathlib import Path
from tests.batch.fakes import Ear, FakeWork, make_jobs
from rvqcodec.batch.engines import Ray
ear = Ear(stop_at=sys.argv[3])
Ray(2, sys.argv[1]).run(make_jobs(Path(sys.argv[2]), *sys.argv[4:]), FakeWork(), ear)
print(json.dumps({name: type(outcome).__name__ + ": " + str(outcome)[:60] for name, outcome in ear.outcomes.items()}))
"""


def fates(cluster, folder, stop_at, *names):
    """Run made-up jobs on the cluster, in a process of its own, and return what came of each."""
    words = [sys.executable, "-c", FATES, cluster.address, str(folder), stop_at, *names]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_job_that_kills_its_workers_fails_alone(cluster, tmp_path):
    found = fates(cluster, tmp_path, "", "a", "deadly", "b", "missing", "fatal", "c")
    assert {name for name, fate in found.items() if fate.startswith("Done")} == {"a", "b", "c", "fatal"}
    assert found["deadly"].startswith("DeviceError: its worker was lost 2 times")
    assert found["missing"] == "AudioError: no such file"
    assert sorted(path.name for path in tmp_path.glob("*.out")) == ["a.out", "b.out", "c.out", "fatal.out"]
    assert not list(tmp_path.glob(".*"))


def test_the_first_failure_can_end_the_run(cluster, tmp_path):
    assert len(fates(cluster, tmp_path, "missing", "missing", *map(str, range(40)))) < 20


def test_no_cluster_is_told_at_once(tmp_path):
    source = audio(tmp_path / "in", 1, 0.1)
    begun = time.monotonic()
    status, _, err = finish(start("encode", source, "-o", tmp_path, "--engine", "ray", "--ray-address", "127.0.0.1:1"))
    assert status == 8 and "no Ray cluster at 127.0.0.1:1" in err and time.monotonic() - begun < 30
    assert finish(start("encode", source, "--ray-address", "127.0.0.1:1"))[0] == 2
    assert finish(start("encode", "-", "-", "--engine", "ray"))[0] == 2
