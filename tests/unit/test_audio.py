"""Audio in: files equal pipes, and what can't be used is said."""

import hashlib
import struct

import numpy as np
import pytest
import soundfile as sf

from rvqcodec.errors import AudioError
from rvqcodec.formats.audio.reader import SampleFormat, open_reader
from rvqcodec.formats.audio.tags import write_tags
from tests.audiofiles import make, noise, pipe, read, riff


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_files_and_pipes_give_what_libsndfile_gives(tmp_path, kind, subtype):
    if subtype == "PCM_U8" and kind in ("CAF", "AU"):
        subtype = "PCM_S8"
    path = make(tmp_path / "a", kind, subtype, noise(8000 * 2 + 77, 3))
    expected = sf.read(path, dtype="float32", always_2d=True)[0]
    for source in (path, pipe(path.read_bytes(), 3000)):
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
    (in_file, from_file), (in_pipe, from_pipe) = read(path), read(pipe(path.read_bytes()))
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
    assert read(path)[0].tags() == read(pipe(path.read_bytes()))[0].tags() == tags


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_files_tell_tags_and_hash_at_any_time_and_pipes_at_the_end(tmp_path, kind):
    path = make(tmp_path / "a", kind, "PCM_16", noise(20000))
    data = path.read_bytes()
    expected = (len(data), hashlib.blake2b(data, digest_size=16).digest())
    with open_reader(path) as reader, open_reader(pipe(data)) as piped:
        with pytest.raises(ValueError, match="exhausted"):
            piped.tags()
        assert reader.tags() == {} and reader.provenance() == expected and reader.n_bytes == len(data)
        for one, other in zip(reader.blocks(), piped.blocks(), strict=True):
            assert np.array_equal(one, other)
        assert reader.provenance() == piped.provenance() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["WAV", "CAF"])
def test_numbers_that_are_not_finite_are_refused_with_their_place(tmp_path, kind, bad):
    samples = noise(8000 * 3)
    samples[16001, 1] = bad
    path = make(tmp_path / "a", kind, "FLOAT", samples)
    what = "NaN" if np.isnan(bad) else "infinite"
    for source in (path, pipe(path.read_bytes(), 100000)):
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
    for source in (path, pipe(data)):
        with pytest.raises(AudioError, match=f"{message}|raw samples"):
            read(source)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        open_reader(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match="folder"):
        open_reader(tmp_path)


def test_the_limits_themselves_are_fine():
    for channels, rate in ((8, 8000), (1, 1000), (1, 768000)):
        assert len(read(pipe(header(channels, rate)))[1]) == 1000 // (2 * channels)


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
        for source in (tmp_path / "cut.wav", pipe(data[:length])):
            try:
                found.append(read(source)[1].tolist())
            except AudioError as error:
                found.append(error.message)
        assert found[0] == found[1]


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
    (_, from_file), (_, from_pipe) = read(path), read(pipe(path.read_bytes(), 100000))
    assert abs(len(from_file) - len(whole)) < 3 * 1152 and np.array_equal(from_file, from_pipe)
