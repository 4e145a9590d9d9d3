"""Provenance chunk of decoded WAV files, by which a resumed run recognises outputs that are up to date.

A RIFF chunk `rvqp` of 56 bytes at the end of the file, which other programs skip: size of the source (u64 little-endian), and BLAKE2b-128
of the source, of the settings, and of the file from byte 28 (after the size fields) up to this chunk.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO, NamedTuple

from rvqcodec.formats.audio.provenance import HASH_BYTES, PIECE_BYTES, Provenance
from rvqcodec.formats.audio.wav import append_chunks, pack_chunk

NAME = b"rvqp"
PAYLOAD_BYTES = 8 + 3 * HASH_BYTES
MARK_BYTES = 8 + PAYLOAD_BYTES
FIRST_HASHED = 28
RIFF = (b"RIFF", b"RF64")


class Mark(NamedTuple):
    """The source, and the BLAKE2b-128 of the settings."""

    source: Provenance
    settings: bytes


def write_mark(file: BinaryIO, mark: Mark) -> bool:
    """Append a mark to a complete WAV file, open for reading and writing; return False for other files and full ones.

    Raises:
        OSError: The file can't be read or written.
    """
    file.seek(0)
    if file.read(4) not in RIFF:
        return False
    size = file.seek(0, 2)
    body = _body_digest(file, size - FIRST_HASHED, bytes(size & 1))
    payload = mark.source.n_bytes.to_bytes(8, "little") + mark.source.digest + mark.settings + body
    try:
        append_chunks(file, pack_chunk(NAME, payload))
    except ValueError:
        return False
    return True


def read_mark(file: BinaryIO, *, whole: bool = True) -> Mark | None:
    """Return the mark of an open WAV file, or None if it has none.

    Args:
        file: The file; its position is lost.
        whole: Return None also if the contents have changed since.

    Raises:
        OSError: The file can't be read.
    """
    payload = _payload(file)
    if payload is None:
        return None
    size, hashes = int.from_bytes(payload[:8], "little"), payload[8:]
    source, settings, body = (hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES))
    if whole and _body_digest(file, file.seek(0, 2) - MARK_BYTES - FIRST_HASHED) != body:
        return None
    return Mark(Provenance(size, source), settings)


def _payload(file: BinaryIO) -> bytes | None:
    size = file.seek(0, 2)
    if size < FIRST_HASHED + MARK_BYTES:
        return None
    file.seek(0)
    magic = file.read(4)
    file.seek(size - MARK_BYTES)
    chunk = file.read(MARK_BYTES)
    return chunk[8:] if magic in RIFF and chunk[:8] == NAME + PAYLOAD_BYTES.to_bytes(4, "little") else None


def _body_digest(file: BinaryIO, n_bytes: int, padding: bytes = b"") -> bytes:
    file.seek(FIRST_HASHED)
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    while n_bytes > 0 and (piece := file.read(min(n_bytes, PIECE_BYTES))):
        digest.update(piece)
        n_bytes -= len(piece)
    digest.update(padding)
    return digest.digest()
