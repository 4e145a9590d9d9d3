"""Audio in and out: files equal pipes, and what can't be used is said."""

import hashlib
import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from test_wav import Pipe, riff

from rvqcodec.errors import AudioError, OutputError
from rvqcodec.formats.audio.containers import CONTAINERS
from rvqcodec.formats.audio.reader import SampleFormat, open_reader, open_writer
from rvqcodec.formats.audio.tags import write_tags

LOSSY = {".ogg", ".oga", ".opus", ".mp3"}


def noise(n_samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)


def read(source):
    with open_reader(source) as reader:
        blocks = list(reader.blocks())
        assert all(len(block) == reader.sample_rate for block in blocks[:-1])
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        joined = np.concatenate([np.zeros((0, reader.channels), np.float32), *blocks])
        assert reader.n_samples == len(joined)
        return reader, joined


def write(target, samples, sample_format=SampleFormat.S16, sample_rate=8000, size=1000, **options):
    with open_writer(
        target, sample_rate=sample_rate, channels=samples.shape[1], sample_format=sample_format, **options
    ) as writer:
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])
    return writer


def make(path, kind, subtype, samples, rate=8000):
    sf.write(path, samples.astype(np.float64), rate, subtype, format=kind)
    return path


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_files_and_pipes_give_what_libsndfile_gives(tmp_path, kind, subtype):
    if subtype == "PCM_U8" and kind in ("CAF", "AU"):
        subtype = "PCM_S8"
    path = make(tmp_path / "a", kind, subtype, noise(8000 * 2 + 77, 3))
    expected = sf.read(path, dtype="float32", always_2d=True)[0]
    for source in (path, Pipe(path.read_bytes(), 3000)):
        reader, samples = read(source)
        assert np.array_equal(samples, expected) and reader.sample_rate == 8000
        assert reader.sample_format.name[1:] == {"FLOAT": "32", "DOUBLE": "64"}.get(subtype, subtype[4:].strip("SU"))
        data = path.read_bytes()
        assert reader.provenance() == (len(data), hashlib.blake2b(data, digest_size=16).digest())


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("WAV", "IMA_ADPCM"), ("WAV", "ULAW")],
)
def test_other_containers_come_through_pipes(tmp_path, kind, subtype):
    path = make(tmp_path / "a", kind, subtype, noise(8000 * 2 + 77, 1))
    (in_file, from_file), (in_pipe, from_pipe) = read(path), read(Pipe(path.read_bytes()))
    assert np.array_equal(from_file, from_pipe)
    # mpg123's last bit depends on the size of the reads
    assert np.abs(from_file - sf.read(path, dtype="float32", always_2d=True)[0]).max() < 1e-6
    assert in_file.provenance() == in_pipe.provenance() and in_file.provenance().n_bytes == path.stat().st_size
    assert (in_file.sample_format is SampleFormat.UNKNOWN) == (kind != "FLAC")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "AIFF"])
def test_tags_are_the_same_from_files_and_pipes(tmp_path, kind):
    path = make(tmp_path / "a", kind, None, noise(999))
    tags = {"title": "Tāl", "mood": "blue"}
    write_tags(path, tags)
    assert read(path)[0].tags() == read(Pipe(path.read_bytes()))[0].tags() == tags


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_files_tell_tags_and_hash_at_any_time_and_pipes_at_the_end(tmp_path, kind):
    path = make(tmp_path / "a", kind, "PCM_16", noise(20000))
    data = path.read_bytes()
    expected = (len(data), hashlib.blake2b(data, digest_size=16).digest())
    with open_reader(path) as reader, open_reader(Pipe(data)) as piped:
        with pytest.raises(ValueError, match="exhausted"):
            piped.tags()
        assert reader.tags() == {} and reader.provenance() == expected and reader.n_bytes == len(data)
        for one, other in zip(reader.blocks(), piped.blocks(), strict=True):
            assert np.array_equal(one, other)
        assert reader.provenance() == piped.provenance() == expected


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
    assert read(Pipe(stream.getvalue()))[0].tags() == {"title": "Tāl"}
    assert sf.info(io.BytesIO(stream.getvalue())).frames == 10


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["WAV", "CAF"])
def test_numbers_that_are_not_finite_are_refused_with_their_place(tmp_path, kind, bad):
    samples = noise(8000 * 3)
    samples[16001, 1] = bad
    path = make(tmp_path / "a", kind, "FLOAT", samples)
    what = "NaN" if np.isnan(bad) else "infinite"
    for source in (path, Pipe(path.read_bytes(), 100000)):
        with pytest.raises(AudioError, match=f"sample 16001 of channel 2 is {what}"):
            read(source)


def test_doubles_past_float32_are_refused(tmp_path):
    sf.write(tmp_path / "a.wav", np.array([0.0, 1e300]), 8000, "DOUBLE")
    with pytest.raises(AudioError, match="sample 1 of channel 1 is infinite"):
        read(tmp_path / "a.wav")


def header(channels, rate):
    return riff(0, 0, bytes(1000), fmt=struct.pack("<HHIIHH", 1, channels, rate, 0, channels * 2, 16))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not audio at all\n" * 50, "not audio"),
        (header(9, 8000), "9 channels"),
        (header(0, 8000), "not audio|0 channels"),
        (header(1, 999), "999 Hz"),
        (header(1, 768001), "768001 Hz"),
        (header(1, 8000)[:40], "not audio"),
        (b"RIFF", "not audio"),
        (b"fLaC" + bytes(100), "not audio"),
        (bytes(5000), "not audio"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.flac", "a"])
def test_what_is_no_audio_is_refused(tmp_path, data, message, name):
    path = tmp_path / name
    path.write_bytes(data)
    for source in (path, Pipe(data)):
        with pytest.raises(AudioError, match=f"{message}|raw samples"):
            read(source)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        open_reader(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="folder"):
        open_reader(tmp_path)


def test_the_limits_themselves_are_fine():
    for channels, rate in ((8, 8000), (1, 1000), (1, 768000)):
        assert len(read(Pipe(header(channels, rate)))[1]) == 1000 // (2 * channels)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("MP3", None)])
def test_a_file_that_fails_in_the_middle_is_refused(tmp_path, kind, subtype):
    path = make(tmp_path / "a", kind, subtype, noise(8000 * 20, 1))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match="decode"):
        read(path)


def test_flac_of_unknown_length_is_read(tmp_path):
    path = make(tmp_path / "a.flac", "FLAC", "PCM_16", noise(20000, 1))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with open_reader(path) as reader:
        assert reader.n_samples is None
    assert len(read(path)[1]) == 20000


def test_every_prefix_of_a_wav_is_the_same_from_a_file_and_a_pipe(tmp_path):
    data = make(tmp_path / "a.wav", "WAV", "PCM_24", noise(5)).read_bytes()
    for length in range(1, len(data)):
        (tmp_path / "cut.wav").write_bytes(data[:length])
        found = []
        for source in (tmp_path / "cut.wav", Pipe(data[:length])):
            try:
                found.append(read(source)[1].tolist())
            except AudioError as error:
                found.append(error.message)
        assert found[0] == found[1]


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


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 1), (8000, 2)])
@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125), b"rubbish " * 500])
def test_mp3_that_tells_no_length_is_read_whole(tmp_path, rate, channels, mode, tail):
    fading = noise(rate * 8, channels) * np.linspace(1, 0, rate * 8, dtype=np.float32)[:, None] ** 4
    path = tmp_path / "a.mp3"
    with sf.SoundFile(
        path, "w", rate, channels, "MPEG_LAYER_III", format="MP3", bitrate_mode=mode, compression_level=0.8
    ) as file:
        file.write(fading)
    whole = read(path)[1]
    data = path.read_bytes()
    path.write_bytes(b"ID3\4\0\0\0\0\0\x05" + bytes(5) + data[data.index(data[:2], 60) :] + tail)
    (_, from_file), (_, from_pipe) = read(path), read(Pipe(path.read_bytes(), 100000))
    assert abs(len(from_file) - len(whole)) < 3 * 1152 and np.array_equal(from_file, from_pipe)
