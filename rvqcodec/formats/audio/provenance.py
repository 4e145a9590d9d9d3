"""Provenance of an input: its size and hash, computed while it is read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, NamedTuple

PIECE_BYTES = 1 << 20
HASH_BYTES = 16


class Provenance(NamedTuple):
    """Size in bytes, and BLAKE2b-128, of a whole input."""

    n_bytes: int
    digest: bytes


class HashingReader:
    """Sequential reader that counts and hashes the bytes read.

    Args:
        stream: Must not be read by anything else.
        keep: Whether to keep all bytes read in `kept`, until `forget()`.
    """

    def __init__(self, stream: BinaryIO, *, keep: bool = False) -> None:
        self._stream = stream
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES)
        self.n_bytes = 0
        self.kept: list[bytes] | None = [] if keep else None

    def read(self, n_bytes: int) -> bytes:
        """Return `n_bytes` bytes, fewer only at the end of the stream; memory grows as bytes arrive."""
        pieces: list[bytes] = []
        missing = n_bytes
        while missing and (piece := self._stream.read(min(missing, PIECE_BYTES))):
            pieces.append(piece)
            missing -= len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._hash.update(data)
        self.n_bytes += len(data)
        if self.kept is not None:
            self.kept.append(data)
        return data

    def skip(self, n_bytes: int) -> None:
        """Skip `n_bytes` bytes, or to the end."""
        while n_bytes and (piece := self.read(min(n_bytes, PIECE_BYTES))):
            n_bytes -= len(piece)

    def drain(self) -> None:
        """Read to the end of the stream."""
        while self.read(PIECE_BYTES):
            pass

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def forget(self) -> None:
        """Stop keeping the bytes read."""
        self.kept = None

    def provenance(self) -> Provenance:
        """Return size and hash of the bytes read so far."""
        return Provenance(self.n_bytes, self._hash.digest())


@contextlib.contextmanager
def from_start(file: BinaryIO) -> Iterator[BinaryIO]:
    """Lend a file to be read from its start; whoever else reads it finds it where it was."""
    position = file.tell()
    file.seek(0)
    try:
        yield file
    finally:
        file.seek(position)


def file_provenance(file: BinaryIO) -> Provenance:
    """Return size and hash of an open file; its position stays.

    Raises:
        OSError: It can't be read.
    """
    with from_start(file):
        reader = HashingReader(file)
        reader.drain()
        return reader.provenance()


class BackgroundHash:
    """Hashes an open file in a background thread, by positioned reads, so that the file position doesn't move.

    BLAKE2b releases the interpreter lock and takes a second per gigabyte, so it adds no time to decoding. Where the
    system has no `pread`, the file is hashed when the hash is asked for.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.blake2b(digest_size=HASH_BYTES)
        self._n_bytes = 0
        self._stop = False
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None
        self._known: Provenance | None = None

    def start(self) -> None:
        """Begin, unless the hash is known already."""
        if self._known is None and hasattr(os, "pread"):
            self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop and (piece := os.pread(self._file.fileno(), PIECE_BYTES, self._n_bytes)):
                self._hash.update(piece)
                self._n_bytes += len(piece)
        except OSError as error:
            self._error = error

    def provenance(self) -> Provenance:
        """Return size and hash of the whole file, once they are known.

        Raises:
            OSError: The file could not be read to its end.
        """
        if self._known is None:
            self._known = file_provenance(self._file) if self._thread is None else self._joined(self._thread)
        return self._known

    def _joined(self, thread: threading.Thread) -> Provenance:
        thread.join()
        if self._error is not None:
            raise self._error
        return Provenance(self._n_bytes, self._hash.digest())

    def close(self) -> None:
        """Stop; the file stays open."""
        self._stop = True
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> BackgroundHash:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
