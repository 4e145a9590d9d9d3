"""The work on one file, the same in every engine: refuse early, skip what is up to date, verify before removing."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from rvqcodec.batch.job import EXPECTED, STREAM, Done, Job, Progress
from rvqcodec.batch.names import is_url
from rvqcodec.batch.resume import is_ours
from rvqcodec.batch.streams import stdin_bytes, stdout_bytes
from rvqcodec.batch.walk import file_size
from rvqcodec.batch.warned import warned
from rvqcodec.errors import BugError, OutputError, reason_of
from rvqcodec.formats.files import Output, remove_leftover
from rvqcodec.pipeline.opening import Target
from rvqcodec.pipeline.result import Result

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec
    from rvqcodec.weights.registry import ModelFile

Write = Callable[[Target], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What concerns files and the machine rather than the coding.

    model: A model's name or path; the default, or the one that a file names, when absent.
    overwrite, remove: Whether outputs may be replaced; whether inputs go once their output was checked.
    resume: Whether outputs that are done are skipped, and others of ours replaced.
    mark: Whether decoded files record what they were made from, for `resume`.
    """

    model: str | None = None
    device: str = "cpu"
    overwrite: bool = False
    remove: bool = False
    resume: bool = False
    mark: bool = False


@dataclass(slots=True)
class Codecs:
    """The models of one process, each loaded when it is first needed."""

    device: str
    _loaded: dict[Path, Codec] = field(default_factory=dict)
    _loading: threading.Lock = field(default_factory=threading.Lock)

    def get(self, model: ModelFile) -> Codec:
        """Return a model that is ready to run."""
        from rvqcodec.pipeline.coding import load

        with self._loading:
            if model.path not in self._loaded:
                self._loaded[model.path] = load(model, self.device)
            return self._loaded[model.path]


class Work(Protocol):
    """What is done with each file of a run; it can be sent to another process."""

    @property
    def settings(self) -> Settings:
        """What concerns files and the machine."""

    @property
    def bytes_per_worker(self) -> int:
        """Bytes of input that are worth a process of their own."""

    def threaded(self, n_threads: int) -> Work:
        """Return the same work with `n_threads` windows of a file in parallel, where no number was given."""

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Do one job.

        Args:
            job: Names of input and output.
            codecs: The models of this process.
            progress: Called with the seconds of audio done.

        Raises:
            RvqError: It can't be done.
            ValueError: An option is out of range.
        """


def attempt(
    work: Work, job: Job, codecs: Codecs, progress: Progress, warn: Callable[[str], None], *, again: bool = False
) -> Done | Exception:
    """Do one job and return its outcome, also after a bug. Warnings are reported at once.

    Args:
        work: What is done.
        job: With what.
        codecs: The models of this process.
        progress: Called with the seconds of audio done.
        warn: Called with what goes well but not quite.
        again: Whether a lost worker was at it: what that one finished but couldn't report is taken over.
    """
    try:
        with warned(warn):
            done = _run(_taking_over(work) if again else work, job, codecs, progress)
        return replace(done, skipped=done.skipped and work.settings.resume)
    except BrokenPipeError:
        if job.target == STREAM:
            raise
        return OutputError("the output cannot be written: its reader closed the pipe")
    except EXPECTED as error:
        return error
    except Exception as error:  # a bug that one file brings out doesn't end the work on thousands
        return BugError(f"internal error: {type(error).__name__}: {error}", traceback.format_exc())


def _taking_over(work: Work) -> Work:
    return cast("Work", replace(cast("Any", work), settings=replace(work.settings, resume=True)))


def _run(work: Work, job: Job, codecs: Codecs, progress: Progress) -> Done:
    if not is_url(job.source) and not is_url(job.target):
        return work.run(job, codecs, progress)
    from rvqcodec.batch.remote import Handling, run_staged

    settings = work.settings
    handling = Handling(overwrite=settings.overwrite, resume=settings.resume, remove=settings.remove)
    return run_staged(job, handling, lambda local: work.run(local, codecs, progress))


def source_of(job: Job) -> Path | BinaryIO:
    """Return what a job reads."""
    return job.source_path or stdin_bytes()


def target_of(stack: ExitStack, job: Job, settings: Settings) -> Target:
    """Return what a job writes; an output that mustn't be written is refused here, before anything is read.

    Raises:
        OutputError: It exists, equals the input, is a folder, or its folder doesn't exist.
    """
    if job.target == STREAM:
        return stack.enter_context(stdout_bytes())
    return Output(
        Path(job.target),
        source=job.source_path,
        overwrite=settings.overwrite,
        resume=settings.resume,
        makes_folder=job.makes_folder,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How one output comes to be, once its input is open.

    find: Returns the result of a file that stands there already if it is what would be written, else None.
    ready: Loads what the work needs, and returns what writes the output.
    check: Reads a finished output back before its input is removed.
    """

    find: Callable[[BinaryIO], Result | None]
    ready: Callable[[], Write]
    check: Callable[[BinaryIO, Result], None] | None = None

    def run(self, job: Job, target: Target, settings: Settings) -> Done:
        """Write the output, or skip it."""
        started = time.monotonic()
        identity = _identity(job.source_path) if settings.remove and job.source_path is not None else None
        with _existing(target, settings) as file:
            if file is not None and (found := self.find(file)) is not None:
                if settings.remove and self.check is not None:
                    self.check(file, found)
                return _finish(job, settings, found, started, identity, skipped=True)
        write = self.ready()
        started = time.monotonic()
        return _finish(job, settings, write(target), started, identity)


def _existing(target: Target, settings: Settings) -> AbstractContextManager[BinaryIO | None]:
    if settings.resume and isinstance(target, Output):
        return target.existing(is_ours)
    return contextlib.nullcontext()


def _finish(
    job: Job,
    settings: Settings,
    result: Result,
    started: float,
    identity: tuple[int, ...] | None,
    *,
    skipped: bool = False,
) -> Done:
    seconds = time.monotonic() - started
    target = job.target_path
    if target is not None and skipped:
        remove_leftover(target)
    n_bytes_in = 0 if job.source == STREAM else file_size(job.source)
    if settings.remove and job.source_path is not None and target is not None:
        _remove(job.source_path, identity)
    n_bytes_out = file_size(job.target) if target is not None else result.n_bytes
    return Done(result=result, seconds=seconds, n_bytes_in=n_bytes_in, n_bytes_out=n_bytes_out, skipped=skipped)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced or written to: device, inode, size and time; None where it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _remove(path: Path, identity: tuple[int, ...] | None) -> None:
    """Remove an input, unless it is no longer the file that was read."""
    try:
        if identity is None or _identity(path) != identity:
            raise OutputError("the input changed while it was read, so it is not removed", "run the command again")
        path.unlink()
    except OSError as error:
        raise OutputError(f"the input cannot be removed: {reason_of(error)}") from error
