"""Provenance of an input: its size and hash, computed while it is read."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
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


class BackgroundHash:
    """Hashes a file in a background thread; a context manager.

    BLAKE2b releases the interpreter lock and takes a second per gigabyte, so it adds no time to decoding.
    """

    def __init__(self, path: Path) -> None:
        self._reader = HashingReader(path.open("rb"))
        self._stop = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop and self._reader.read(PIECE_BYTES):
                pass
        except OSError as error:
            self._error = error

    def provenance(self) -> Provenance:
        """Wait for the end of the file and return its size and hash.

        Raises:
            OSError: The file could not be read to its end.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._reader.provenance()

    def close(self) -> None:
        """Stop, and close the file."""
        self._stop = True
        self._thread.join()
        self._reader.close()

    def __enter__(self) -> BackgroundHash:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
