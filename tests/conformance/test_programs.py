"""Files and pipes of other programs are read as they mean them, and they read ours. Each test needs its program and says so."""

import io
import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf

from rvqcodec.training.corpus.corpus import decode
from tests.audiofiles import noise, read, write

RATE = 48_000
LOSSLESS = {
    "flac": ("flac", "-s", "-f", "-o", "OUT.flac", "IN"),
    "sox, AIFF": ("sox", "IN", "OUT.aiff"),
    "sox, 32-bit WAV": ("sox", "IN", "-b", "32", "OUT.wav"),
    "ffmpeg, FLAC": ("ffmpeg", "-v", "error", "-i", "IN", "OUT.flac"),
    "ffmpeg, W64": ("ffmpeg", "-v", "error", "-i", "IN", "OUT.w64"),
    "ffmpeg, CAF": ("ffmpeg", "-v", "error", "-i", "IN", "OUT.caf"),
}
PIPED = {
    "sox": ("sox", "IN", "-t", "wav", "-"),
    "ffmpeg": ("ffmpeg", "-v", "error", "-i", "IN", "-f", "wav", "-"),
    "flac": ("flac", "-s", "-d", "-c", "IN.flac"),
}
LOSSY = {
    "lame": ("lame", "--quiet", "-b", "192", "IN", "OUT.mp3"),
    "opusenc": ("opusenc", "--quiet", "--bitrate", "192", "IN", "OUT.opus"),
    "ffmpeg, Vorbis": ("ffmpeg", "-v", "error", "-i", "IN", "-c:a", "libvorbis", "OUT.ogg"),
}
READERS = {
    "flac": (".flac", ("flac", "-s", "-d", "-c", "--force-raw-format", "--endian=little", "--sign=signed", "FILE")),
    "sox": (".wav", ("sox", "FILE", "-t", "raw", "-e", "signed", "-b", "16", "-")),
    "ffmpeg": (".caf", ("ffmpeg", "-v", "error", "-i", "FILE", "-f", "s16le", "-")),
    "ffmpeg, RF64": (".rf64", ("ffmpeg", "-v", "error", "-i", "FILE", "-f", "s16le", "-")),
}


def run(command, **names):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    words = []
    for word in command:
        for name, path in names.items():
            word = word.replace(name, str(path))
        words.append(word)
    return subprocess.run(words, check=True, capture_output=True).stdout


@pytest.fixture
def source(tmp_path):
    """A stereo file of 16 bits, and its samples."""
    phase = np.arange(RATE)[:, None, None] / RATE * 2 * np.pi * np.array([[220, 450, 1800], [300, 950, 3300]])
    samples = np.rint(np.sin(phase).sum(2) * 8000).astype(np.int16)
    sf.write(tmp_path / "in.wav", samples, RATE, "PCM_16")
    return tmp_path / "in.wav", samples.astype(np.float32) / 32768


@pytest.mark.parametrize("program", LOSSLESS)
def test_their_lossless_files_are_read_exactly(source, tmp_path, program):
    path, samples = source
    run(LOSSLESS[program], IN=path, OUT=tmp_path / "out")
    (made,) = tmp_path.glob("out.*")
    assert np.array_equal(read(made)[1], samples)


@pytest.mark.parametrize("program", PIPED)
def test_their_pipes_are_read_exactly(source, program):
    path, samples = source
    sf.write(path.with_suffix(".wav.flac"), samples, RATE, "PCM_16", format="FLAC")
    assert np.array_equal(read(io.BytesIO(run(PIPED[program], IN=path)))[1], samples)


@pytest.mark.parametrize("program", LOSSY)
def test_their_lossy_files_are_as_long_and_alike(source, tmp_path, program):
    path, samples = source
    run(LOSSY[program], IN=path, OUT=tmp_path / "out")
    (made,) = tmp_path.glob("out.*")
    found = read(made)[1]
    assert abs(len(found) - len(samples)) <= (1152 * 3 if program == "lame" else 0)
    late = 1105 if program == "lame" and len(found) > len(samples) else 0
    there = found[late : late + len(samples)]
    assert np.corrcoef(there[:, 0], samples[: len(there), 0])[0, 1] > 0.98


@pytest.mark.parametrize("program", READERS)
def test_they_read_our_files_exactly(tmp_path, program):
    suffix, command = READERS[program]
    samples = noise(RATE // 2, 2)
    write(tmp_path / f"a{suffix}", samples)
    ours = read(tmp_path / f"a{suffix}")[1]
    theirs = np.frombuffer(run(command, FILE=tmp_path / f"a{suffix}"), "<i2").reshape(-1, 2)
    assert np.array_equal(theirs, np.rint(ours * 32768).astype(np.int16))


def test_a_recording_in_g722_joins_a_corpus(source, tmp_path):
    path, samples = source
    run(
        ("ffmpeg", "-v", "error", "-i", "IN", "-ac", "1", "-ar", "16000", "-f", "g722", "OUT"),
        IN=path,
        OUT=tmp_path / "a.g722",
    )
    found, rate = decode("a.g722", (tmp_path / "a.g722").read_bytes())
    assert rate == 16_000 and abs(len(found) - len(samples)) < 100
