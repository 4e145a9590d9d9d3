"""Extraction of audio files from Debian packages, zip archives (.pk3, .wz) and Qt resource files (.rcc), in memory, one at a time."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rvqcodec.errors import AudioError

AUDIO = frozenset({".ogg", ".oga", ".wav", ".flac", ".mp3", ".opus", ".aif", ".aiff", ".g722"})
ZIPS = frozenset({".pk3", ".zip", ".wz"})
COPYRIGHT = "copyright"

_RCC_COMPRESSED, _RCC_FOLDER, _RCC_ZSTD = 1, 2, 4


def read_package(package: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each audio file of a .deb and of the archives inside it, and its copyright file.

    Args:
        package: A .deb file.

    Raises:
        AudioError: The package or an archive in it can't be read.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield from _audio_members(tar)
        except tarfile.TarError as error:
            raise AudioError(f"cannot unpack {package.name}: {error}") from error


def _audio_members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        path = member.name.removeprefix("./")
        is_copyright = path.startswith("usr/share/doc/") and path.endswith("/copyright")
        stream = tar.extractfile(member) if member.isfile() and (is_copyright or _may_hold_audio(path)) else None
        if stream is None:
            continue
        if is_copyright:
            yield COPYRIGHT, stream.read()
        else:
            yield from open_container(path, stream.read())


def _may_hold_audio(path: str) -> bool:
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in AUDIO or suffix in ZIPS or suffix == ".rcc"


def open_container(path: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the audio files in a zip or .rcc file under `path/inner`, or the file itself if it is audio.

    Raises:
        AudioError: The container is damaged.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in AUDIO:
        yield path, data
    elif suffix in ZIPS:
        yield from ((f"{path}/{inner}", content) for inner, content in read_zip(data))
    elif suffix == ".rcc":
        yield from ((f"{path}/{inner}", content) for inner, content in read_rcc(data))


def read_zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each audio file of a zip archive.

    Raises:
        AudioError: The archive is damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if PurePosixPath(name).suffix.lower() in AUDIO:
                    yield name, archive.read(name)
    except zipfile.BadZipFile as error:
        raise AudioError(f"not a complete zip archive: {error}") from error


def read_rcc(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each audio file of a Qt resource file.

    Layout: header `qres`, version, offsets of tree, data and names; a tree of nodes of 14 bytes (22 from version 2 on), root first; names
    as length, hash and UTF-16; data as length and bytes, zlib-compressed after four bytes of uncompressed length if flagged. Entries
    compressed with Zstandard are skipped.

    Raises:
        AudioError: The file is not a Qt resource file, or damaged.

    Source: Qt 5 qtbase, src/tools/rcc/rcc.cpp.
    """
    try:
        if data[:4] != b"qres":
            raise AudioError("not a Qt resource file")
        version, tree, payload, names = struct.unpack_from(">4I", data, 4)
        yield from _walk_rcc(data, tree, payload, names, 22 if version >= 2 else 14)
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise AudioError(f"damaged Qt resource file: {error}") from error


def _walk_rcc(data: bytes, tree: int, payload: int, names: int, node_bytes: int) -> Iterator[tuple[str, bytes]]:
    pending, n_nodes = [(0, "")], max(1, (len(data) - tree) // node_bytes)
    for _ in range(n_nodes):
        if not pending:
            return
        node, folder = pending.pop()
        start = tree + node * node_bytes
        name_at, flags = struct.unpack_from(">IH", data, start)
        path = folder + (_rcc_name(data, names + name_at) if node else "")
        if flags & _RCC_FOLDER:
            n_children, first = struct.unpack_from(">2I", data, start + 6)
            inside = path + "/" if path else ""
            pending.extend((child, inside) for child in range(first, first + min(n_children, n_nodes)))
        elif PurePosixPath(path).suffix.lower() in AUDIO and not flags & _RCC_ZSTD:
            (data_at,) = struct.unpack_from(">I", data, start + 10)
            yield path, _rcc_content(data, payload + data_at, bool(flags & _RCC_COMPRESSED))


def _rcc_name(data: bytes, start: int) -> str:
    (length,) = struct.unpack_from(">H", data, start)
    return data[start + 6 : start + 6 + 2 * length].decode("utf-16-be")


def _rcc_content(data: bytes, start: int, compressed: bool) -> bytes:
    (length,) = struct.unpack_from(">I", data, start)
    content = data[start + 4 : start + 4 + length]
    return zlib.decompress(content[4:]) if compressed else content
