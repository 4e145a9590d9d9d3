"""Tags of every container: written, seen by players, read back."""

import io
import logging

import mutagen.id3
import numpy as np
import pytest
import soundfile as sf

from rvqcodec.formats.audio.tags import MAX_TAG_BYTES, chunk_tags, clean_tags, info_chunks, read_tags, write_tags
from rvqcodec.formats.audio.wav import pack_chunk

KINDS = {
    "wav": ("WAV", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
}
TAGS = {
    "title": "Tāl, 音楽",
    "artist": "Ålesund Quartet",
    "album": "Album; with semicolon",
    "date": "2021",
    "tracknumber": "3/12",
    "genre": "Jazz",
    "comment": "two\nlines",
    "copyright": "© us",
    "mood": "calm 🙂",
}


def make(path, kind):
    time = np.arange(8000) / 8000
    sf.write(path, 0.1 * np.sin(440 * 2 * np.pi * time), 8000, KINDS[kind][1], format=KINDS[kind][0])
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_tags_come_back_and_samples_stay(tmp_path, kind):
    path = make(tmp_path / "under.tmp", kind)
    before = sf.read(path)[0]
    assert read_tags(path) == {}
    assert write_tags(path, TAGS)
    assert read_tags(path) == TAGS
    with path.open("rb") as file:
        assert read_tags(file) == TAGS
    assert np.array_equal(sf.read(path)[0], before)
    with sf.SoundFile(path) as file:
        assert (file.title, file.artist) == (TAGS["title"], TAGS["artist"])


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff"])
def test_what_libsndfile_writes_is_read(tmp_path, kind):
    with sf.SoundFile(tmp_path / "a", "w", 8000, 1, KINDS[kind][1], format=KINDS[kind][0]) as file:
        file.title, file.artist, file.comment = "Tāl", "Ålesund Quartet", "hm"
        file.write(np.zeros(100))
    assert read_tags(tmp_path / "a") == {"title": "Tāl", "artist": "Ålesund Quartet", "comment": "hm"}


def test_several_values_are_joined(tmp_path):
    path = make(tmp_path / "a.flac", "flac")
    file = mutagen.File(path)
    file.tags["ARTIST"] = ["one", "two", "one"]
    file.tags["Mood"] = ["blue"]
    file.save()
    assert read_tags(path) == {"artist": "one; two", "mood": "blue"}


def test_keys_and_text_are_cleaned():
    dirty = [
        (" Title ", "a\0b\x07\x9fc\td\r\ne "),
        ("a:b", "x"),
        ("x" * 65, "y"),
        ("", "z"),
        ("empty", " "),
        ("s", "\ud800u"),
    ]
    assert clean_tags(dirty) == {"title": "abc\td\ne", "a_b": "x", "s": "u"}
    assert clean_tags([("METADATA_BLOCK_PICTURE", "AAAA"), ("encoder", "Lavf")]) == {}


def test_the_largest_are_dropped_when_there_is_too_much(caplog):
    tags = [("title", "t"), ("lyrics", "l" * 60000), ("notes", "n" * 30000), ("list", "i" * 30000)]
    with caplog.at_level(logging.WARNING):
        assert set(clean_tags(tags)) == {"title", "notes", "list"}
    assert "lyrics" in caplog.text
    assert clean_tags([("title", "t"), ("a", "é" * (MAX_TAG_BYTES // 2 + 1))]) == {"title": "t"}


def test_info_in_other_encodings():
    old = pack_chunk(b"INAM", "Été".encode("cp1252") + b"\0rubbish") + pack_chunk(b"IART", b"x")
    assert chunk_tags([(b"LIST", b"INFO" + old), (b"LIST", b"adtl" + old)]) == [("title", "Été"), ("artist", "x")]


def test_cut_chunks_are_survived():
    data = info_chunks(TAGS)
    name, payload = data[:4], data[8:]
    for length in range(0, len(payload), 7):
        chunk_tags(
            [(name, payload[:length]), (b"id3 ", payload[length:]), (b"id3 ", b"ID3\4\0\0\0\0\x7f\x7f" + payload)]
        )


def test_id3_wins_over_info():
    file = io.BytesIO()
    frames = mutagen.id3.ID3()
    frames.add(mutagen.id3.TIT2(text=["long title"]))
    frames.add(mutagen.id3.APIC(data=b"picture"))
    frames.add(mutagen.id3.COMM(desc="iTunNORM", text=["0000"]))
    frames.save(file)
    info = b"INFO" + pack_chunk(b"INAM", b"long tit") + pack_chunk(b"IART", b"x")
    assert chunk_tags([(b"LIST", info), (b"id3 ", file.getvalue())]) == [("artist", "x"), ("title", "long title")]


@pytest.mark.parametrize(
    "data", [b"", b"fLaC", b"OggS" + bytes(50), b"\xff\xfb" + bytes(50), b"FORM\0\0\0\0AIFFSSND", b"text"]
)
def test_what_holds_no_tags_is_survived(tmp_path, data):
    path = tmp_path / "a"
    path.write_bytes(data)
    assert read_tags(path) == {}


@pytest.mark.parametrize("data", [b"", b"fLaC" + bytes(50), b"OggS" + bytes(50), b"caff" + bytes(50)])
def test_tags_that_cannot_be_written_lose_nothing(tmp_path, caplog, data):
    path = tmp_path / "a"
    path.write_bytes(data)
    assert not write_tags(path, TAGS)
    assert path.read_bytes() == data and "tags not written" in caplog.text


def test_no_tags_change_nothing(tmp_path):
    path = make(tmp_path / "a.wav", "wav")
    before = path.read_bytes()
    assert write_tags(path, {}) and path.read_bytes() == before
    assert info_chunks({}) == b""


def test_an_absent_file_has_none(tmp_path, caplog):
    assert read_tags(tmp_path / "absent") == {} and "cannot be read" in caplog.text
