"""Atomic output files: checked before work begins, and either complete or absent after it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rvqcodec.errors import OutputError

OVERWRITE_HINT = "-f overwrites it"

_WRITE_ERRORS = frozenset(
    number for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if (number := getattr(errno, name, None)) is not None
)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL)


def check_output(source: Path | None, target: Path, *, overwrite: bool) -> None:
    """Check that an output may be written.

    Args:
        source: The input, or None for a stream; it need not exist.
        target: The output.
        overwrite: Whether an existing output may be replaced.

    Raises:
        OutputError: The target is the source, is a folder, exists without `overwrite`, or its folder doesn't exist.
    """
    status = _status(target)
    if source is not None and _is_same(source, target, status):
        raise OutputError("the output is the input itself", "name another output with -o")
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise OutputError("the output is a folder", "name a file in it")
    if (status is None or stat.S_ISREG(status.st_mode)) and os.path.lexists(target) and not overwrite:
        raise OutputError("the output exists already", OVERWRITE_HINT)
    if not target.resolve().parent.is_dir():
        raise OutputError(f"the output's folder {target.resolve().parent} does not exist")


def is_special(path: Path) -> bool:
    """Return whether a path exists and is neither a file nor a folder: a device, a named pipe, a socket."""
    status = _status(path)
    return status is not None and not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode)


def _status(path: Path) -> os.stat_result | None:
    """Return a path's status, links followed, or None if it doesn't exist."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise OutputError("the output's folder is a file") from error
    except OSError as error:
        raise write_error(error) from error


def _is_same(source: Path, target: Path, target_status: os.stat_result | None) -> bool:
    if target_status is not None and not stat.S_ISREG(target_status.st_mode):
        return False
    try:
        if target_status is not None and os.path.samestat(source.stat(), target_status):
            return True
        return source.resolve() == target.resolve()
    except OSError:
        return False


def write_error(error: OSError) -> OutputError:
    """Return an OutputError with the reason of an OSError."""
    reason = (error.strerror or str(error)).lower()
    return OutputError(f"the output cannot be written: {reason}")


@contextlib.contextmanager
def atomic_output(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path, which is renamed to `target` on success and removed on failure.

    The temporary file is beside the output under a short hidden name derived from the output's, so that the leftover of a killed run is
    replaced. A device or a named pipe is yielded itself.

    Args:
        target: The output; if it is a symbolic link, its target is replaced.
        overwrite: Whether an existing file may be replaced, also one created in the meantime.

    Raises:
        OutputError: The output exists, or can't be written.
    """
    check_output(None, target, overwrite=overwrite)
    if is_special(target):
        yield target
        return
    final = target.resolve()
    temporary = temporary_path(final)
    identity = _create(temporary)
    try:
        yield temporary
        _place(temporary, final, identity, overwrite)
    except BaseException as error:
        _remove(temporary, identity)
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            raise write_error(error) from error
        raise


def temporary_path(target: Path) -> Path:
    """Return the temporary path of an output: short, hidden, beside it, and a function of its name."""
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=5).hexdigest()
    return target.with_name(f".{digest}.tmp")


def remove_leftover(target: Path) -> None:
    """Remove the temporary file that a killed run left beside an output."""
    with contextlib.suppress(OSError):
        temporary_path(target.resolve()).unlink(missing_ok=True)


def _create(temporary: Path) -> tuple[int, int]:
    """Create the temporary file and return its device and inode."""
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:
        raise write_error(error) from error
    with os.fdopen(descriptor, "wb") as file:
        status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _is_ours(temporary: Path, identity: tuple[int, int]) -> bool:
    try:
        status = temporary.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == identity


def _place(temporary: Path, final: Path, identity: tuple[int, int], overwrite: bool) -> None:
    """Flush the temporary file to disk and rename it."""
    if not _is_ours(temporary, identity):
        raise OutputError("another run is writing the same output")
    try:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(final)
        else:
            _rename_if_absent(temporary, final)
    except FileExistsError as error:
        raise OutputError("the output exists already: it was created in the meantime", OVERWRITE_HINT) from error
    except OSError as error:
        raise write_error(error) from error
    _flush_folder(final.parent)


def _rename_if_absent(temporary: Path, final: Path) -> None:
    """Rename without replacing: by a hard link or, on file systems without, after a check."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "exists", str(final)) from error
        temporary.rename(final)
    else:
        temporary.unlink()


def _remove(temporary: Path, identity: tuple[int, int]) -> None:
    if _is_ours(temporary, identity):
        with contextlib.suppress(OSError):
            temporary.unlink()


def _flush_folder(folder: Path) -> None:
    """Make the rename durable, where the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def closing_on_error() -> Iterator[contextlib.ExitStack]:
    """Yield an exit stack that is closed here only on failure."""
    with contextlib.ExitStack() as guard:
        stack = guard.enter_context(contextlib.ExitStack())
        yield stack
        guard.pop_all()
