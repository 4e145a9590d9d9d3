"""What is done with one file: refuse early, encode or decode it, check before removing. The same in every engine."""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from rvqcodec.batch import resume
from rvqcodec.batch.job import EXPECTED, Done, Job, Listener, Progress
from rvqcodec.batch.names import is_url
from rvqcodec.batch.walk import file_size
from rvqcodec.batch.warned import warned
from rvqcodec.errors import BugError, FormatError, OutputError
from rvqcodec.formats.audio.mark import write_mark
from rvqcodec.formats.audio.reader import open_reader
from rvqcodec.formats.files import check_output, is_special, remove_leftover, write_error
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.pipeline.coding import DecodeOptions, EncodeOptions, Result, decode_file, encode_file, load_codec
from rvqcodec.pipeline.opening import Place, open_rvq
from rvqcodec.pipeline.tables import tables_for
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_fingerprint, find_model

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What concerns files and the machine rather than the coding.

    model: A model's name or path; the default, or the one that a file names, when absent.
    overwrite, remove: Whether outputs may be replaced; whether inputs go once their output was checked.
    resume: Whether outputs that are done are passed over, and others of ours replaced.
    mark: Whether decoded files tell what they were made from, for `resume`.
    """

    model: str | None = None
    device: str = "auto"
    overwrite: bool = False
    remove: bool = False
    resume: bool = False
    mark: bool = False


@dataclass(slots=True)
class Codecs:
    """The models of one process, each loaded when it is first wanted, by name."""

    device: str
    _loaded: dict[str, Codec] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def get(self, name: str) -> Codec:
        """Return the model called `name`, ready to run."""
        with self._loading:
            if name not in self._loaded:
                self._loaded[name] = load_codec(name, self.device)
            return self._loaded[name]


class Work(Protocol):
    """What is done with each file of a run; it can be sent to another process."""

    @property
    def settings(self) -> Settings:
        """What concerns files and the machine."""

    def threaded(self, n_threads: int) -> Work:
        """Return the same work with `n_threads` windows of a file side by side, where no number was asked for."""

    def run(self, job: Job, codecs: Codecs, progress: Progress, streams: Sequence[Place] = ()) -> Done:
        """Do one job.

        Args:
            job: Names of input and output.
            codecs: The models of this process.
            progress: Called with the seconds of audio done.
            streams: Input and output to take instead of the names.

        Raises:
            RvqError: It can't be done.
            ValueError: An option is out of range.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeWork:
    """Audio to .rvq files."""

    settings: Settings
    options: EncodeOptions

    def threaded(self, n_threads: int) -> EncodeWork:
        """Return the same work with `n_threads` threads, where no number was asked for."""
        return replace(self, options=replace(self.options, n_threads=self.options.n_threads or n_threads))

    def run(self, job: Job, codecs: Codecs, progress: Progress, streams: Sequence[Place] = ()) -> Done:
        """Encode one file."""
        started = time.monotonic()
        model = find_model(self.settings.model or DEFAULT_MODEL)
        _probe_audio(job.source_path)
        found = self._find(job, model)
        if found is not None:
            return _finish(job, self.settings, _check_encoded, found, started, skipped=True)
        _prepare_output(job, self.settings)
        codec = codecs.get(self.settings.model or DEFAULT_MODEL)
        started = time.monotonic()
        source, target = streams or (job.source, job.target)
        overwrite = self.settings.overwrite or self.settings.resume
        result = encode_file(source, target, codec, self.options, overwrite=overwrite, progress=progress)
        return _finish(job, self.settings, _check_encoded, result, started, codec=codec)

    def _find(self, job: Job, model: ModelFile) -> Result | None:
        if not self.settings.resume or job.source_path is None or job.target_path is None:
            return None
        return resume.find_encoded(job.source_path, job.target_path, model, self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeWork:
    """.rvq files to audio."""

    settings: Settings
    options: DecodeOptions

    def threaded(self, n_threads: int) -> DecodeWork:
        """Return the same work with `n_threads` threads, where no number was asked for."""
        return replace(self, options=replace(self.options, n_threads=self.options.n_threads or n_threads))

    def run(self, job: Job, codecs: Codecs, progress: Progress, streams: Sequence[Place] = ()) -> Done:
        """Decode one file."""
        started = time.monotonic()
        model = _probe_rvq(job.source_path, self.settings.model)
        seal = None
        if model is not None and job.source_path is not None and job.target_path is not None:
            settings = resume.decode_settings(model, self.options)
            if self.settings.resume:
                found = resume.find_decoded(job.source_path, job.target_path, settings)
                if found is not None:
                    return _finish(job, self.settings, _check_decoded, found, started, skipped=True)
            if self.settings.mark:
                seal = functools.partial(_mark, job.source_path, settings)
        _prepare_output(job, self.settings)
        codec = codecs.get(self.settings.model or model.name) if model is not None else None
        started = time.monotonic()
        source, target = streams or (job.source, job.target)
        result = decode_file(
            source, target, codec, self.options, device=self.settings.device,
            overwrite=self.settings.overwrite or self.settings.resume, progress=progress, seal=seal,
        )  # fmt: skip
        return _finish(job, self.settings, _check_decoded, result, started, codec=codec)


def taking_over(work: Work) -> Work:
    """Return the work for a job that a lost worker was at: an output that one finished but couldn't tell of counts."""
    return cast("Work", replace(cast("Any", work), settings=replace(work.settings, resume=True)))


def attempt(
    work: Work,
    job: Job,
    codecs: Codecs,
    progress: Progress,
    warn: Callable[[str], None],
    streams: Sequence[Place] = (),
) -> Done | Exception:
    """Do one job and return what came of it, also after a bug. Warnings are told at once."""
    try:
        with warned(warn):
            if is_url(job.source) or is_url(job.target):
                return _run_remote(work, job, codecs, progress)
            return work.run(job, codecs, progress, streams)
    except EXPECTED as error:
        return error
    except Exception as error:  # a bug that one file brings out doesn't end the work on thousands
        return BugError(f"internal error: {type(error).__name__}: {error}", traceback.format_exc())


def _run_remote(work: Work, job: Job, codecs: Codecs, progress: Progress) -> Done:
    from rvqcodec.batch.remote import Handling, run_staged

    settings = work.settings
    handling = Handling(overwrite=settings.overwrite, resume=settings.resume, remove=settings.remove)
    return run_staged(job, handling, lambda local: work.run(local, codecs, progress))


def run_here(jobs: Sequence[Job], work: Work, listener: Listener, streams: Sequence[Place] = ()) -> None:
    """Do jobs in this process, one after the other."""
    codecs = Codecs(work.settings.device)
    for job in jobs:
        listener.started(job)
        progress = functools.partial(listener.progressed, job)
        warn = functools.partial(listener.warned, job)
        if not listener.finished(job, attempt(work, job, codecs, progress, warn, streams)):
            return


def audio_seconds(path: Path | None) -> float | None:
    """Return the seconds of an audio file or an .rvq file as far as they are known; nothing is refused here."""
    if path is None:
        return None
    try:
        if path.suffix.lower() != ".rvq":
            return _probe_audio(path)
        with path.open("rb") as file:
            reader = RvqReader(file)
            return reader.read_tail().end.n_samples / reader.header.signal.sample_rate
    except (OSError, *EXPECTED):
        return None


def _probe_audio(path: Path | None) -> float | None:
    """Return the seconds of an audio file as far as they are known; refuse what isn't audio. Pipes are left alone."""
    if path is None or is_special(path):
        return None
    with open_reader(path) as reader:
        return None if reader.n_samples is None else reader.n_samples / reader.sample_rate


def _probe_rvq(path: Path | None, model: str | None) -> ModelFile | None:
    """Return the model that an .rvq file needs; refuse what is cut or unknown. Pipes are left alone."""
    if path is None or is_special(path):
        return None if model is None else find_model(model)
    with ExitStack() as stack:
        reader = RvqReader(open_rvq(stack, path))
        signal = reader.header.signal
        reader.read_tail()
    return find_model(model) if model is not None else find_fingerprint(signal.fingerprint, signal.model)


def _prepare_output(job: Job, settings: Settings) -> None:
    """Refuse an output that can't or mustn't be written, once its folder is made."""
    target = job.target_path
    if target is None:
        return
    if job.makes_folder:
        _make_folder(target.parent)
    if settings.resume and not settings.overwrite and not is_special(target):
        resume.refuse_foreign(target)
    check_output(job.source_path, target, overwrite=settings.overwrite or settings.resume)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error) from error


def _mark(source: Path, settings: bytes, path: Path) -> None:
    write_mark(path, resume.decode_mark(source, settings))


def _finish(
    job: Job,
    settings: Settings,
    check: Callable[[Path, Result], None],
    result: Result,
    started: float,
    *,
    codec: Codec | None = None,
    skipped: bool = False,
) -> Done:
    seconds = time.monotonic() - started
    source, target = job.source_path, job.target_path
    if target is not None and skipped:
        remove_leftover(target)
    n_bytes_in = file_size(job.source) if source is not None else 0
    n_bytes_out = file_size(job.target) if target is not None else 0
    if settings.remove and source is not None and target is not None:
        check(target, result)
        _remove(source)
    return Done(
        result=result,
        seconds=seconds,
        n_bytes_in=n_bytes_in,
        n_bytes_out=n_bytes_out or result.n_bytes,
        skipped=skipped,
        model=f"{codec.name} ({codec.fingerprint})" if codec is not None else "",
    )


def _check_encoded(target: Path, _: Result) -> None:
    """Read back and check all codes of an output."""
    with ExitStack() as stack:
        file = open_rvq(stack, target)
        tables = tables_for(RvqReader(file).header)
        file.seek(0)
        verify(file, tables, deep=True)


def _check_decoded(target: Path, result: Result) -> None:
    """Open an output, and compare its length where its container tells it exactly."""
    with open_reader(target) as reader:
        if reader.sample_format and reader.n_samples != result.n_samples:
            raise FormatError("the output is shorter than it should be, so the input stays")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"the input cannot be removed: {(error.strerror or str(error)).lower()}") from error
