"""The pipeline with a tiny model: parts of files and of pipes, wrong arguments, two threads."""

from __future__ import annotations

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile as sf

from rvqcodec.errors import ModelError
from rvqcodec.formats.audio.tags import read_tags
from rvqcodec.pipeline.coding import decode_file, encode_file
from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
from rvqcodec.pipeline.stored import read_encoded, write_encoded
from tests.streams import Pipe
from tests.tiny import same

RATE = 10_000
N_SAMPLES = 73_000


def wave(n_samples=N_SAMPLES, channels=2):
    rng = np.random.default_rng(1)
    samples = rng.uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)
    samples[23_000:41_000] = 0
    samples[:, 0] *= np.linspace(0.01, 1, n_samples)
    return samples


@pytest.fixture
def coded(codec, tmp_path):
    """An .rvq file of stereo at 10 kHz with silence in it, in chunks of 2 s."""
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
        found = decoded(source, codec, start=start, end=end)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max(initial=0) < 1e-9, "the resampler rounds digital silence by its pieces"


@pytest.mark.parametrize("start", [7.301, 7.9, 20])
def test_a_start_past_the_end_is_refused_from_files_and_pipes(codec, coded, tmp_path, start):
    for source in (coded, Pipe(coded.read_bytes())):
        with pytest.raises(ValueError, match=r"starts after the end at 0:07\.3"):
            decode_file(source, tmp_path / "b.wav", codec, DecodeOptions(start=start))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rvq", "a.wav"]


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "slow"}, {"bitrate_kbps": 0}, {"bitrate_kbps": float("inf")}, {"bitrate_kbps": float("nan")},
        {"entropy": "zip"}, {"chunk_s": 0}, {"chunk_s": float("nan")}, {"n_layers": 5}, {"n_threads": -1},
    ],
)  # fmt: skip
def test_wrong_options_of_encode_are_value_errors(codec, coded, options):
    with pytest.raises(ValueError, match=r"slow|bitrate|zip|chunk|n_layers=5: the model|-1 threads"):
        encode_file(
            coded.with_suffix(".wav"), coded.with_name("b.rvq"), codec, EncodeOptions(**{"n_layers": 4, **options})
        )
    assert sorted(path.name for path in coded.parent.iterdir()) == ["a.rvq", "a.wav"]


@pytest.mark.parametrize(
    "options",
    [{"sample_rate": -1}, {"sample_rate": 10**9}, {"start": -1}, {"end": 1, "duration": 1}, {"n_threads": -1}],
)
def test_wrong_options_of_decode_are_value_errors(codec, coded, options):
    with pytest.raises(ValueError, match=r"Hz|not a time|mutually exclusive|-1 threads"):
        decode_file(coded, coded.with_name("b.wav"), codec, DecodeOptions(**options))
    assert sorted(path.name for path in coded.parent.iterdir()) == ["a.rvq", "a.wav"]


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        (np.zeros((900, 2), np.float32), r"shape \(900, 2\)"),
        (np.zeros((1, 2, 900), np.float32), r"shape \(1, 2, 900\)"),
        (np.zeros((0, 900), np.float32), r"shape \(0, 900\)"),
        (np.float32(1), r"shape \(\)"),
        (np.zeros(900, np.int16), "int16"),
        (np.full(900, np.nan, np.float32), "finite"),
    ],
)
def test_a_wave_that_is_none_is_a_value_error(codec, samples, problem):
    with pytest.raises(ValueError, match=problem):
        codec.encode(samples, 2)


@pytest.mark.parametrize("numbers", [{"n_layers": 0}, {"n_layers": 5}, {"beam_width": 0}, {"n_threads": 0}])
def test_numbers_out_of_range_are_value_errors(codec, numbers):
    with pytest.raises(ValueError, match=r"layers|beam width|threads"):
        codec.encode(np.zeros(900, np.float32), **{"n_layers": 2, **numbers})


def test_static_coding_without_tables_is_refused(codec, coded):
    with pytest.raises(ModelError, match="no static entropy tables"):
        write_encoded(coded.with_name("b.rvq"), read_encoded(coded), entropy="static")


def test_samples_far_past_full_scale_are_coded(codec):
    encoded = codec.encode(wave().T.astype(np.float64) * 1e30, 2)
    assert np.isfinite(codec.decode(encoded)).all()


def test_two_threads_share_a_codec(codec):
    samples = wave(4000).T
    alone = codec.encode(samples, 4)
    with ThreadPoolExecutor(2) as pool:
        for encoded in pool.map(lambda _: codec.encode(samples, 4), range(4)):
            assert same(encoded, alone)


def test_streams_get_tags_too(codec, coded):
    write_encoded(coded.with_name("b.rvq"), read_encoded(coded), entropy="raw", tags={"title": "Tāl"})
    for tags, expected in ((True, {"title": "Tāl"}), (False, {})):
        target = io.BytesIO()
        decode_file(coded.with_name("b.rvq"), target, codec, DecodeOptions(tags=tags))
        assert read_tags(io.BytesIO(target.getvalue())) == expected


def test_recovered_codes_lose_no_layers_to_longer_chunks(coded, tmp_path):
    encoded = read_encoded(coded)
    layers = np.array([4, 4, 1, 1, 4, 4, 4, 4], np.uint8)
    codes = encoded.codes * (np.arange(4)[:, None] < np.repeat(layers, 50)[: encoded.codes.shape[2]])
    damaged = dataclasses.replace(encoded, codes=codes.astype(np.uint16), layers=layers)
    with pytest.raises(ValueError, match="would lose layers"):
        write_encoded(tmp_path / "b.rvq", damaged, entropy="raw", chunk_s=3)
    write_encoded(tmp_path / "b.rvq", damaged, entropy="raw", chunk_s=2)
    assert same(read_encoded(tmp_path / "b.rvq"), damaged)
