"""Construction of the training corpus from Debian packages: one memory-mapped int16 file per kind, and a manifest.

A corpus folder holds `manifest.jsonl`, one recording a line, and `speech.int16`, `music.int16`, `effects.int16`:
48 kHz mono, little-endian, recordings concatenated. Packages are added one by one, their manifest lines last, so that a folder can be
used while it grows and an interrupted run can be resumed.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from rvqcodec.errors import AudioError, OutputError, RvqError
from rvqcodec.training.corpus.archives import COPYRIGHT, read_package
from rvqcodec.training.corpus.heldout import held_out_files
from rvqcodec.training.corpus.packages import KINDS, Package

SAMPLE_RATE = 48_000
MANIFEST = "manifest.jsonl"
SILENCE_DBFS = -60.0
MINIMUM_S = 0.1
VALID_PERCENT = 2
G722_DECODER = ("ffmpeg", "-v", "error", "-f", "g722", "-i", "pipe:0")

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One audio file of the corpus.

    Args:
        package: Debian package.
        version: The package's version.
        path: Path inside the package, through archives.
        sha256: Of the file's bytes, hexadecimal.
        licence: Short names from the package's copyright file.
        source_rate: Sample rate of the file, Hz.
        seconds: Duration.
        kind: "speech", "music" or "effects".
        split: "train", "valid" or "eval".
        offset: First sample in the kind's file.
        n_samples: Samples there.
    """

    package: str
    version: str
    path: str
    sha256: str
    licence: str
    source_rate: int
    seconds: float
    kind: str
    split: str
    offset: int
    n_samples: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus folder, opened.

    Args:
        recordings: The manifest.
        audio: The memory-mapped samples of each kind.
    """

    recordings: tuple[Recording, ...]
    audio: dict[str, Int16]

    def samples(self, recording: Recording) -> Int16:
        """Return a recording's samples, int16 [n_samples], as a view of the memory map."""
        return self.audio[recording.kind][recording.offset : recording.offset + recording.n_samples]


def open_corpus(folder: Path) -> Corpus:
    """Open a corpus folder.

    Raises:
        AudioError: The folder holds no manifest.
    """
    recordings = read_manifest(folder)
    if not recordings:
        raise AudioError(f"{folder} holds no corpus", hint="make one with: rvq train corpus")
    kinds = {recording.kind for recording in recordings}
    audio: dict[str, Int16] = {kind: np.memmap(_audio_path(folder, kind), dtype="<i2", mode="r") for kind in kinds}
    return Corpus(tuple(recordings), audio)


def read_manifest(folder: Path) -> list[Recording]:
    """Return the recordings of a corpus folder, none where there is no manifest.

    Raises:
        AudioError: The manifest is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return []
    try:
        return [Recording(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise AudioError(f"{path} is damaged: {error}") from error


def split_of(sha256: str, held_out: bool) -> str:
    """Return a file's split: "eval" in held-out packages and on the held-out list, else by its bytes: 2 % "valid", the rest "train"."""
    if held_out or sha256 in held_out_files():
        return "eval"
    return "valid" if int(sha256[:8], 16) % 100 < VALID_PERCENT else "train"


def build_corpus(folder: Path, debs: Path, packages: Iterable[Package], jobs: int = 1) -> Iterator[str]:
    """Download, unpack and decode the packages that the corpus lacks, and add them.

    Args:
        folder: The corpus.
        debs: Folder of downloaded packages.
        packages: In order; duplicates of earlier files are skipped.
        jobs: Decoding processes.

    Yields:
        One line about each package added.

    Raises:
        OutputError: The corpus can't be written.
        RvqError: A package can't be downloaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recordings = read_manifest(folder)
    _cut_audio(folder, recordings)
    done, seen = {recording.package for recording in recordings}, {recording.sha256 for recording in recordings}
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as executor:
        for package in packages:
            if package.name in done:
                continue
            added = _add_package(folder, find_package(debs, package.name), package, seen, executor)
            yield _describe(package, added)


def find_package(debs: Path, name: str) -> Path:
    """Return the .deb file of a package, downloaded with apt-get if necessary.

    Raises:
        RvqError: It can't be downloaded.
    """
    debs.mkdir(parents=True, exist_ok=True)
    if not list(debs.glob(f"{name}_*.deb")):
        process = _run(["apt-get", "download", name], cwd=debs)
        if process.returncode != 0:
            reason = process.stderr.decode(errors="replace").strip()
            raise RvqError(f"cannot download {name}: {reason}", hint="apt-get update, Debian bookworm main")
    return max(debs.glob(f"{name}_*.deb"))


def licences(copyright_text: str) -> str:
    """Return the licence names of a machine-readable copyright file, joined by commas, or "see copyright file"."""
    names = re.findall(r"^License:[ \t]*(\S[^\n]*)$", copyright_text, flags=re.MULTILINE)
    return ", ".join(sorted(set(names))) or "see copyright file"


def decode(path: str, data: bytes) -> tuple[Int16, int]:
    """Return a file as 48 kHz mono, int16 [n_samples], and its own sample rate in Hz; channels are averaged.

    Raises:
        AudioError: The file can't be decoded.
    """
    if path.endswith(".g722"):
        wave, rate = _decode_g722(data), 16_000
    else:
        try:
            channels, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot decode {path}: {error}") from error
        wave = channels.mean(axis=1)
    wave = soxr.resample(wave, rate, SAMPLE_RATE, quality="HQ")
    return np.round(np.clip(wave, -1.0, 1.0) * 32767.0).astype("<i2"), rate


def _decode_g722(data: bytes) -> npt.NDArray[np.float32]:
    """Return a G.722 file at 16 kHz: soundfile has no decoder for it, ffmpeg has."""
    process = _run([*G722_DECODER, "-f", "f32le", "-ac", "1", "-ar", "16000", "pipe:1"], data)
    if process.returncode != 0:
        raise AudioError(f"ffmpeg cannot decode G.722: {process.stderr.decode(errors='replace').strip()}")
    return np.frombuffer(process.stdout, dtype="<f4")


def _decode_or_none(item: tuple[str, bytes]) -> tuple[Int16, int] | None:
    """Return the decoded file, or None if it is damaged, too short or silent."""
    try:
        wave, rate = decode(*item)
    except AudioError:
        return None
    if len(wave) < MINIMUM_S * SAMPLE_RATE:
        return None
    power = float(np.mean(np.square(wave.astype(np.float32) / 32768.0)))
    return (wave, rate) if power > 10 ** (SILENCE_DBFS / 10) else None


def _add_package(
    folder: Path, deb: Path, package: Package, seen: set[str], executor: Executor | None
) -> list[Recording]:
    """Append a package's audio to the corpus, then its lines to the manifest, and return them."""
    version, (licence, files) = _version(deb), _new_files(deb, seen)
    items = [(path, data) for path, (data, _) in files.items()]
    decoded = executor.map(_decode_or_none, items, chunksize=8) if executor else map(_decode_or_none, items)
    sizes = {kind: _size(folder, kind) for kind in KINDS}
    added: list[Recording] = []
    for (path, (_, sha256)), result in zip(files.items(), decoded, strict=True):
        if result is None:
            continue
        wave, rate = result
        kind = package.kind_of("/" + path)
        recording = Recording(
            package=package.name,
            version=version,
            path=path,
            sha256=sha256,
            licence=licence,
            source_rate=rate,
            seconds=round(len(wave) / SAMPLE_RATE, 3),
            kind=kind,
            split=split_of(sha256, package.group == "eval"),
            offset=sizes[kind],
            n_samples=len(wave),
        )
        _append(_audio_path(folder, kind), wave.tobytes())
        sizes[kind] += len(wave)
        added.append(recording)
    lines = "".join(json.dumps(asdict(recording), ensure_ascii=False) + "\n" for recording in added)
    _append(folder / MANIFEST, lines.encode())
    return added


def _new_files(deb: Path, seen: set[str]) -> tuple[str, dict[str, tuple[bytes, str]]]:
    """Return a package's licences, and bytes and SHA-256 of the audio files by path, without duplicates of `seen`."""
    licence, files = licences(""), {}
    for path, data in read_package(deb):
        if path == COPYRIGHT:
            licence = licences(data.decode(errors="replace"))
        elif (sha256 := hashlib.sha256(data).hexdigest()) not in seen:
            seen.add(sha256)
            files[path] = (data, sha256)
    return licence, files


def _version(deb: Path) -> str:
    process = _run(["dpkg-deb", "-f", str(deb), "Version"])
    if process.returncode != 0:
        raise AudioError(f"{deb.name} is not a Debian package")
    return process.stdout.decode().strip()


def _run(command: list[str], data: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a program with `data` on its standard input.

    Raises:
        RvqError: The program isn't installed.
    """
    try:
        return subprocess.run(command, input=data, cwd=cwd, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise RvqError(f"{command[0]} is not installed", hint="needed: Debian or Ubuntu, and ffmpeg") from error


def _audio_path(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.int16"


def _size(folder: Path, kind: str) -> int:
    path = _audio_path(folder, kind)
    return path.stat().st_size // 2 if path.exists() else 0


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


def _cut_audio(folder: Path, recordings: list[Recording]) -> None:
    """Truncate audio without a manifest line, left by an interrupted run."""
    for kind in KINDS:
        end = max((r.offset + r.n_samples for r in recordings if r.kind == kind), default=0)
        if _size(folder, kind) > end:
            with _audio_path(folder, kind).open("r+b") as file:
                file.truncate(2 * end)


def _describe(package: Package, added: list[Recording]) -> str:
    hours = math.fsum(recording.seconds for recording in added) / 3600
    return f"{package.name}: {len(added)} files, {hours:.2f} h"
