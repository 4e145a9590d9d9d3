"""Which names become which outputs."""

from __future__ import annotations

import os

import pytest

from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.plan import plan_copy, plan_decode, plan_encode
from rvqcodec.errors import OutputError

ENCODE = [
    (["a.wav"], None, False, [("a.wav", "a.rvq")]),
    (["d/a.wav"], None, False, [("d/a.wav", "d/a.rvq")]),
    (["a.wav", "b.rvq"], None, False, [("a.wav", "b.rvq")]),
    (["a.wav", "B.RVQ"], None, False, [("a.wav", "B.RVQ")]),
    (["a.wav", "-"], None, False, [("a.wav", "-")]),
    (["-", "-"], None, False, [("-", "-")]),
    (["-"], None, False, [("-", "-")]),
    (["-", "b.rvq"], None, False, [("-", "b.rvq")]),
    (["a.wav"], None, True, [("a.wav", "-")]),
    (["a.wav"], "-", True, [("a.wav", "-")]),
    (["a.wav"], "odd.name", False, [("a.wav", "odd.name")]),
    (["a.wav"], "out/", False, [("a.wav", "out/a.rvq")]),
    (["a.wav"], "there", False, [("a.wav", "there/a.rvq")]),
    (["a.wav", "b.wav"], None, False, [("a.wav", "a.rvq"), ("b.wav", "b.rvq")]),
    (["d/a.wav", "b.mp3"], "out", False, [("d/a.wav", "out/a.rvq"), ("b.mp3", "out/b.rvq")]),
    (["a.b.wav"], None, False, [("a.b.wav", "a.b.rvq")]),
    (["noext"], None, False, [("noext", "noext.rvq")]),
    ([".wav"], None, False, [(".wav", ".wav.rvq")]),
    (["./-"], None, False, [("./-", "-.rvq")]),
]
DECODE = [
    (["a.rvq"], None, False, [("a.rvq", "a.wav")]),
    (["a.rvq", "b.flac"], None, False, [("a.rvq", "b.flac")]),
    (["a.rvq", "-"], None, False, [("a.rvq", "-")]),
    (["-", "-"], None, False, [("-", "-")]),
    (["a.rvq", "b.rvq"], None, False, [("a.rvq", "a.wav"), ("b.rvq", "b.wav")]),
    (["a.rvq", "b.rvq"], "out", False, [("a.rvq", "out/a.wav"), ("b.rvq", "out/b.wav")]),
    (["a.rvq"], "b.flac", False, [("a.rvq", "b.flac")]),
    (["-"], None, True, [("-", "-")]),
]


def pairs(plan):
    return [(job.source, job.target) for job in plan.jobs]


@pytest.mark.parametrize(("names", "output", "to_stdout", "expected"), ENCODE)
def test_encode_names(here, names, output, to_stdout, expected):
    (here / "there").mkdir()
    assert pairs(plan_encode(names, output, to_stdout)) == expected


@pytest.mark.parametrize(("names", "output", "to_stdout", "expected"), DECODE)
def test_decode_names(here, names, output, to_stdout, expected):
    assert pairs(plan_decode(names, output, to_stdout)) == expected


@pytest.mark.parametrize(
    ("names", "output", "to_stdout"),
    [
        (["a.wav"], "b.rvq", True),
        (["a.wav", "b.wav"], "-", False),
        (["a.wav", "b.wav"], None, True),
        (["-", "b.wav"], "out/", False),
        (["-", "-", "b.wav"], None, False),
    ],
)
def test_contradictions_are_usage_errors(here, names, output, to_stdout):
    (here / "there").mkdir()
    with pytest.raises(UsageError):
        plan_encode(names, output, to_stdout)


def test_two_inputs_of_one_output_are_refused_with_both_names(here):
    with pytest.raises(OutputError, match=r"a\.wav and a\.flac"):
        plan_encode(["a.wav", "a.flac"], None, False)


def test_an_output_that_is_any_input_is_refused(here):
    (here / "a.wav").write_bytes(b"x")
    os.link(here / "a.wav", here / "linked.wav")
    (here / "soft.rvq").symlink_to("a.wav")
    for names, output in ((["a.wav"], "./a.wav"), (["a.wav"], "linked.wav"), (["a.wav", "soft.rvq"], None)):
        with pytest.raises(OutputError):
            plan_encode(names, output, False)
    with pytest.raises(OutputError, match="an input too"):
        plan_decode(["x.rvq", "x.wav", "y.rvq"], None, False)


def test_outputs_of_trim_and_recover_are_named_with_an_option(here):
    assert pairs(plan_copy(["a.rvq"], "b.rvq", False)) == [("a.rvq", "b.rvq")]
    assert pairs(plan_copy(["a.rvq", "-"], None, False)) == [("a.rvq", "-")]
    assert pairs(plan_copy(["a.rvq"], "d/", False)) == [("a.rvq", "d/a.rvq")]
    for names, output in ((["a.rvq"], None), (["a.rvq", "b.rvq"], None), (["a.rvq", "b.rvq"], "c.rvq")):
        with pytest.raises(UsageError):
            plan_copy(names, output, False)
