"""Model-free work on one .rvq file of a run: info, verify, trim, transcode, recover; no torch."""

from __future__ import annotations

import contextlib
import logging
import mmap
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from rvqcodec.batch import resume
from rvqcodec.batch.job import STREAM, Done, Job, Progress
from rvqcodec.batch.walk import file_size
from rvqcodec.batch.work import Codecs, Making, Settings, source_of, target_of
from rvqcodec.errors import FormatError
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.recover import Loss, Recovery, recover
from rvqcodec.formats.rvq.trim import trim
from rvqcodec.formats.rvq.verify import summarize, verify
from rvqcodec.pipeline.opening import Opened, Target, open_rvq, opened_output
from rvqcodec.pipeline.result import Result, coded_result, read_result, written_result

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredWork:
    """What all of them share: they load no model, and a process of their own pays late."""

    settings: Settings = field(default_factory=Settings)
    bytes_per_worker: int = 64 << 20

    def threaded(self, _: int) -> Any:
        """Return the same work: each file is one thread's."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoWork(_StoredWork):
    """What .rvq files hold, from their first bytes and their end: a millisecond each, whatever their size."""

    bytes_per_worker: int = 1 << 36

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Summarize one file."""
        started = time.monotonic()
        with open_rvq(source_of(job), seekable=True) as opened:
            about = summarize(opened.rewound())
            return _read(job, read_result(opened.reader, opened.tail), started, about)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyWork(_StoredWork):
    """Checks of .rvq files; with `deep`, of all codes too."""

    deep: bool = False

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Check one file."""
        started = time.monotonic()
        with open_rvq(source_of(job), seekable=True) as opened:
            tables = _tables(opened.header, self.settings) if self.deep else EMPTY_TABLES
            tail, digest = verify(_watched(opened, progress), tables, deep=self.deep)
            details: dict[str, Any] = {"deep": self.deep, "n_chunks": tail.end.n_chunks}
            if self.deep:
                details["codes_sha256"] = digest
            return _read(job, read_result(opened.reader, tail), started, details)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimWork(_StoredWork):
    """The first layers of .rvq files as files of their own."""

    n_layers: int

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Trim one file."""

        def write(opened: Opened, file: BinaryIO) -> Result:
            return written_result(trim(_watched(opened, progress), file, self.n_layers))

        done = _copy(job, self.settings, write)
        if done.result.n_layers < self.n_layers:
            _log.warning("the file has only %d layers: none was dropped", done.result.n_layers)
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscodeWork(_StoredWork):
    """The same codes with another entropy mode, or with a newer network."""

    entropy: str = "auto"
    bytes_per_worker: int = 1 << 18

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Transcode one file."""
        from rvqcodec.pipeline.stored import transcode
        from rvqcodec.pipeline.tables import tables_to_write

        weights = _weights(self.settings)

        def find(opened: Opened, existing: BinaryIO) -> Result | None:
            tables = tables_to_write(opened.header.signal.fingerprint, self.entropy, weights)
            if self.entropy == "auto" and (tables.static is None or tables.network is None):
                return resume.find_copy(existing, lambda file: write(opened, file))
            return resume.find_transcoded(existing, opened, tables, self.entropy)

        def write(opened: Opened, file: BinaryIO) -> Result:
            return written_result(transcode(_watched(opened, progress), file, self.entropy, weights))

        return _copy(job, self.settings, write, find)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverWork(_StoredWork):
    """What is intact in damaged .rvq files, as whole files."""

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Recover one file."""
        found: list[Recovery] = []

        def write(opened: Opened, file: BinaryIO) -> Result:
            found[:] = [_recovered(opened, file, self.settings)]
            return coded_result(opened.header.signal, found[0].n_samples, found[0].n_bytes)

        done = _copy(job, self.settings, write)
        return replace(done, details=_recovery_fields(found[0]))


class _Watched:
    """A file that is read front to back; reports the seconds of audio read so far."""

    def __init__(self, file: BinaryIO, bytes_per_second: float, progress: Progress) -> None:
        self._file = file
        self._bytes_per_second = bytes_per_second
        self._progress = progress
        self._n_bytes = 0

    def read(self, n_bytes: int = -1) -> bytes:
        """Read on."""
        data = self._file.read(n_bytes)
        self._n_bytes += len(data)
        self._progress(self._n_bytes / self._bytes_per_second)
        return data


def _watched(opened: Opened, progress: Progress) -> BinaryIO:
    """Return a file at its start; reading it moves the progress, where its end says how long it is."""
    with contextlib.suppress(FormatError):
        held = read_result(opened.reader, opened.tail)
        if held.duration_s:
            progress(0.0, held.duration_s)
            return cast("BinaryIO", _Watched(opened.rewound(), held.n_bytes / held.duration_s, progress))
    return opened.rewound()


def _read(job: Job, result: Result, started: float, details: dict[str, Any]) -> Done:
    n_bytes_in = result.n_bytes if job.source == STREAM else file_size(job.source)
    return Done(result=result, seconds=time.monotonic() - started, n_bytes_in=n_bytes_in, details=details)


def _copy(
    job: Job,
    settings: Settings,
    write: Callable[[Opened, BinaryIO], Result],
    find: Callable[[Opened, BinaryIO], Result | None] | None = None,
) -> Done:
    """Make one .rvq file of another; without `find`, an output is done that is byte for byte what would be written."""
    with ExitStack() as stack:
        target = target_of(stack, job, settings)
        opened = stack.enter_context(open_rvq(source_of(job), seekable=True))

        def write_to(target: Target) -> Result:
            with opened_output(target) as file:
                return write(opened, file)

        def look(existing: BinaryIO) -> Result | None:
            if find is not None:
                return find(opened, existing)
            return resume.find_copy(existing, lambda file: write(opened, file))

        return Making(find=look, ready=lambda: write_to).run(job, target, settings)


def _recovered(opened: Opened, target: BinaryIO, settings: Settings) -> Recovery:
    with mmap.mmap(opened.file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # A memory map slices to bytes, as the annotation of `data` asks.
        return recover(data, target, _tables(opened.header, settings))  # type: ignore[arg-type]


def _recovery_fields(found: Recovery) -> dict[str, Any]:
    return {
        "n_chunks": found.n_chunks,
        "end_known": found.end_known,
        "losses": [_loss_fields(loss) for loss in found.losses],
    }


def _loss_fields(loss: Loss) -> dict[str, Any]:
    return {"chunk": loss.number, **{name: value for name, value in asdict(loss).items() if name != "number"}}


def _tables(header: Header, settings: Settings) -> Tables:
    """Return the entropy tables that a file may use, loaded only where it may use some."""
    if not header.table_ids:
        return EMPTY_TABLES
    from rvqcodec.pipeline.tables import tables_for

    return tables_for(header, _weights(settings))


def _weights(settings: Settings) -> Path | None:
    """Return the weights file of the model that was named, if any."""
    if settings.model is None:
        return None
    from rvqcodec.weights.registry import find_model

    return find_model(settings.model).path
