"""Audio out: every container gives back what went in, and says at once what it can't hold."""

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rvqcodec.errors import OutputError
from rvqcodec.formats.audio.containers import CONTAINERS
from rvqcodec.formats.audio.reader import SampleFormat, open_reader, open_writer
from tests.audiofiles import make, noise, pipe, read, write

LOSSY = {".ogg", ".oga", ".opus", ".mp3"}


@pytest.mark.parametrize("n_samples", [0, 1, 7, 8000, 8001])
@pytest.mark.parametrize("suffix", sorted(CONTAINERS))
def test_lengths_come_back_from_every_container(tmp_path, suffix, n_samples):
    path, samples = tmp_path / f"a{suffix}", noise(n_samples)
    if not n_samples and not CONTAINERS[suffix].can_be_empty:
        with pytest.raises(OutputError, match="no samples"):
            write(path, samples)
        return
    writer = write(path, samples)
    assert writer.n_samples == n_samples
    reader, back = read(path)
    assert back.shape == samples.shape and reader.sample_rate == 8000
    if suffix not in LOSSY:
        assert not n_samples or np.abs(back - samples).max() < 1.6 / 32768
        assert reader.sample_format is writer.sample_format is SampleFormat.S16


@pytest.mark.parametrize("sample_format", [f for f in SampleFormat if f])
@pytest.mark.parametrize("suffix", [".wav", ".rf64", ".w64", ".flac", ".aiff", ".caf"])
def test_files_and_pipes_get_the_same_samples(tmp_path, suffix, sample_format):
    samples = noise(1500, 2) * 2.2
    pipe = io.BytesIO()
    in_pipe = write(pipe, samples, sample_format)
    in_file = write(tmp_path / f"a{suffix}", samples, sample_format, size=77)
    if suffix != ".flac" or sample_format <= SampleFormat.S24:
        assert in_file.sample_format is sample_format and in_file.n_clipped == in_pipe.n_clipped
        assert np.array_equal(read(io.BytesIO(pipe.getvalue()))[1], read(tmp_path / f"a{suffix}")[1])
    else:
        assert in_file.sample_format is SampleFormat.S24
    assert (in_file.n_clipped > 0) == in_file.sample_format.is_integer


def test_windows_agree_with_the_whole():
    samples = noise(3000)
    whole, window = io.BytesIO(), io.BytesIO()
    write(whole, samples)
    write(window, samples[1234:2000], first_sample=1234)
    assert np.array_equal(read(io.BytesIO(whole.getvalue()))[1][1234:2000], read(io.BytesIO(window.getvalue()))[1])


def test_streams_carry_tags_that_are_known_at_first():
    stream = io.BytesIO()
    write(stream, noise(10), n_samples=10, tags={"title": "Tāl"})
    assert read(pipe(stream.getvalue()))[0].tags() == {"title": "Tāl"}
    assert sf.info(io.BytesIO(stream.getvalue())).frames == 10


@pytest.mark.parametrize(
    ("suffix", "rate", "channels", "message"),
    [
        (".opus", 44100, 2, "44100 Hz"),
        (".mp3", 96000, 2, "96000 Hz"),
        (".mp3", 48000, 3, "3 channels"),
        (".ogg", 200001, 2, "200001 Hz"),
        (".flac", 65537, 2, "65537 Hz"),
        (".flac", 768000, 2, "768000 Hz"),
        (".wav", 48000, 9, "9 channels"),
        (".xyz", 48000, 2, ".xyz is not an audio file extension"),
        ("", 48000, 2, "no extension"),
    ],
)
def test_what_a_container_cannot_hold_is_refused_at_once(tmp_path, suffix, rate, channels, message):
    with pytest.raises(OutputError, match=message):
        open_writer(tmp_path / f"a{suffix}", sample_rate=rate, channels=channels, sample_format=SampleFormat.S16)
    assert not list(tmp_path.iterdir())


def test_aiff_past_4_gib_is_refused(tmp_path):
    with pytest.raises(OutputError, match="4 GiB"):
        open_writer(
            tmp_path / "a.aiff", sample_rate=48000, channels=2, sample_format=SampleFormat.S16, n_samples=1 << 30
        )


def test_the_suffix_is_the_final_names(tmp_path):
    write(tmp_path / ".x.tmp", noise(100), suffix=".FLAC")
    assert sf.info(tmp_path / ".x.tmp").format == "FLAC"


def test_wrong_blocks_are_the_callers_mistake():
    for block in (np.zeros((3, 2)), np.zeros((3, 1), np.float32), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match="block of float32"):
            write(io.BytesIO(), np.zeros((1, 2), np.float32)).write(block)
    with pytest.raises(ValueError, match="finite"):
        write(io.BytesIO(), np.full((1, 2), np.nan, np.float32))


def test_closing_twice_is_fine(tmp_path):
    write(tmp_path / "a.wav", noise(3)).close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_an_output_error():
    with pytest.raises(OutputError, match="no space left"):
        write(Path("/dev/full"), noise(100000))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made with mkfifo")
def test_named_pipes_work_both_ways(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: write(pipe, noise(5000)))
    writer.start()
    assert len(read(pipe)[1]) == 5000
    writer.join()
    with pytest.raises(OutputError, match="pipe"):
        open_writer(pipe, suffix=".flac", sample_rate=8000, channels=1, sample_format=SampleFormat.S16)


def test_an_early_end_closes_everything(tmp_path):
    for kind in ("WAV", "FLAC"):
        with open_reader(make(tmp_path / "a", kind, "PCM_16", noise(30000))) as reader:
            next(reader.blocks())
    with (
        pytest.raises(KeyError),
        open_writer(tmp_path / "b.wav", sample_rate=8000, channels=1, sample_format=SampleFormat.S16, n_samples=10),
    ):
        raise KeyError
