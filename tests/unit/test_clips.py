"""The lists of clips hold what they promise: free of training and of the held-out list, disjoint, and cut at one level."""

import re

import numpy as np
import pytest

from benchmarks.clips.__main__ import SETS, cut, listed_clips
from rvqcodec.training.corpus.corpus import split_of
from rvqcodec.training.corpus.heldout import held_out_files
from rvqcodec.training.corpus.packages import EVALUATION

CLIPS = {name: listed_clips(name) for name in SETS}


def test_there_are_as_many_as_the_readme_says():
    kinds = {name: [clip.kind for clip in clips] for name, clips in CLIPS.items()}
    assert {name: (found.count("speech"), found.count("music")) for name, found in kinds.items()} == {
        "look": (10, 6),
        "release": (24, 24),
    }


def test_none_is_in_another_list_or_was_trained_on():
    files = [clip.sha256 for clips in CLIPS.values() for clip in clips]
    assert len(set(files)) == len(files) and not set(files) & held_out_files()
    ids = [clip.id for clips in CLIPS.values() for clip in clips]
    assert len(set(ids)) == len(ids)
    for clip in (clip for clips in CLIPS.values() for clip in clips):
        held_out = clip.package in {package.name for package in EVALUATION}
        assert clip.split == split_of(clip.sha256, held_out) != "train"


@pytest.mark.parametrize("name", SETS)
def test_each_says_where_it_is_from(name):
    for clip in CLIPS[name]:
        assert clip.id == f"{clip.kind}-{clip.package}-{clip.sha256[:6]}"
        assert clip.version and clip.licence and clip.path.startswith("usr/")
        assert re.fullmatch(r"[0-9a-f]{64}", clip.sha256) and clip.start_s >= 0 and 2.5 <= clip.seconds <= 8


def test_a_clip_is_a_piece_at_the_usual_level():
    clip = next(clip for clip in CLIPS["release"] if clip.start_s > 0)
    samples = np.arange(48_000 * 300) % 1000 - 500
    wave = cut(samples.astype(np.int16), clip)
    assert wave.dtype == np.float32 and len(wave) == round(clip.seconds * 48_000)
    assert 10 * np.log10(np.mean(wave.astype(np.float64) ** 2)) == pytest.approx(-22, abs=0.01)
