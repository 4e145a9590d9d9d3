"""A run of `rvq` inside the test's own process, and files to run it on."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
import soundfile as sf

from rvqcodec.cli import main
from rvqcodec.pipeline.stored import write_encoded
from tests.cli.tones import glide
from tests.tiny import make_encoded, make_signal


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rvq(capfdbinary, monkeypatch):
    """Return a function that runs `rvq` and returns status, out (bytes) and err (text)."""

    def run(*args, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        status = main([str(arg) for arg in args])
        out, err = capfdbinary.readouterr()
        return SimpleNamespace(status=status, out=out, err=err.decode())

    return run


@pytest.fixture
def stored(here):
    """Write a made-up .rvq file of 7.5 s and 4 layers, in chunks of 2 s; it needs no model. Return a function of its name."""

    def write(name="a.rvq", n_samples=7500, **options):
        write_encoded(here / name, make_encoded(make_signal(), n_samples), entropy="raw", chunk_s=2, **options)
        return here / name

    return write


@pytest.fixture
def wav(here):
    """1.2 s of stereo at 24 kHz as a.wav."""
    sf.write(here / "a.wav", glide(1.2, channels=2), 24000, "PCM_16")
    return here / "a.wav"
