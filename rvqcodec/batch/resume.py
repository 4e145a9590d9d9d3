"""Which outputs are done already: whole, made from this input, with these settings. Existence alone is not enough."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from rvqcodec.errors import AudioError, FormatError, OutputError
from rvqcodec.formats.audio.mark import Mark, read_mark
from rvqcodec.formats.audio.provenance import HASH_BYTES, HashingReader, Provenance
from rvqcodec.formats.audio.reader import open_reader
from rvqcodec.formats.audio.tags import read_tags
from rvqcodec.formats.entropy.payload import Mode
from rvqcodec.formats.files import OVERWRITE_HINT, write_error
from rvqcodec.formats.rvq.sections import SIGNATURE
from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.pipeline.coding import EFFORTS, DecodeOptions, EncodeOptions, Result, header_for
from rvqcodec.pipeline.tables import tables_to_write
from rvqcodec.version import __version__
from rvqcodec.weights.registry import ModelFile


def find_encoded(source: Path, target: Path, model: ModelFile, options: EncodeOptions) -> Result | None:
    """Return what an .rvq file holds if it is whole and what encoding `source` anew would give, else None.

    Raises:
        AudioError: The source can't be read.
        OutputError: The target can't be read.
    """
    try:
        with target.open("rb") as file:
            reader = RvqReader(file)
            tail = reader.read_tail()
            if not _is_of(tail, source, options) or not _has_header(reader, source, model, options):
                return None
            file.seek(0)
            verify(file)
            return result_of(reader, tail)
    except FileNotFoundError:
        return None
    except FormatError:
        return None
    except OSError as error:
        raise write_error(error) from error


def find_decoded(source: Path, target: Path, settings: bytes) -> Result | None:
    """Return what a decoded WAV file holds if its mark says that it is whole and of this source and settings, else None.

    Raises:
        AudioError: The source can't be read.
        FormatError: The source is damaged.
        OutputError: The target can't be read.
    """
    try:
        mark = read_mark(target)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise write_error(error) from error
    if mark is None or mark.settings != settings or mark.source != provenance(source):
        return None
    with _opened(source) as file, open_reader(target) as audio:
        reader = RvqReader(file)
        held = result_of(reader, reader.read_tail())
        n_samples = audio.n_samples or 0
        return replace(
            held, n_samples=n_samples, sample_rate=audio.sample_rate, duration_s=n_samples / audio.sample_rate
        )


def refuse_foreign(target: Path) -> None:
    """Refuse to replace a file that isn't one of ours: neither an .rvq file nor a WAV file with our mark.

    Raises:
        OutputError: The file is there and carries no signature of ours, or can't be read.
    """
    try:
        with target.open("rb") as file:
            is_ours = file.read(len(SIGNATURE)) == SIGNATURE
        if not is_ours and read_mark(target, whole=False) is None:
            raise OutputError("the output exists already and is not one of ours", OVERWRITE_HINT)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error(error) from error


def decode_mark(source: Path, settings: bytes) -> Mark:
    """Return the mark of what is decoded from `source`.

    Raises:
        AudioError: The source can't be read.
    """
    return Mark(provenance(source), settings)


def decode_settings(model: ModelFile, options: DecodeOptions) -> bytes:
    """Return a hash of all that decides decoded samples besides the source."""
    said = repr((replace(options, n_threads=0), model.name, model.fingerprint, __version__))
    return hashlib.blake2b(said.encode(), digest_size=HASH_BYTES).digest()


def provenance(source: Path) -> Provenance:
    """Return size and hash of a file.

    Raises:
        AudioError: It can't be read.
    """
    with _opened(source) as file:
        reader = HashingReader(file)
        reader.drain()
        return reader.provenance()


def result_of(reader: RvqReader, tail: Tail) -> Result:
    """Return what a file that can seek holds."""
    signal, n_bytes = reader.header.signal, reader.size(tail)
    duration_s = tail.end.n_samples / signal.sample_rate
    return Result(
        duration_s=duration_s,
        n_samples=tail.end.n_samples,
        sample_rate=signal.sample_rate,
        channels=signal.channels,
        n_layers=signal.n_layers,
        n_bytes=n_bytes,
        nominal_kbps=signal.nominal_bitrate / 1000,
        actual_kbps=8 * n_bytes / duration_s / 1000 if duration_s else 0.0,
    )


def _is_of(tail: Tail, source: Path, options: EncodeOptions) -> bool:
    """Tell whether what stands after the chunks is what encoding this input would write there."""
    made = tail.source
    if made is None or made.effort != EFFORTS[options.effort]:
        return False
    if options.entropy != "auto" and tail.end.modes & ~(1 << Mode[options.entropy.upper()]):
        return False
    if tail.tags != (read_tags(source) if options.tags else {}):
        return False
    return made.n_bytes == source.stat().st_size and (made.n_bytes, made.digest) == provenance(source)


def _has_header(reader: RvqReader, source: Path, model: ModelFile, options: EncodeOptions) -> bool:
    tables = tables_to_write(model.fingerprint, options.entropy)
    with open_reader(source) as audio:
        return reader.header == header_for(audio, model.name, model.fingerprint, model.traits, options, tables)


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise AudioError((error.strerror or str(error)).lower()) from error
