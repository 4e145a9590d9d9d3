"""Folders, lists, URLs, reports and resume of the verbs that need no model: as those of encode and decode."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rvqcodec.batch.job import Job
from rvqcodec.batch.stored import TranscodeWork, TrimWork, VerifyWork
from rvqcodec.batch.work import Codecs

VERBS = {"trim": ("-n", "2"), "transcode": ("--entropy", "raw"), "recover": ()}


@pytest.fixture
def tree(here, stored):
    """Four whole files in two folders, and one that isn't one of ours."""
    (here / "in/d").mkdir(parents=True)
    for name in ("in/a.rvq", "in/b c.rvq", "in/d/line\nbreak.rvq", "in/d/e.rvq"):
        stored(name, n_samples=2500 + 100 * len(name))
    (here / "in/notes.txt").write_text("not ours")
    return here / "in"


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def records(result):
    return [json.loads(line) for line in result.out.splitlines()]


def statuses(result, key="input"):
    return {Path(row[key]).name: row["status"] for row in records(result)}


@pytest.mark.parametrize("verb", VERBS)
def test_trees_are_mirrored_whatever_the_number_of_workers(here, rvq, tree, verb):
    one = rvq(verb, "in", "-o", "out", "-r", *VERBS[verb])
    assert one.status == 0 and "files    4 done, 0 skipped, 0 failed\n" in one.err and one.out == b""
    assert sorted(files(here / "out")) == ["a.rvq", "b c.rvq", "d/e.rvq", "d/line\nbreak.rvq"]
    assert rvq(verb, "in", "-o", "many", "-r", "-j", "2", *VERBS[verb]).status == 0
    assert files(here / "many") == files(here / "out")
    assert rvq(verb, "in/a.rvq", "-o", "single.rvq", *VERBS[verb]).status == 0
    assert (here / "single.rvq").read_bytes() == (here / "out/a.rvq").read_bytes()
    assert sorted(files(here / "out")) == sorted(files(tree).keys() - {"notes.txt"})
    assert rvq("verify", "out", "-r", "--deep").out.count(b": ok") == 4


@pytest.mark.parametrize("verb", VERBS)
def test_resume_skips_what_would_be_written_again(here, rvq, tree, verb):
    assert rvq(verb, "in", "-o", "out", "-r", *VERBS[verb]).status == 0
    whole = files(here / "out")
    (here / "out/a.rvq").write_bytes(whole["a.rvq"][:-9])
    (here / "out/d/e.rvq").unlink()
    again = rvq(verb, "in", "-o", "out", "-r", "--resume", "--json", *VERBS[verb])
    assert statuses(again) == {"a.rvq": "done", "b c.rvq": "skipped", "line\nbreak.rvq": "skipped", "e.rvq": "done"}
    assert files(here / "out") == whole
    (here / "out/b c.rvq").write_text("a diary")
    foreign = rvq(verb, "in", "-o", "out", "-r", "--resume", *VERBS[verb])
    assert foreign.status == 3 and "not written by rvq" in foreign.err
    assert (here / "out/b c.rvq").read_text() == "a diary"


def test_resume_tells_other_settings_and_other_codes_apart(here, rvq, tree, stored):
    assert rvq("trim", "in", "-o", "out", *VERBS["trim"]).status == 0
    assert set(statuses(rvq("trim", "in", "-o", "out", "-n", "3", "--resume", "--json")).values()) == {"done"}
    assert rvq("transcode", "in", "-o", "again", "--entropy", "raw").status == 0
    again = ("transcode", "in", "-o", "again", "--resume", "--json")
    assert set(statuses(rvq(*again, "--entropy", "raw")).values()) == {"skipped"}
    assert set(statuses(rvq(*again)).values()) == {"done"}, "auto is smaller than raw"
    assert set(statuses(rvq(*again)).values()) == {"skipped"}
    assert set(statuses(rvq(*again, "--entropy", "raw")).values()) == {"done"}
    (here / "again/a.rvq").write_bytes(stored("b.rvq", n_samples=3200).read_bytes())
    one = rvq("transcode", "in/a.rvq", "-o", "again/a.rvq", "--resume", "--json", "--entropy", "raw")
    assert statuses(one) == {"a.rvq": "done"}


@pytest.mark.parametrize("verb", [*VERBS, "verify", "info"])
def test_one_bad_file_costs_no_other(here, rvq, tree, verb):
    (tree / "0bad.rvq").write_bytes(b"not ours")
    (here / "list").write_text("in/0bad.rvq\nin/a.rvq\nin/absent.rvq\n")
    output = ("-o", "out", *VERBS[verb]) if verb in VERBS else ()
    result = rvq(verb, "--filelist", "list", *output, "--json", "--report", "r.csv")
    assert result.status == 3 and "rvq: in/0bad.rvq: not an .rvq file" in result.err
    key = "input" if verb in VERBS else "file"
    assert statuses(result, key) == {"0bad.rvq": "failed", "a.rvq": "done", "absent.rvq": "failed"}
    rows = list(csv.DictReader((here / "r.csv").read_text().splitlines()))
    assert [(row["input"], row["exit_status"]) for row in rows] == [
        ("in/0bad.rvq", "5"), ("in/a.rvq", "0"), ("in/absent.rvq", "4"),
    ]  # fmt: skip
    first = rvq(verb, "in", *output, "--exclude", "a.*", "--fail-fast", "-f" if output else "-q")
    assert first.status == 3 and "1 not begun" in first.err
    assert rvq(verb, "in", *output, "--ext", "txt", "-q").status == 5


@pytest.mark.parametrize("verb", [*VERBS, "verify", "info"])
def test_urls(rvq, tree, verb):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install 'rvqcodec[test]'")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put(str(tree / "a.rvq"), "/in/a.rvq")
    if verb not in VERBS:
        assert rvq(verb, "memory://in").status == 0 and rvq(verb, "memory://in/none.rvq").status == 4
        return
    assert rvq(verb, "memory://in", "-o", "memory://out", *VERBS[verb]).status == 0
    assert rvq(verb, "in/a.rvq", "-o", "here.rvq", *VERBS[verb]).status == 0
    assert memory.cat_file("/out/a.rvq") == Path("here.rvq").read_bytes()
    again = rvq(verb, "memory://in", "-o", "memory://out", *VERBS[verb], "--resume", "--json")
    assert [row["status"] for row in records(again)] == ["skipped"]


def test_totals_of_folders(rvq, tree):
    checked = rvq("verify", "in", "-r")
    assert checked.status == 0 and "files    4 done, 0 skipped, 0 failed\n" in checked.err and " out" not in checked.err
    told = rvq("info", "in", "--json")
    assert told.status == 0 and [row["n_layers"] for row in records(told)] == [4, 4]


@pytest.mark.parametrize("work", [VerifyWork(), TrimWork(n_layers=2), TranscodeWork(entropy="raw")])
def test_progress_reaches_the_end(here, stored, work):
    stored("a.rvq", n_samples=20_000)
    seen = []
    work.run(Job(source="a.rvq", target="b.rvq"), Codecs("cpu"), lambda *seconds: seen.append(seconds))
    assert seen[0] == (0.0, 20.0) and seen[-1] == (pytest.approx(20.0),) and len(seen) > 10
    assert seen[1:] == sorted(seen[1:])


def test_outputs_must_be_named(here, rvq, tree):
    for verb, options in VERBS.items():
        for words in (["in/a.rvq"], ["in"], ["in/a.rvq", "in/b c.rvq", "in/d/e.rvq"], ["in", "-o", "one.rvq"]):
            assert rvq(verb, *words, *options).status == 2, (verb, words)
        assert rvq(verb, "in/a.rvq", "in/b c.rvq", "-c", *options).status == 2
        assert rvq(verb, "in/a.rvq", "-o", "in", "-f", *options).status == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made with mkfifo")
@pytest.mark.parametrize("verb", [*VERBS, "verify"])
def test_named_pipes(here, rvq, tree, verb):
    os.mkfifo("pipe.rvq")
    data = (tree / "a.rvq").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe.rvq").write_bytes(data))
    writer.start()
    output = ("-o", "piped.rvq", *VERBS[verb]) if verb in VERBS else ()
    assert rvq(verb, "pipe.rvq", *output).status == 0
    writer.join()
    if output:
        assert rvq(verb, "in/a.rvq", "-o", "direct.rvq", *VERBS[verb]).status == 0
        assert (here / "piped.rvq").read_bytes() == (here / "direct.rvq").read_bytes()


def test_no_verb_without_a_model_imports_torch_in_any_process(tree):
    commands = [["info", "in"], ["verify", "in", "-r", "--deep", "-j", "2"], ["trim", "in", "-o", "t", "-n", "2"]]
    commands += [
        ["transcode", "in", "-o", "c"],
        ["recover", "in", "-o", "r"],
        ["trim", "in", "-o", "t", "-n", "2", "--resume"],
    ]
    code = (
        "import sys\nfrom rvqcodec.cli import main\n"
        f"for argv in {commands!r}:\n    assert main(argv) == 0, argv\n    assert 'torch' not in sys.modules, argv\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", f"if __name__ == '__main__':\n    exec({code!r})"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
