"""The held-out list is well formed and kept out of training, and clips are made of it as it says."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import heldout as builder
from rvqcodec.errors import AudioError
from rvqcodec.training.corpus import corpus
from rvqcodec.training.corpus.heldout import HeldOutClip, Piece, held_out, held_out_files
from rvqcodec.training.corpus.packages import CORE, KINDS

RATE = 48_000


def test_there_are_enough_clips_of_5_to_12_seconds():
    clips = held_out().clips
    kinds = [clip.kind for clip in clips]
    assert len({clip.id for clip in clips}) == len(clips)
    assert kinds.count("speech") >= 24 and kinds.count("music") >= 20 and kinds.count("effects") >= 16
    assert set(kinds) == set(KINDS)
    for clip in clips:
        assert 5 <= sum(piece.seconds for piece in clip.pieces) + 0.2 * (len(clip.pieces) - 1) <= 12, clip.id
        assert re.fullmatch(r"[a-z0-9-]+", clip.id) and clip.what and clip.id.startswith(clip.kind)
        assert all(re.fullmatch(r"[0-9a-f]{64}", piece.sha256) and piece.start_s >= 0 for piece in clip.pieces)
    assert {clip.package for clip in clips} == set(held_out().packages)


def test_no_listed_file_is_trained_on():
    assert {corpus.split_of(sha256, held_out=False) for sha256 in held_out_files()} == {"eval"}
    trained = {package.name for package in CORE}
    for clip in held_out().clips:
        by_bytes = {int(piece.sha256[:8], 16) % 100 < corpus.VALID_PERCENT for piece in clip.pieces}
        assert clip.package not in trained or by_bytes == {True}, f"{clip.id} was trained on before the list was made"


def test_a_clip_is_its_pieces_with_silence_between_at_the_usual_level():
    tone = (0.01 * np.sin(np.arange(2 * RATE) / 5)).astype(np.float32)
    pieces = tuple(Piece(path=name, sha256="", start_s=0.5, seconds=1.0) for name in "ab")
    clip = HeldOutClip(id="x", kind="speech", what="tones", package="p", pieces=pieces)
    wave = builder.assemble(clip, {"a": tone, "b": tone})
    assert len(wave) == round(2.2 * RATE)
    assert 10 * np.log10(np.mean(wave**2)) == pytest.approx(-22, abs=0.01)
    assert not wave[RATE : round(1.2 * RATE)].any() and abs(wave[RATE - 1]) < 1e-4
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 0.1
    assert np.abs(builder.levelled(click)).max() == pytest.approx(0.99)


def test_a_file_with_other_bytes_is_refused(monkeypatch):
    monkeypatch.setattr(builder, "read_package", lambda _: iter([("a.wav", b"bytes")]))
    monkeypatch.setattr(builder, "decode", lambda *_: (np.ones(4, np.int16), RATE))
    right = hashlib.sha256(b"bytes").hexdigest()
    assert list(builder.read_files(Path("p.deb"), {"a.wav": right})) == ["a.wav"]
    with pytest.raises(AudioError, match=r"p\.deb lacks a\.wav"):
        builder.read_files(Path("p.deb"), {"a.wav": "0" * 64})


def test_the_table_beside_the_command_is_of_the_list():
    assert Path(builder.__file__).with_suffix(".md").read_text(encoding="utf-8") == builder.table(held_out())
