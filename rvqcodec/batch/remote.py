"""Remote files by fsspec: listed, downloaded before a job, uploaded atomically after it.

The only module that knows fsspec, which is an optional extra. A job on URLs runs on files in a temporary folder, so all
that holds for local files holds for remote ones, in every engine.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from rvqcodec.batch.job import Done, Job
from rvqcodec.batch.names import is_url, last
from rvqcodec.batch.walk import Selection
from rvqcodec.errors import AudioError, OutputError, RvqError
from rvqcodec.formats.files import OVERWRITE_HINT

WHOLE_PUTS = frozenset(["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2"])
"""Object stores: what is put there appears when it is complete, also in several parts. Elsewhere it is renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """What becomes of remote files.

    overwrite, resume: Whether an output that exists may be replaced; whether it is looked into first.
    remove: Whether inputs go once their outputs were published.
    """

    overwrite: bool
    resume: bool
    remove: bool


def missing_driver(name: str) -> str:
    """Return what to install before a URL can be opened, or "" when all is there.

    Raises:
        AudioError: Nobody knows this kind of URL.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError:
        return "pip install 'rvqcodec[remote]'"
    protocol = name.split("://")[0]
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        return str(error)
    except ValueError as error:
        raise AudioError(f"{name}: unknown URL scheme {protocol}://") from error
    return ""


def is_remote_folder(name: str) -> bool:
    """Return whether a URL is a folder's.

    Raises:
        AudioError: The place can't be reached.
    """
    with _translated(AudioError, f"{name} cannot be reached"):
        system, path = _system(name)
        return bool(system.isdir(path))


def remote_size(name: str) -> int:
    """Return the size of a remote file in bytes, or 0 where nobody knows."""
    try:
        with _translated(AudioError, f"{name} cannot be reached"):
            system, path = _system(name)
            return int(system.size(path) or 0)
    except AudioError:
        return 0


def walk_remote(folder: str, selection: Selection, outputs: str | None = None) -> Iterator[tuple[str, int]]:
    """Yield the selected files of a remote folder as `walk` does: paths below it, with sizes in bytes, sorted.

    Raises:
        AudioError: The folder can't be read.
    """
    with _translated(AudioError, f"the folder {folder} cannot be read"):
        system, root = _system(folder)
        found = system.find(root, maxdepth=None if selection.recursive else 1, detail=True)
    skipped = None if outputs is None or not is_url(outputs) else _system(outputs)[1].rstrip("/") + "/"
    for path in sorted(found):
        below = PurePosixPath(path[len(root.rstrip("/")) :].lstrip("/"))
        is_output = skipped is not None and path.startswith(skipped) and skipped.rstrip("/") != root.rstrip("/")
        if not is_output and selection.takes(below.name) and not _excluded(below, selection):
            yield str(below), int(found[path].get("size") or 0)


def run_staged(job: Job, handling: Handling, run: Callable[[Job], Done]) -> Done:
    """Run a job on local copies: bring its input, and its output where that is looked into; publish what was made.

    Raises:
        AudioError: The input can't be brought.
        OutputError: The output exists, or can't be published.
    """
    with tempfile.TemporaryDirectory(prefix="rvq-") as folder:
        local = _local_job(job, Path(folder))
        if is_url(job.target):
            _bring_target(job, local, handling)
        _bring_source(job, local)
        done = run(local)
        if is_url(job.target) and not done.skipped:
            _publish(Path(local.target), job.target)
        if handling.remove and local.source != job.source:
            _remove(job.source)
        return done


def _local_job(job: Job, folder: Path) -> Job:
    """Return the job with its remote names replaced; a local input of a remote output is linked, so that it stays till the end."""
    source, target = job.source, job.target
    if is_url(source) or is_url(target):
        (folder / "in").mkdir()
        source = str(folder / "in" / last(source)) if is_url(source) else str(folder / "in" / Path(source).name)
    if is_url(target):
        (folder / "out").mkdir()
        target = str(folder / "out" / last(target))
    return replace(job, source=source, target=target)


def _bring_source(job: Job, local: Job) -> None:
    if not is_url(job.source):
        if local.source != job.source:
            Path(local.source).symlink_to(Path(job.source).absolute())
        return
    with _translated(AudioError, "the input cannot be fetched"):
        system, path = _system(job.source)
        system.get_file(path, local.source)


def _bring_target(job: Job, local: Job, handling: Handling) -> None:
    """Refuse an output that exists, or bring it where `resume` looks into it."""
    with _translated(OutputError, "the output cannot be reached"):
        system, path = _system(job.target)
        if not system.exists(path):
            return
        if not handling.overwrite and not handling.resume:
            raise OutputError("the output exists already", OVERWRITE_HINT)
        if handling.resume:
            system.get_file(path, local.target)


def _publish(made: Path, name: str) -> None:
    """Upload a finished output so that its name appears when it is complete, and compare sizes."""
    with _translated(OutputError, "the output cannot be written"):
        system, path = _system(name)
        if name.split("://")[0].lower() in WHOLE_PUTS:
            system.put_file(str(made), path)
        else:
            _put_and_rename(system, made, path)
        system.invalidate_cache()
        if system.size(path) != made.stat().st_size:
            raise OutputError("the output was not uploaded whole")


def _put_and_rename(system: Any, made: Path, path: str) -> None:
    digest = hashlib.blake2b(last(path).encode(errors="surrogateescape"), digest_size=5).hexdigest()
    temporary = f"{_parent(path)}.{digest}.tmp"
    system.makedirs(_parent(path).rstrip("/") or "/", exist_ok=True)
    try:
        system.put_file(str(made), temporary)
        system.mv(temporary, path)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to report
            system.rm_file(temporary)
        raise


def _parent(path: str) -> str:
    """Return what stands before the last name of a path, with its slash."""
    return path[: path.rfind("/") + 1]


def _remove(name: str) -> None:
    with _translated(OutputError, "the input cannot be removed"):
        if not is_url(name):
            Path(name).unlink()
            return
        system, path = _system(name)
        system.rm_file(path)


def _system(name: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it; listings aren't remembered."""
    fsspec = importlib.import_module("fsspec")
    system, path = fsspec.core.url_to_fs(name)
    system.invalidate_cache()
    return system, path


def _excluded(below: PurePosixPath, selection: Selection) -> bool:
    return any(selection.excludes(str(part)) for part in (below, *below.parents) if str(part) != ".")


@contextlib.contextmanager
def _translated(kind: type[RvqError], problem: str) -> Iterator[None]:
    """Turn what drivers raise into one of our errors: each has its own kinds, with no base in common."""
    try:
        yield
    except RvqError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{problem}: no such file or folder") from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise kind(f"{problem}: {reason}") from error
