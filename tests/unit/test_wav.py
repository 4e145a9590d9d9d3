"""WAV on pipes: inverse of itself, equal to libsndfile, and unharmed by lying headers."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from rvqcodec.formats.audio.pcm import SampleFormat, quantize
from rvqcodec.formats.audio.provenance import HashingReader
from rvqcodec.formats.audio.wav import WavReader, WavWriter, append_chunks, pack_chunk, read_header
from tests.audiofiles import pipe, riff

FORMATS = [f for f in SampleFormat if f]


def noise(n_samples, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n_samples, channels)).astype(np.float32)


def write(levels, sample_format, file=None, channels=1, sample_rate=8000, n_samples=None, **options):
    file = file or io.BytesIO()
    writer = WavWriter(
        file, sample_rate=sample_rate, channels=channels, sample_format=sample_format, n_samples=n_samples, **options
    )
    if len(levels):
        writer.write(levels)
    writer.finish()
    return file.getvalue()


def read(data, step=1000):
    stream = HashingReader(pipe(data, step))
    header = read_header(stream)
    if header is None or not header.sample_format:
        return None
    reader = WavReader(stream, header)
    parts = [np.zeros((0, header.channels), np.float32)]
    while len(block := reader.read(100)):
        parts.append(block)
    return header, np.concatenate(parts), reader.read_tail()


INFO = pack_chunk(b"LIST", b"INFO" + pack_chunk(b"INAM", b"abc\0"))


@given(
    n_samples=st.integers(0, 300),
    channels=st.integers(1, 8),
    sample_format=st.sampled_from(FORMATS),
    known=st.booleans(),
    rewindable=st.booleans(),
    step=st.integers(1, 5000),
)
def test_reading_undoes_writing(n_samples, channels, sample_format, known, rewindable, step):
    levels, _ = quantize(noise(n_samples, channels), sample_format, 0)
    data = write(
        levels,
        sample_format,
        channels=channels,
        sample_rate=44100,
        n_samples=n_samples if known else None,
        rewindable=rewindable,
    )
    header, samples, _ = read(data, step)
    assert (header.sample_rate, header.channels, header.sample_format) == (44100, channels, sample_format)
    assert np.array_equal(quantize_back(samples, sample_format), levels)
    library, rate = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert rate == 44100 and np.array_equal(library, samples)


def quantize_back(samples, sample_format):
    """Undo scaling without dither."""
    if not sample_format.is_integer:
        return samples.astype(np.float64 if sample_format is SampleFormat.F64 else np.float32)
    scaled = samples.astype(np.float64) * sample_format.full_scale
    if sample_format is SampleFormat.S32:  # float32 holds 24 bits of them
        return np.clip(scaled, -(2**31), 2**31 - 1)
    return np.rint(scaled).astype(np.int64)


def test_open_sizes_are_ffffffff_on_a_pipe_and_true_in_a_file():
    levels, _ = quantize(noise(3), SampleFormat.U8, 0)
    assert write(levels, SampleFormat.U8)[40:44] == b"\xff" * 4
    for data in (write(levels, SampleFormat.U8, n_samples=3), write(levels, SampleFormat.U8, rewindable=True)):
        assert len(data) % 2 == 0 and int.from_bytes(data[4:8], "little") == len(data) - 8
        assert sf.info(io.BytesIO(data)).frames == 3


def test_rf64_where_it_must_be():
    file = io.BytesIO()
    WavWriter(file, sample_rate=48000, channels=2, sample_format=SampleFormat.S24, n_samples=800_000_000)
    head = file.getvalue()
    assert head[:8] == b"RF64\xff\xff\xff\xff" and head[12:16] == b"ds64"
    assert struct.unpack_from("<QQQ", head, 20) == (len(head) - 8 + 4_800_000_000, 4_800_000_000, 800_000_000)
    assert read_header(HashingReader(io.BytesIO(head))).n_data_bytes == 4_800_000_000
    small = write(quantize(noise(5), SampleFormat.S16, 0)[0], SampleFormat.S16, rewindable=True, always_rf64=True)
    assert sf.info(io.BytesIO(small)).format == "RF64" and len(read(small)[1]) == 5


def test_promises_are_kept():
    with pytest.raises(ValueError, match="more samples"):
        write(np.zeros((3, 1), np.int16), SampleFormat.S16, n_samples=2)
    with pytest.raises(ValueError, match="fewer samples"):
        write(np.zeros((1, 1), np.int16), SampleFormat.S16, n_samples=2)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_libsndfile_files_read_the_same(subtype, kind):
    file = io.BytesIO()
    sf.write(file, noise(777, 2).astype(np.float64), 22050, subtype, format=kind)
    expected = sf.read(io.BytesIO(file.getvalue()), dtype="float32", always_2d=True)[0]
    header, samples, _ = read(file.getvalue(), 7)
    assert header.sample_rate == 22050 and np.array_equal(samples, expected)


@pytest.mark.parametrize(
    ("data", "n_samples"),
    [
        (riff(0, 0, b"\1\0" * 10), 10),
        (riff(0, 36, b"\1\0" * 10), 10),
        (riff(0, 36 + len(INFO), b"", INFO), 0),
        (riff(0xFFFFFFFF, 0xFFFFFFFF, b"\1\0" * 10), 10),
        (riff(0x7FFFF000, 0x7FFFF024, b"\1\0" * 10), 10),
        (riff(20, 36 + 20 + len(INFO), b"\1\0" * 10, INFO), 10),
        (riff(19, 36 + 20 + len(INFO), b"\1\0" * 10, INFO), 9),
        (riff(2000, 2036, b"\1\0" * 10 + b"\1"), 10),
        (riff(20, 56, b"\1\0" * 10, b"rubbish that is no chunk"), 10),
        (riff(20, 56, b"\1\0" * 10, b"LIST\xff\xff\xff\xff"), 10),
    ],
)
def test_sizes_as_they_come(data, n_samples):
    for step in (1, 13, 100000):
        assert len(read(data, step)[1]) == n_samples


def test_chunks_before_and_after_are_found():
    odd = pack_chunk(b"note", b"abc")
    data = b"RIFF\0\0\0\0WAVE" + odd + INFO + riff(20, 0, b"\1\0" * 10, odd + INFO)[12:]
    header, samples, tail = read(data)
    assert len(samples) == 10 and header.chunks == tuple(tail) == ((b"LIST", INFO[8:]),)


def test_every_prefix_is_read_as_far_as_it_goes():
    data = riff(20, 36 + 20 + len(INFO), b"\1\0" * 10, INFO)
    for length in range(len(data)):
        found = read(data[:length])
        assert (found is None) == (length < 44)
        if found is not None:
            assert len(found[1]) == min(10, (length - 44) // 2)


def test_every_flipped_byte_is_survived():
    data = riff(20, 36 + 20 + len(INFO), b"\1\0" * 10, INFO)
    for position in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            read(data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :])


@pytest.mark.parametrize("name", [b"LIST", b"junk", b"fmt ", b"data"])
def test_lying_sizes_take_no_memory(name):
    data = riff(20, 56, b"\1\0" * 10)[: 12 if name == b"fmt " else 36] + name + b"\xf0\xff\xff\xff" + bytes(50)
    tracemalloc.start()
    read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize(
    "fmt",
    [
        struct.pack("<HHIIHH", 2, 1, 8000, 8000, 256, 4),  # ADPCM
        struct.pack("<HHIIHH", 1, 0, 8000, 0, 0, 16),  # no channels
        struct.pack("<HHIIHH", 1, 1, 8000, 32000, 4, 16),  # 16 bits in 4 bytes
        struct.pack("<HHIIHH", 1, 2, 8000, 16000, 2, 16),
        b"\1\0",
    ],
)
def test_what_is_not_ours_is_left_to_libsndfile(fmt):
    assert read(riff(20, 56, b"\1\0" * 10, fmt=fmt)) is None
    assert read(b"RIFX" + riff(20, 56, b"")[4:]) is None
    assert read(b"fLaC" + bytes(100)) is None
    assert read(b"") is None


def test_speakers_are_placed():
    data = write(quantize(noise(4, 6), SampleFormat.S16, 0)[0], SampleFormat.S16, channels=6, n_samples=4)
    assert data[20:22] == b"\xfe\xff" and sf.info(io.BytesIO(data)).format == "WAVEX"


def test_chunks_are_appended_and_the_file_stays_valid():
    for always_rf64 in (False, True):
        n_samples = 4 if always_rf64 else 5  # libsndfile 1.2.2 misses chunks after odd samples in RF64
        levels, _ = quantize(noise(n_samples), SampleFormat.U8, 0)
        file = io.BytesIO(write(levels, SampleFormat.U8, rewindable=True, always_rf64=always_rf64))
        append_chunks(file, INFO)
        assert sf.SoundFile(io.BytesIO(file.getvalue())).title == "abc"
        size = file.getvalue()[20:28] if always_rf64 else file.getvalue()[4:8]
        assert int.from_bytes(size, "little") == len(file.getvalue()) - 8
        assert len(read(file.getvalue())[1]) == n_samples
    with pytest.raises(ValueError, match="neither"):
        append_chunks(io.BytesIO(b"fLaC" + bytes(100)), INFO)


def test_the_hash_is_of_all_bytes_read():
    import hashlib

    data = noise(5000).tobytes()
    reader = HashingReader(pipe(data))
    reader.read(10)
    reader.drain()
    assert reader.provenance() == (len(data), hashlib.blake2b(data, digest_size=16).digest())


def test_endless_tags_are_bounded():
    tail = pack_chunk(b"LIST", bytes(1 << 20)) * 20
    assert len(read(riff(20, 56, b"\1\0" * 10, tail), 1 << 20)[2]) == 16
    assert len(read(riff(20, 56, b"\1\0" * 10, b"LIST\0\0\0\0" * 10_001), 1 << 20)[2]) == 10_000


def test_a_cut_wav_is_read_as_far_as_it_goes_and_said_once(caplog):
    file = io.BytesIO()
    writer = WavWriter(file, sample_rate=8000, channels=1, sample_format=SampleFormat.S16, n_samples=100)
    writer.write(np.zeros((100, 1), np.int32))
    writer.finish()
    cut = HashingReader(io.BytesIO(file.getvalue()[:-80]))
    reader = WavReader(cut, read_header(cut))
    assert [len(reader.read(40)) for _ in range(3)] == [40, 20, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "the WAV is truncated: 80 bytes of samples are missing"
    ]
