"""Resuming: an output is up to date if it is complete and was made from this input with these settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, cast

from rvqcodec.errors import FormatError
from rvqcodec.formats.audio.mark import read_mark
from rvqcodec.formats.audio.provenance import HASH_BYTES
from rvqcodec.formats.entropy.payload import Mode
from rvqcodec.formats.rvq.head import ChunkHead, pack_head
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.sections import SIGNATURE
from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.pipeline.result import Result, read_result
from rvqcodec.version import __version__

if TYPE_CHECKING:
    from rvqcodec.formats.audio.reader import AudioReader
    from rvqcodec.formats.entropy.layers import Tables
    from rvqcodec.pipeline.opening import Opened
    from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
    from rvqcodec.weights.registry import ModelFile


def is_ours(file: BinaryIO) -> bool:
    """Return whether a file carries a signature of ours: an .rvq file's, or the mark of a decoded WAV file."""
    if file.read(len(SIGNATURE)) == SIGNATURE:
        return True
    return read_mark(file, whole=False) is not None


def find_encoded(existing: BinaryIO, audio: AudioReader, model: ModelFile, options: EncodeOptions) -> Result | None:
    """Return what an .rvq file holds if it is whole and what encoding the audio anew would give, else None.

    Raises:
        AudioError: The source can't be read.
    """
    from rvqcodec.pipeline.coding import header_for
    from rvqcodec.pipeline.tables import tables_to_write

    if not audio.n_bytes:
        return None
    try:
        reader = RvqReader(existing)
        tail = reader.read_tail()
        tables = tables_to_write(model.fingerprint, options.entropy, model.path)
        same = reader.header == header_for(audio, model, options, tables) and _is_of(tail, audio, options)
        if not same:
            return None
        existing.seek(0)
        verify(existing)
        return read_result(reader, tail)
    except FormatError:
        return None


def _is_of(tail: Tail, audio: AudioReader, options: EncodeOptions) -> bool:
    """Return whether what stands after the chunks is what encoding this input would write there."""
    from rvqcodec.pipeline.options import EFFORTS

    made = tail.source
    if made is None or made.beam_width != EFFORTS[options.effort] or not _allowed(tail, options.entropy):
        return False
    if tail.tags != (audio.tags() if options.tags else {}):
        return False
    return made.n_bytes == audio.n_bytes and (made.n_bytes, made.digest) == audio.provenance()


def _allowed(tail: Tail, entropy: str) -> bool:
    """Return whether a file has only payloads of the entropy mode that is asked for."""
    return entropy == "auto" or not tail.end.modes & ~(1 << Mode[entropy.upper()])


def find_decoded(existing: BinaryIO, opened: Opened, settings: bytes) -> Result | None:
    """Return what a decoded WAV file holds if its mark says that it is whole and of this source and settings, else None.

    Raises:
        AudioError: The source can't be read.
        FormatError: The source is damaged.
    """
    from rvqcodec.formats.audio.reader import reader_of

    mark = read_mark(existing)
    if opened.tail is None or mark is None or mark.settings != settings or mark.source != opened.provenance():
        return None
    with reader_of(existing) as audio:
        n_samples = audio.n_samples or 0
        duration_s = n_samples / audio.sample_rate
        coded = read_result(opened.reader, opened.tail)
        return replace(coded, n_samples=n_samples, sample_rate=audio.sample_rate, duration_s=duration_s)


def decode_settings(model: ModelFile, options: DecodeOptions) -> bytes:
    """Return a hash of all that decides decoded samples besides the source."""
    said = repr((replace(options, n_threads=0), model.name, model.fingerprint, __version__))
    return hashlib.blake2b(said.encode(), digest_size=HASH_BYTES).digest()


class _Differs(Exception):  # noqa: N818 - an answer, not an error
    """What stands there is not what would be written."""


class _Comparison:
    """Takes what is written and compares it with what a file holds."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Compare the next bytes."""
        if self._file.read(len(data)) != data:
            raise _Differs
        return len(data)


def find_copy(existing: BinaryIO, write: Callable[[BinaryIO], Result]) -> Result | None:
    """Return what a file holds if it is byte for byte what `write` would write, else None; for work as quick as reading.

    Raises:
        FormatError: The source is damaged.
    """
    try:
        result = write(cast("BinaryIO", _Comparison(existing)))
    except _Differs:
        return None
    return None if existing.read(1) else result


def find_transcoded(existing: BinaryIO, opened: Opened, tables: Tables, entropy: str) -> Result | None:
    """Return what an .rvq file holds if it is whole and has the source's codes in the entropy mode asked for, else None.

    Each layer's check stands in the chunks' heads, so that codes are compared without decoding them. That a file is of
    the mode auto shows in its header, which names static tables and a network only then.

    Args:
        existing: The file.
        opened: The source.
        tables: What a writer may use.
        entropy: A mode's name, or "auto" where the tables are of both kinds.
    """
    try:
        ours, reader = RvqReader(opened.rewound()), RvqReader(existing)
        if reader.header != replace(ours.header, table_ids=tables.ids):
            return None
        pairs = zip(ours.chunks(), reader.chunks(), strict=True)
        same = all(_codes_of(one.head, ours.header) == _codes_of(two.head, ours.header) for one, two in pairs)
    except (FormatError, ValueError):  # the work itself reports damage; or one has more chunks
        return None
    if not same or ours.tail is None or reader.tail is None or not _allowed(reader.tail, entropy):
        return None
    same = _beside_codes(ours.tail) == _beside_codes(reader.tail)
    return read_result(reader, reader.tail) if same else None


def _codes_of(head: ChunkHead, header: Header) -> bytes:
    """Return a chunk's head without what depends on the entropy mode."""
    entries = tuple(replace(entry, n_bytes=0, mode=0) for entry in head.entries)
    return pack_head(replace(head, entries=entries), header)


def _beside_codes(tail: Tail) -> object:
    return tail.end.n_samples, tail.tags, tail.source, tail.extras
