"""The pipeline with a tiny model: parts of files and of pipes, wrong arguments, two threads."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf
from tiny import Pipe

from rvqcodec.pipeline import DecodeOptions, EncodeOptions, decode_file, encode_file

RATE = 1000
N_SAMPLES = 7300


def wave(n_samples=N_SAMPLES, channels=2):
    rng = np.random.default_rng(1)
    samples = rng.uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)
    samples[2300:4100] = 0
    samples[:, 0] *= np.linspace(0.01, 1, n_samples)
    return samples


@pytest.fixture
def coded(codec, tmp_path):
    """An .rvq file of stereo at 1000 Hz with silence in it, in chunks of 2 s."""
    sf.write(tmp_path / "a.wav", wave(), RATE, "FLOAT")
    encode_file(tmp_path / "a.wav", tmp_path / "a.rvq", codec, EncodeOptions(n_layers=4, chunk_s=2, entropy="raw"))
    return tmp_path / "a.rvq"


def decoded(source, codec, **options):
    """Return what is decoded to a stream of unknown size, so that nothing is clipped."""
    target = io.BytesIO()
    decode_file(source, target, codec, DecodeOptions(**options))
    return sf.read(io.BytesIO(target.getvalue()), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1.5, 3.25), (2, 7.3), (4.999, 6), (6.1, 100), (7.3, None), (3, 3)])
def test_a_part_is_the_slice_of_the_whole_from_files_and_pipes(codec, coded, start, end):
    whole = decoded(coded, codec)
    expected = whole[round(start * RATE) : None if end is None else round(end * RATE)]
    assert whole.shape == (N_SAMPLES, 2)
    for source in (coded, Pipe(coded.read_bytes())):
        assert np.array_equal(decoded(source, codec, start=start, end=end), expected)


@pytest.mark.parametrize("start", [7.301, 7.9, 20])
def test_a_start_past_the_end_is_refused_from_files_and_pipes(codec, coded, tmp_path, start):
    for source in (coded, Pipe(coded.read_bytes())):
        with pytest.raises(ValueError, match=r"starts after the end at 0:07\.3"):
            decode_file(source, tmp_path / "b.wav", codec, DecodeOptions(start=start))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rvq", "a.wav"]
