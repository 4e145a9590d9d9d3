"""Each input is opened once, whatever is done with it, and each output once, under its temporary name."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
import soundfile as sf

from rvqcodec.formats.files import temporary_path
from tests.cli.tones import glide

FAST = ("-n", "1", "--effort", "fast", "-j", "1", "-q")
_opened: Counter[str] | None = None


def _count(event, arguments):
    if event == "open" and _opened is not None and isinstance(arguments[0], (str, bytes, os.PathLike)):
        _opened[Path(os.fsdecode(arguments[0])).name] += 1


sys.addaudithook(_count)  # there is no way to take it off again


@pytest.fixture
def opens(rvq):
    """Return a function that runs `rvq` and returns how often each file of some names was opened."""

    def run(*args, status=0):
        global _opened
        _opened = Counter()
        try:
            result = rvq(*args)
        finally:
            found, _opened = _opened, None
        assert result.status == status, result.err
        names = {name: name[0] for name in found if name[0] in "abc" and Path(name).suffix in (".wav", ".flac", ".rvq")}
        temporaries = {temporary_path(Path(f"{stem}{suffix}")).name for stem in "abc" for suffix in (".wav", ".rvq")}
        return {name: found[name] for name in names}, {found[name] for name in temporaries & found.keys()}

    return run


@pytest.fixture
def sounds(here):
    """a.wav, b.flac and c.wav in the folder `in`."""
    (here / "in").mkdir()
    for name in ("a.wav", "b.flac", "c.wav"):
        sf.write(here / "in" / name, glide(0.2), 24000, "PCM_16")
    return here / "in"


def once(*names):
    return dict.fromkeys(names, 1)


@pytest.mark.parametrize("name", ["a.wav", "b.flac"])
def test_one_file_encoded_and_decoded(opens, sounds, name):
    coded = f"{name[0]}.rvq"
    assert opens("encode", f"in/{name}", "-o", coded, *FAST) == (once(name), {1})
    assert opens("encode", f"in/{name}", "-o", coded, "--resume", *FAST) == (once(name, coded), set())
    assert opens("encode", f"in/{name}", "-o", coded, "--resume", *FAST, "--entropy", "raw") == (once(name, coded), {1})
    assert opens("decode", coded, "c.wav", "-q") == (once(coded), {1})
    assert opens("decode", coded, "c.wav", "-q", "-f", "--start", "0.1") == (once(coded), {1})
    assert opens("encode", f"in/{name}", "-o", coded, "-f", "--rm", *FAST) == (once(name), {1})
    assert opens("decode", coded, "c.wav", "-q", "-f", "--rm") == (once(coded), {1})


def test_a_folder_and_its_resume(opens, sounds):
    sources, coded, decoded = (
        once("a.wav", "b.flac", "c.wav"),
        once("a.rvq", "b.rvq", "c.rvq"),
        once("a.wav", "b.wav", "c.wav"),
    )
    assert opens("encode", "in", "-o", "out", *FAST) == (sources, {1})
    assert opens("encode", "in", "-o", "out", "--resume", *FAST) == ({**sources, **coded}, set())
    assert opens("decode", "out", "-o", "back", "-j", "1", "-q") == (coded, {1})
    assert opens("decode", "out", "-o", "back", "-j", "1", "-q", "--resume") == ({**coded, **decoded}, set())
    again = opens("decode", "out", "-o", "back", "-j", "1", "-q", "--resume", "--bits", "24")
    assert again == ({**coded, **decoded}, {1})


def test_verbs_without_a_model(opens, stored):
    stored("a.rvq")
    for verb in (["info"], ["verify"], ["verify", "--deep"]):
        assert opens(verb[0], "a.rvq", *verb[1:]) == (once("a.rvq"), set())
    for verb in (["trim", "-n", "2"], ["transcode", "--entropy", "raw"], ["recover"]):
        assert opens(verb[0], "a.rvq", "-o", "b.rvq", "-f", *verb[1:]) == (once("a.rvq"), {1})
        assert opens(verb[0], "a.rvq", "-o", "b.rvq", "--resume", *verb[1:]) == (once("a.rvq", "b.rvq"), set())
    assert opens("trim", "a.rvq", "-o", "b.rvq", "--resume", "-n", "1") == (once("a.rvq", "b.rvq"), {1})


def test_an_output_that_exists_is_refused_before_the_input_is_opened(opens, sounds, here):
    (here / "a.rvq").write_bytes(b"mine")
    assert opens("encode", "in/a.wav", "-o", "a.rvq", *FAST, status=7) == ({}, set())
