"""Inputs and outputs on what fsspec opens: memory, local URLs, and a real S3 server on this machine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile as sf

from rvqcodec.batch.job import Done, Job
from rvqcodec.batch.names import is_url, join, localized, parent, stem
from rvqcodec.batch.remote import Handling, run_staged
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.inputs import Folders
from rvqcodec.cli.plan import plan_decode, plan_encode
from rvqcodec.errors import AudioError, OutputError
from tests.cli.tones import glide

fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'rvqcodec[test]'")
ROOT = str(Path(__file__).parents[2])
FAST = ("-n", "2", "--effort", "fast", "--no-progress")


def wave_bytes(seconds=0.1):
    file = io.BytesIO()
    sf.write(file, glide(seconds), 24000, "PCM_16", format="WAV")
    return file.getvalue()


@pytest.fixture
def memory():
    """An empty file system in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def pairs(plan):
    return [(job.source, job.target) for job in plan.jobs]


def test_names_of_both_kinds():
    assert is_url("s3://bucket/a.wav") and not is_url("a://".replace("://", ":")) and not is_url("/a/b://c")
    assert join("s3://bucket/in", "d/a.wav") == "s3://bucket/in/d/a.wav" and join("in", "d/a.wav") == "in/d/a.wav"
    assert parent("s3://bucket/in/a.wav") == "s3://bucket/in" and stem("s3://bucket/in/a.b.wav") == "a.b"
    assert localized("file:///tmp/a%20b.wav") == "/tmp/a b.wav" and localized("s3://a/b%20c") == "s3://a/b%20c"


def test_remote_folders_are_walked_and_mirrored(memory, tmp_path):
    for name in ("in/a.wav", "in/d/b.wav", "in/d/old/c.wav", "in/notes.txt", "in/out/e.wav"):
        memory.pipe_file("/" + name, b"x" * 7)
    folders = Folders(recursive=True, exclude=("old",))
    plan = plan_encode(["memory://in"], "memory://in/out", False, folders)
    assert pairs(plan) == [
        ("memory://in/a.wav", "memory://in/out/a.rvq"),
        ("memory://in/d/b.wav", "memory://in/out/d/b.rvq"),
    ]
    assert [job.n_bytes for job in plan.jobs] == [7, 7]
    here = plan_encode(["memory://in"], str(tmp_path), False)
    assert pairs(here) == [("memory://in/a.wav", str(tmp_path / "a.rvq"))]
    assert pairs(plan_decode(["memory://in/x.rvq"], None, False)) == [("memory://in/x.rvq", "memory://in/x.wav")]


def test_collisions_and_unknown_urls_are_refused(memory):
    memory.pipe_file("/in/a.wav", b"x")
    memory.pipe_file("/in/a.flac", b"x")
    with pytest.raises(OutputError, match="would both become memory"):
        plan_encode(["memory://in"], "memory://out/", False)
    with pytest.raises(AudioError, match="unknown URL scheme nosuch"):
        plan_encode(["nosuch://in/a.wav"], None, False)
    with pytest.raises(UsageError, match="not installed"):
        plan_encode(["gs://in/a.wav"], None, False)


def test_there_and_back_in_memory(memory, rvq, tmp_path):
    for name in ("a.wav", "d/b c.wav"):
        memory.pipe_file("/in/" + name, wave_bytes())
    assert rvq("encode", "memory://in", "-o", "memory://coded", "-r", "-j", "1", *FAST).status == 0
    local = tmp_path / "a.wav"
    local.write_bytes(wave_bytes())
    assert rvq("encode", local, *FAST).status == 0
    assert memory.cat_file("/coded/a.rvq") == (tmp_path / "a.rvq").read_bytes()
    again = rvq("encode", "memory://in", "-o", "memory://coded", "-r", "-j", "1", *FAST)
    assert again.status == 3 and again.err.count(".rvq: the output exists already") == 2
    resumed = rvq("encode", "memory://in", "-o", "memory://coded", "-r", "-j", "1", "--resume", *FAST)
    assert resumed.status == 0 and "0 done, 2 skipped" in resumed.err
    back = rvq("decode", "memory://coded", "-o", tmp_path / "back", "-r", "-j", "1", "--rm", "--no-progress")
    assert back.status == 0 and memory.find("/coded") == []
    assert sf.info(tmp_path / "back/d/b c.wav").frames == 2400
    url = (tmp_path / "back/a.wav").as_uri()
    assert rvq("encode", url, "-o", "memory://coded/", "--rm", *FAST).status == 0
    assert not (tmp_path / "back/a.wav").exists() and memory.exists("/coded/a.rvq")


def test_what_fails_leaves_nothing_and_names_the_place(memory, rvq):
    memory.pipe_file("/in/a.wav", b"not audio")
    assert rvq("encode", "memory://in/a.wav", "memory://out/a.rvq", *FAST).status == 4
    missing = rvq("encode", "memory://in/none.wav", "memory://out/none.rvq", *FAST)
    assert missing.status == 4 and "memory://in/none.wav: the input cannot be fetched: no such file" in missing.err
    memory.pipe_file("/out/a.rvq", b"somebody's")
    memory.pipe_file("/in/a.wav", wave_bytes())
    foreign = rvq("encode", "memory://in/a.wav", "memory://out/a.rvq", "--resume", *FAST)
    assert foreign.status == 7 and memory.cat_file("/out/a.rvq") == b"somebody's"
    assert memory.find("/out") == ["/out/a.rvq"]
    assert rvq("verify", "memory://out/a.rvq").status == 5


class Failing(type(fsspec.filesystem("memory"))):
    """Memory that breaks when a file is renamed."""

    protocol = "failing"

    def mv(self, *args, **kwargs):
        raise TimeoutError("the line is dead")


def test_a_failing_upload_takes_its_temporary_file_along(memory, tmp_path):
    fsspec.register_implementation("failing", Failing, clobber=True)
    (tmp_path / "a.wav").write_bytes(wave_bytes())

    def run(local):
        Path(local.target).write_bytes(b"made")
        return Done(result=None, seconds=0, n_bytes_in=0, n_bytes_out=4)

    job = Job(source=str(tmp_path / "a.wav"), target="failing://out/a.rvq")
    with pytest.raises(OutputError, match="the line is dead"):
        run_staged(job, Handling(overwrite=False, resume=False, remove=True), run)
    assert memory.find("/") == [] and (tmp_path / "a.wav").exists()


@pytest.fixture(scope="module")
def s3():
    """A client of a real S3 server, and the environment that leads to it."""
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed").ThreadedMotoServer(port=0)
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}", "PYTHONPATH": ROOT}
    import boto3

    client = boto3.client(
        "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="key", aws_secret_access_key="secret",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket="store")
    yield client, environment
    server.stop()


def command(environment, *args):
    words = [sys.executable, "-m", "rvqcodec", *map(str, args)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)


def keys_of(client, prefix):
    found = client.list_objects_v2(Bucket="store", Prefix=prefix).get("Contents", [])
    return {item["Key"]: client.get_object(Bucket="store", Key=item["Key"])["Body"].read() for item in found}


@pytest.mark.filterwarnings("ignore")
def test_folders_on_s3_killed_and_resumed(s3, tmp_path):
    client, environment = s3
    for i in range(6):
        client.put_object(Bucket="store", Key=f"in/d{i % 2}/{i}.wav", Body=wave_bytes(0.1 + i / 10))
    arguments = ("encode", "s3://store/in", "-r", "-j", "2", *FAST)
    whole = command(environment, *arguments, "-o", "s3://store/whole")
    assert whole.returncode == 0, whole.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "rvqcodec", *arguments, "-o", "s3://store/killed"], env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not keys_of(client, "killed/") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resumed = command(environment, *arguments, "-o", "s3://store/killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    made, expected = keys_of(client, "killed/"), keys_of(client, "whole/")
    assert {key[6:]: body for key, body in made.items()} == {key[5:]: body for key, body in expected.items()}
    assert sorted(key[7:] for key in made) == sorted(f"d{i % 2}/{i}.rvq" for i in range(6))
    back = command(environment, "decode", "s3://store/whole", "-o", tmp_path / "back", "-r", "-j", "1")
    assert back.returncode == 0 and len(list((tmp_path / "back").rglob("*.wav"))) == 6


@pytest.mark.filterwarnings("ignore")
def test_a_missing_bucket_is_an_output_that_cannot_be_written(s3, tmp_path):
    (tmp_path / "a.wav").write_bytes(wave_bytes())
    result = command(s3[1], "encode", tmp_path / "a.wav", "s3://nosuchbucket/a.rvq", *FAST)
    assert result.returncode == 7 and "rvq: s3://nosuchbucket/a.rvq: the output cannot be" in result.stderr


def test_a_place_that_cannot_be_reached_is_named(rvq, monkeypatch):
    def refuse(name):
        raise OSError("no credentials")

    monkeypatch.setattr("rvqcodec.batch.remote._system", refuse)
    result = rvq("verify", "memory://in/a.rvq")
    assert (result.status, result.err) == (4, "rvq: memory://in/a.rvq cannot be reached: no credentials\n")
