"""Integrity check and summary of an .rvq file, without a model."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict
from typing import Any, BinaryIO

from rvqcodec.errors import TruncatedError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.entropy.payload import Mode
from rvqcodec.formats.rvq.header import MAJOR
from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.times import kbps


def verify(file: BinaryIO, tables: Tables = EMPTY_TABLES, *, deep: bool = False) -> tuple[Tail, str]:
    """Verify a whole file: sections, heads, counts, index and end section; with `deep` each layer's codes too.

    Args:
        file: The file, read sequentially.
        tables: Entropy tables and network; `deep` requires those that the file uses.
        deep: Entropy-decode all codes and verify their checks.

    Returns:
        The sections after the chunks, and with `deep` the SHA-256 of the codes in hex (u16 little-endian, by frame, stream and
        layer, independent of the chunk length), else "".

    Raises:
        FormatError: The file is damaged.
        ModelError: The file uses entropy tables that are missing.
    """
    reader = RvqReader(file)
    digest = hashlib.sha256()
    for chunk in reader.chunks(tables):
        if deep:
            digest.update(reader.codes(chunk, tables).transpose(2, 0, 1).astype("<u2").tobytes())
    if reader.tail is None:
        raise TruncatedError("the file has no end section")
    return reader.tail, digest.hexdigest() if deep else ""


def summarize(file: BinaryIO) -> dict[str, Any]:
    """Return the fields of `rvq info`, read from the start and the end of a seekable file.

    Raises:
        FormatError: The header or a section after the chunks is damaged.
    """
    reader = RvqReader(file)
    tail = reader.read_tail()
    signal = reader.header.signal
    size = file.seek(0, os.SEEK_END)
    duration = tail.end.n_samples / signal.sample_rate
    return {
        "format_version": f"{MAJOR}.{reader.header.minor}",
        "model": signal.model,
        "fingerprint": signal.fingerprint,
        "sample_rate": signal.sample_rate,
        "channels": signal.channels,
        "n_samples": tail.end.n_samples,
        "duration_s": duration,
        "n_layers": signal.n_layers,
        "groups": [asdict(group) for group in signal.groups],
        "scalable": signal.scalable,
        "levels": signal.levels,
        "frame_rate": signal.model_sample_rate / signal.hop_length,
        "nominal_kbps": signal.nominal_bitrate / 1000,
        "actual_kbps": kbps(size, duration),
        "size_bytes": size,
        "entropy": [_mode_name(mode) for mode in range(8) if tail.end.modes >> mode & 1],
        "tables": list(reader.header.table_ids),
        "n_chunks": tail.end.n_chunks,
        "chunk_s": reader.header.chunk_s,
        "stereo": "rotated" if signal.rotated else "joint" if signal.channels_per_stream == 2 else "independent",
        "tags": tail.tags,
        "sections": {kind.decode(): len(payload) for kind, payload in tail.extras.items()},
        "source": _source(tail),
    }


def _mode_name(mode: int) -> str:
    return Mode(mode).name.lower() if mode in set(Mode) else str(mode)


def _source(tail: Tail) -> dict[str, Any] | None:
    return None if tail.source is None else {**asdict(tail.source), "digest": tail.source.digest.hex()}
