"""What the library says of arguments, and the command line of flags."""

from __future__ import annotations

import pickle

import pytest

from rvqcodec.cli.errors import problem_of
from rvqcodec.errors import ArgumentError, OutputError
from rvqcodec.formats.files import OVERWRITE_HINT
from rvqcodec.pipeline.coding import check_options
from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
from rvqcodec.weights.registry import find_model

CASES = [
    (lambda: check_options(find_model("rvq48"), EncodeOptions(n_layers=30)), "n_layers=30: ", "--layers 30: "),
    (lambda: check_options(find_model("rvq48"), EncodeOptions(chunk_s=0)), "chunk_s=0: ", "--chunk 0: "),
    (lambda: EncodeOptions(bitrate_kbps=-1.0), "bitrate_kbps=-1.0: ", "--bitrate -1.0: "),
    (lambda: EncodeOptions(effort="most"), "effort='most': ", "--effort most: "),
    (lambda: EncodeOptions(entropy="zip"), "entropy='zip': ", "--entropy zip: "),
    (lambda: EncodeOptions(n_layers=3, bitrate_kbps=3), "n_layers and bitrate_kbps ", "--layers and --bitrate "),
    (lambda: DecodeOptions(end=3, duration=3), "end and duration ", "--end and --duration "),
    (lambda: DecodeOptions(sample_rate=10), "sample_rate=10: ", "--rate 10: "),
]


@pytest.mark.parametrize(("call", "library", "command"), CASES, ids=[case[1].strip() for case in CASES])
def test_arguments_become_flags(call, library, command):
    with pytest.raises(ArgumentError) as caught:
        call()
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error).startswith(library) and problem_of(error) == (command + error.problem, "")


def test_hints_speak_of_flags_too():
    assert problem_of(OutputError("it exists", OVERWRITE_HINT)) == ("it exists", "-f replaces it")
