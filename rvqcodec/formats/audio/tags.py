"""Tags (title, artist, ...) of audio files: RIFF INFO, ID3, Vorbis comments and AIFF text, under common lower-case keys."""

from __future__ import annotations

import io
import logging
import re
import struct
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from rvqcodec.formats.audio.provenance import HashingReader, from_start
from rvqcodec.formats.audio.wav import MAX_CHUNKS, append_chunks, pack_chunk, read_chunks, read_header

MAX_TAG_BYTES = 1 << 16
MAX_KEY_LENGTH = 64

# Exceptions of mutagen 1.48 on damaged files besides its own: IndexError was observed, the others are similar.
_MUTAGEN_LEAKS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, struct.error)

_log = logging.getLogger(__name__)

_INFO_KEYS = {
    b"INAM": "title",
    b"IART": "artist",
    b"IPRD": "album",
    b"ICRD": "date",
    b"ITRK": "tracknumber",
    b"IGNR": "genre",
    b"ICMT": "comment",
    b"ICOP": "copyright",
    b"IMUS": "composer",
    b"ISBJ": "subject",
    b"IKEY": "keywords",
    b"IENG": "engineer",
    b"ILNG": "language",
}
_ID3_KEYS = {
    "TIT2": "title",
    "TPE1": "artist",
    "TALB": "album",
    "TDRC": "date",
    "TRCK": "tracknumber",
    "TCON": "genre",
    "TCOP": "copyright",
    "TPE2": "albumartist",
    "TCOM": "composer",
    "TPOS": "discnumber",
    "TPUB": "organization",
    "TEXT": "lyricist",
    "TLAN": "language",
    "TIT3": "subtitle",
    "TSRC": "isrc",
    "TBPM": "bpm",
}
_AIFF_CHUNKS = {"title": b"NAME", "artist": b"AUTH", "copyright": b"(c) ", "comment": b"ANNO"}
_AIFF_KEYS = {name: key for key, name in _AIFF_CHUNKS.items()}

# Cover art isn't transferred; the encoder of the source isn't that of the output.
_NOT_CARRIED = frozenset({"metadata_block_picture", "coverart", "coverartmime", "encoder", "software"})


def clean_tags(tags: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return normalised tags: multiple values of a key are joined by "; ", the total is limited to 64 KiB.

    Keys are lower-case, of `[a-z0-9_ -]`, other characters become "_". Control characters except newline and tab are removed from the text.
    If the total exceeds 64 KiB, the largest tags are dropped with a logged warning.
    """
    kept: dict[str, list[str]] = {}
    for raw_key, raw_value in tags:
        key = re.sub("[^a-z0-9_ -]", "_", raw_key.strip().lower())
        value = _clean_text(raw_value)
        if key and len(key) <= MAX_KEY_LENGTH and key not in _NOT_CARRIED and value not in ("", *kept.get(key, ())):
            kept.setdefault(key, []).append(value)
    return _limit({key: "; ".join(values) for key, values in kept.items()})


def _clean_text(text: str) -> str:
    text = text.replace("\r\n", "\n").encode("utf-8", "ignore").decode()
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc").strip()


def _limit(tags: dict[str, str]) -> dict[str, str]:
    sizes = {key: len(key) + len(value.encode()) for key, value in tags.items()}
    excess = sum(sizes.values()) - MAX_TAG_BYTES
    for key in sorted(sizes, key=lambda key: -sizes[key]):
        if excess <= 0:
            break
        _log.warning("tag %s dropped: tags are more than %d bytes in all", key, MAX_TAG_BYTES)
        excess -= sizes[key]
        del tags[key]
    return tags


def read_tags(source: Path | BinaryIO) -> dict[str, str]:
    """Return the tags of an audio file, empty if there are none or they can't be read.

    Args:
        source: A file, or a seekable stream, whose position is kept.
    """
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                return clean_tags(_read(file))
        with from_start(source):
            return clean_tags(_read(source))
    except OSError as error:
        _log.warning("tags cannot be read: %s", error)
        return {}


def _read(file: BinaryIO) -> list[tuple[str, str]]:
    magic = file.read(12)
    file.seek(0)
    if magic[8:] == b"WAVE":
        return _read_wav(file)
    if magic[:4] == b"FORM":
        return _read_aiff(file)
    return _read_mutagen(file)


def _read_mutagen(file: BinaryIO) -> list[tuple[str, str]]:
    import mutagen

    try:
        found = mutagen.File(file)
    except (mutagen.MutagenError, *_MUTAGEN_LEAKS) as error:
        _log.warning("tags cannot be read: %s", error)
        return []
    if found is None or found.tags is None:
        return []
    if hasattr(found.tags, "getall"):
        return _id3_pairs(found.tags)
    return [(key, value) for key, value in found.tags if isinstance(value, str)]


def _id3_module() -> Any:
    """Return mutagen's ID3, which has no types."""
    import mutagen.id3

    return mutagen.id3


def _id3_pairs(frames: Any) -> list[tuple[str, str]]:
    """Return the text frames of ID3 as pairs of key and value."""
    pairs = []
    for frame in frames.values():
        if frame.FrameID == "TXXX":
            key = frame.desc
        elif frame.FrameID == "COMM":
            key = "" if frame.desc.startswith("iTun") else "comment"
        else:
            key = _ID3_KEYS.get(frame.FrameID, "")
        if key:
            pairs += [(key, str(text)) for text in frame.text]
    return pairs


def _read_wav(file: BinaryIO) -> list[tuple[str, str]]:
    stream = HashingReader(file)
    header = read_header(stream)
    if header is None:
        return []
    chunks = list(header.chunks)
    if header.n_data_bytes is not None and header.n_data_bytes < 1 << 62:
        file.seek(header.n_data_bytes + (header.n_data_bytes & 1), io.SEEK_CUR)
        chunks += read_chunks(stream)
    return chunk_tags(chunks)


def chunk_tags(chunks: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return the tags of `LIST` and `id3 ` chunks of a WAV as pairs; ID3 takes precedence.

    INFO declares no encoding: it is decoded as UTF-8, as libsndfile writes it, or else as Windows-1252.
    """
    info: list[tuple[str, str]] = []
    id3: list[tuple[str, str]] = []
    for name, payload in chunks:
        if name == b"LIST" and payload[:4] == b"INFO":
            info += _info_pairs(payload[4:])
        elif name in (b"id3 ", b"ID3 "):
            id3 += _id3_bytes_pairs(payload)
    known = {key for key, _ in id3}
    return [pair for pair in info if pair[0] not in known] + id3


def _info_pairs(payload: bytes) -> list[tuple[str, str]]:
    pairs = []
    position = 0
    while position + 8 <= len(payload):
        name, size = payload[position : position + 4], int.from_bytes(payload[position + 4 : position + 8], "little")
        text = payload[position + 8 : position + 8 + size]
        position += 8 + size + (size & 1)
        if name in _INFO_KEYS:
            pairs.append((_INFO_KEYS[name], _decode(text)))
    return pairs


def _decode(text: bytes) -> str:
    text = text.split(b"\0", 1)[0]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace")


def _id3_bytes_pairs(payload: bytes) -> list[tuple[str, str]]:
    from mutagen import MutagenError

    try:
        return _id3_pairs(_id3_module().ID3(io.BytesIO(payload)))
    except (MutagenError, *_MUTAGEN_LEAKS) as error:
        _log.warning("ID3 tags cannot be read: %s", error)
        return []


def _read_aiff(file: BinaryIO) -> list[tuple[str, str]]:
    """Return the tags of an AIFF: its text chunks, and ID3, which takes precedence."""
    id3 = _read_mutagen(file)
    known = {key for key, _ in id3}
    return [pair for pair in _aiff_text(file) if pair[0] not in known] + id3


def _aiff_text(file: BinaryIO) -> list[tuple[str, str]]:
    pairs = []
    file.seek(12)
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        size = int.from_bytes(head[4:], "big")
        if head[:4] in _AIFF_KEYS and size <= MAX_TAG_BYTES:
            pairs.append((_AIFF_KEYS[head[:4]], _decode(file.read(size))))
            file.seek(size & 1, io.SEEK_CUR)
        else:
            file.seek(size + (size & 1), io.SEEK_CUR)
    return pairs


def info_chunks(tags: Mapping[str, str]) -> bytes:
    """Return the chunks of tags for a WAV: INFO, and ID3 if INFO has no name for some key."""
    names = {key: name for name, key in _INFO_KEYS.items()}
    fields = b"".join(pack_chunk(names[key], value.encode() + b"\0") for key, value in tags.items() if key in names)
    info = pack_chunk(b"LIST", b"INFO" + fields) if fields else b""
    return info if names.keys() >= tags.keys() else info + pack_chunk(b"id3 ", _id3_bytes(tags))


def _aiff_chunks(tags: Mapping[str, str]) -> bytes:
    text = [pack_chunk(name, tags[key].encode(), ">") for key, name in _AIFF_CHUNKS.items() if key in tags]
    return b"".join(text) + pack_chunk(b"ID3 ", _id3_bytes(tags), ">")


def _id3_frames(tags: Mapping[str, str]) -> Any:
    id3 = _id3_module()
    names = {key: name for name, key in _ID3_KEYS.items()}
    frames = id3.ID3()
    for key, value in tags.items():
        if key == "comment":
            frames.add(id3.COMM(encoding=3, lang="XXX", desc="", text=[value]))
        elif key in names:
            frames.add(id3.Frames[names[key]](encoding=3, text=[value]))
        else:
            frames.add(id3.TXXX(encoding=3, desc=key, text=[value]))
    return frames


def _id3_bytes(tags: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    _id3_frames(tags).save(file, padding=lambda _: 0)
    return file.getvalue()


def write_tags(target: Path | BinaryIO, tags: Mapping[str, str]) -> bool:
    """Write tags to a complete audio file, recognised by its first bytes: FLAC, Ogg, Opus, MP3, AIFF, WAV.

    Args:
        target: The file, or one that is open for reading and writing; it is changed in place.
        tags: As from `read_tags`.

    Returns:
        Whether they were written; if not, a warning is logged and the audio is unchanged.
    """
    from mutagen import MutagenError

    tags = clean_tags(tags.items())
    if not tags:
        return True
    try:
        if isinstance(target, Path):
            with target.open("rb+") as file:
                _write(file, tags)
        else:
            _write(target, tags)
    except (MutagenError, OSError, *_MUTAGEN_LEAKS) as error:
        _log.warning("tags not written: %s", error or type(error).__name__)
        return False
    return True


def _write(file: BinaryIO, tags: Mapping[str, str]) -> None:
    file.seek(0)
    magic = file.read(4)
    if magic in (b"RIFF", b"RF64"):
        append_chunks(file, info_chunks(tags))
    elif magic == b"FORM":
        append_chunks(file, _aiff_chunks(tags))
    elif magic in (b"fLaC", b"OggS"):
        _write_comments(file, tags)
    elif magic[:3] == b"ID3" or magic[:1] == b"\xff":
        file.seek(0)
        _id3_frames(tags).save(file)
    else:
        raise ValueError("this kind of file holds no tags")


def _write_comments(file: BinaryIO, tags: Mapping[str, str]) -> None:
    """Write Vorbis comments."""
    import mutagen

    file.seek(0)
    found = mutagen.File(file)
    if found is None:
        raise ValueError("this kind of file holds no tags")
    if found.tags is None:
        found.add_tags()
    for key, value in tags.items():
        found.tags[key] = [value]
    file.seek(0)
    found.save(file)
