"""Which files a folder holds."""

from __future__ import annotations

import os

import pytest

from rvqcodec.batch.walk import AUDIO_SUFFIXES, Selection, walk
from rvqcodec.errors import AudioError


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 3)


def found(root, outputs=None, **options):
    selection = Selection(**{"suffixes": AUDIO_SUFFIXES, "recursive": True, **options})
    return [name for name, _ in walk(str(root), selection, outputs)]


def test_what_is_wanted_in_order(tmp_path):
    make(tmp_path, "b.wav", "a.FLAC", "notes.txt", "a.rvq", "d/c.mp3", "d/e/f.ogg")
    assert found(tmp_path) == ["a.FLAC", "b.wav", "d/c.mp3", "d/e/f.ogg"]
    assert found(tmp_path, recursive=False) == ["a.FLAC", "b.wav"]
    assert found(tmp_path, suffixes=frozenset([".txt"])) == ["notes.txt"]
    assert found(tmp_path, exclude=("b.*", "d/e/*")) == ["a.FLAC", "d/c.mp3"]
    assert found(tmp_path, exclude=("d",)) == ["a.FLAC", "b.wav"]
    assert found(tmp_path, outputs=str(tmp_path / "d" / "e")) == ["a.FLAC", "b.wav", "d/c.mp3"]
    assert dict(walk(str(tmp_path), Selection(suffixes=AUDIO_SUFFIXES)))["b.wav"] == 3


def test_links_are_followed_but_not_in_circles(tmp_path):
    make(tmp_path, "in/d/a.wav", "other/b.wav")
    (tmp_path / "in/d/up").symlink_to("..")
    (tmp_path / "in/d/self").symlink_to("self")
    (tmp_path / "in/d/gone.wav").symlink_to("nowhere")
    (tmp_path / "in/other").symlink_to("../other")
    assert found(tmp_path / "in") == ["d/a.wav", "d/gone.wav", "other/b.wav"]


def test_odd_names_and_deep_trees(tmp_path):
    odd = ["line\nbreak.wav", "-dash.wav", " .wav", os.fsdecode(b"\xff\xfe.wav"), "x" * 251 + ".wav"]
    make(tmp_path, *odd, "/".join("d" * 64) + "/deep.wav")
    assert sorted(found(tmp_path)) == sorted([*odd, "/".join("d" * 64) + "/deep.wav"])


def test_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(AudioError, match="no such file") as absent:
        found(tmp_path / "absent")
    assert not absent.value.hint


def test_a_folder_below_that_cannot_be_read_can_be_excluded(tmp_path, monkeypatch):
    make(tmp_path, "a.wav", "locked/b.wav")
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AudioError, match="locked cannot be read: permission denied") as locked:
        found(tmp_path)
    assert locked.value.hint == "--exclude skips it"
    assert found(tmp_path, exclude=("locked",)) == ["a.wav"]
