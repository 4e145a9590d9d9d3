import hashlib
import io
import json
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from rvqcodec.errors import AudioError, RvqError
from rvqcodec.training.corpus import corpus
from rvqcodec.training.corpus.archives import open_container, read_rcc
from rvqcodec.training.corpus.packages import CORE, EVALUATION, KINDS, Package, select


def wav_bytes(seconds=0.5, rate=16_000, channels=2, level=0.1, seed=0):
    samples = np.random.default_rng(seed).normal(0, level, (round(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def rcc_bytes(files):
    """Return a version-1 resource file with a folder `a` that holds `files`: name to (content, compressed)."""
    names, payload = b"", b""

    def name(text):
        nonlocal names
        start = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return start

    def content(data, compressed):
        nonlocal payload
        start = len(payload)
        stored = struct.pack(">I", len(data)) + zlib.compress(data) if compressed else data
        payload += struct.pack(">I", len(stored)) + stored
        return start

    nodes = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", name("a"), 2, len(files), 2)
    for text, (data, compressed) in files.items():
        nodes += struct.pack(">IHHHI", name(text), int(compressed), 0, 0, content(data, compressed))
    head = 20
    offsets = (1, head, head + len(nodes), head + len(nodes) + len(payload))
    return b"qres" + struct.pack(">4I", *offsets) + nodes + payload + names


def make_deb(folder, name, files):
    tree = folder / f"tree-{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n"
    (tree / "DEBIAN" / "control").write_text(control)
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    command = ["dpkg-deb", "-Znone", "--build", str(tree), str(folder / f"{name}_1.0-1_all.deb")]
    subprocess.run(command, check=True, capture_output=True)


def test_rcc_gives_its_audio_plain_and_compressed():
    data = rcc_bytes({"one.ogg": (b"plain", False), "two.wav": (b"packed" * 9, True), "three.qml": (b"text", False)})
    assert sorted(open_container("x/y.rcc", data)) == [
        ("x/y.rcc/a/one.ogg", b"plain"),
        ("x/y.rcc/a/two.wav", b"packed" * 9),
    ]


@pytest.mark.parametrize("data", [b"", b"nope" * 9, b"qres" + bytes(3), rcc_bytes({"one.ogg": (b"x", False)})[:30]])
def test_rcc_that_is_damaged_is_refused(data):
    with pytest.raises(AudioError):
        list(read_rcc(data))


def test_zip_gives_its_audio():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("sound/a.ogg", b"aa")
        archive.writestr("maps/a.bsp", b"bb")
    assert list(open_container("pak.pk3", file.getvalue())) == [("pak.pk3/sound/a.ogg", b"aa")]
    with pytest.raises(AudioError):
        list(open_container("pak.pk3", b"no zip"))


def test_split_is_by_bytes_and_stable():
    hashes = [hashlib.sha256(bytes([a, b])).hexdigest() for a in range(100) for b in range(100)]
    splits = [corpus.split_of(sha256, held_out=False) for sha256 in hashes]
    assert splits == [corpus.split_of(sha256, held_out=False) for sha256 in hashes]
    assert set(splits) == {"train", "valid"}
    assert 0.015 < splits.count("valid") / len(splits) < 0.025
    assert {corpus.split_of(sha256, held_out=True) for sha256 in hashes} == {"eval"}


def test_packages_are_54_and_4_with_known_kinds():
    assert (len(CORE), len({package.name for package in select(big=True)})) == (54, 54 + 4 + 19)
    assert select(big=False)[: len(EVALUATION)] == EVALUATION
    assert all(p.kind in KINDS and {kind for _, kind in p.patterns} <= set(KINDS) for p in select(big=True))


def test_kind_follows_the_path():
    package = next(package for package in CORE if package.name == "tuxpaint-stamps-default")
    assert package.kind_of("/usr/share/tuxpaint/stamps/cat_desc_fr.ogg") == "speech"
    assert package.kind_of("/usr/share/tuxpaint/stamps/cat.ogg") == "effects"
    assert Package("p", "effects").kind_of("/usr/share/p/music/x.ogg") == "music"


def test_licences_are_named():
    assert corpus.licences("Files: *\nLicense: GPL-2\n text\n\nFiles: b\nLicense: CC0\n") == "CC0, GPL-2"
    assert corpus.licences("free prose") == "see copyright file"


def test_decode_averages_channels_and_resamples():
    wave, rate = corpus.decode("a.wav", wav_bytes(0.5, 16_000))
    assert (len(wave), rate, wave.dtype) == (24_000, 16_000, np.int16)
    with pytest.raises(AudioError):
        corpus.decode("a.wav", b"nothing")


@pytest.fixture
def debs(tmp_path):
    folder = tmp_path / "debs"
    folder.mkdir()
    same = wav_bytes(seed=1)
    sounds = "usr/share/p/sounds"
    make_deb(folder, "held", {f"{sounds}/a.wav": same})
    copyright_file = {"usr/share/doc/trained/copyright": b"License: CC0\n"}
    audio = {
        f"{sounds}/same.wav": same,
        f"{sounds}/silent.wav": wav_bytes(level=0.0),
        f"{sounds}/broken.wav": b"RIFF",
        f"{sounds}/b.wav": wav_bytes(seed=2),
        "usr/share/p/music/c.wav": wav_bytes(seed=3),
    }
    make_deb(folder, "trained", audio | copyright_file)
    return folder


def test_corpus_is_built_once_without_copies_and_silence(tmp_path, debs):
    packages = (Package("held", "effects", group="eval"), Package("trained", "effects"))
    folder = tmp_path / "corpus"
    lines = list(corpus.build_corpus(folder, debs, packages))
    assert lines == ["held: 1 files, 0.00 h", "trained: 2 files, 0.00 h"]
    opened = corpus.open_corpus(folder)
    rows = [(r.package, Path(r.path).name, r.kind, r.split, r.licence, r.version) for r in opened.recordings]
    assert rows[0] == ("held", "a.wav", "effects", "eval", "see copyright file", "1.0-1")
    assert {row[:3] + row[4:] for row in rows[1:]} == {
        ("trained", "b.wav", "effects", "CC0", "1.0-1"),
        ("trained", "c.wav", "music", "CC0", "1.0-1"),
    }
    for recording in opened.recordings:
        assert np.abs(opened.samples(recording).astype(float)).mean() > 100
    with (folder / "music.int16").open("ab") as file:
        file.write(bytes(10))
    assert list(corpus.build_corpus(folder, debs, packages)) == []
    assert (folder / "music.int16").stat().st_size == 48_000


def test_package_that_cannot_be_had_is_an_error(tmp_path, monkeypatch):
    result = subprocess.CompletedProcess([], 100, b"", b"E: Unable to locate package\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    with pytest.raises(RvqError, match="Unable to locate"):
        corpus.find_package(tmp_path, "nothing-like-this")


def test_missing_programs_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RvqError, match="apt-get is not installed"):
        corpus.find_package(tmp_path, "p")


def test_damaged_manifest_is_refused(tmp_path):
    with pytest.raises(AudioError):
        corpus.open_corpus(tmp_path)
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"package": "p"}) + "\n")
    with pytest.raises(AudioError, match="damaged"):
        corpus.open_corpus(tmp_path)
