"""Atomic output files: checked before work begins, and either complete or absent after it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from rvqcodec.errors import OutputError, reason_of

OVERWRITE_HINT = "overwrite=True replaces it"

_WRITE_ERRORS = frozenset(
    number for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if (number := getattr(errno, name, None)) is not None
)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EINVAL)


class Output:
    """One output file, and the only owner of the question whether it may be written.

    Making it refuses what is known before any work; `open` then creates a temporary file beside the target, and keeps
    that descriptor until the file gets its name. A device or a named pipe is written to as it is.

    Args:
        target: Where to; a symbolic link is followed.
        source: The input, which is never replaced; it need not exist. None for a stream.
        overwrite: Whether a file that exists may be replaced.
        resume: Whether a file that exists may be looked into, and replaced where it is one of ours (`existing`).
        makes_folder: Whether the folder is made when it isn't there.

    Raises:
        OutputError: The target is the source, is a folder, exists and may not be replaced, or its folder doesn't exist.
    """

    def __init__(
        self,
        target: Path,
        *,
        source: Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        makes_folder: bool = False,
    ) -> None:
        self.target = target
        self._overwrite = overwrite
        self._replaces = overwrite or resume
        self._makes_folder = makes_folder
        status = _status(target)
        self.is_special = status is not None and _is_special(status)
        if source is not None and _is_same(source, target, status):
            raise same_file_error()
        if status is not None and stat.S_ISDIR(status.st_mode):
            raise OutputError("the output is a folder", "name a file in it")
        if not self.is_special and not self._replaces and os.path.lexists(target):
            raise OutputError("the output exists already", OVERWRITE_HINT)
        if not makes_folder and not target.resolve().parent.is_dir():
            raise OutputError(f"the output's folder {target.resolve().parent} does not exist")

    @contextlib.contextmanager
    def existing(self, is_ours: Callable[[BinaryIO], bool]) -> Iterator[BinaryIO | None]:
        """Yield the file that stands there, opened for reading, or None where there is none.

        Raises:
            OutputError: It isn't one of ours and may not be overwritten, or can't be read.
        """
        with contextlib.ExitStack() as stack:
            try:
                file = None if self.is_special else stack.enter_context(self.target.open("rb"))
                if file is not None and not self._overwrite and not is_ours(file):
                    raise OutputError("the output exists already and was not written by rvq", OVERWRITE_HINT)
                if file is not None:
                    file.seek(0)
            except FileNotFoundError:
                file = None
            except OSError as error:
                raise write_error(error) from error
            yield file

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Yield the file to write to, open for reading too; it gets its name when the block ends well, else it is removed.

        Raises:
            OutputError: It can't be written, or the output appeared meanwhile.
        """
        if self.is_special:
            with writing(), self.target.open("wb") as device:
                yield device
            return
        final = self.target.resolve()
        with writing():
            if self._makes_folder:
                final.parent.mkdir(parents=True, exist_ok=True)
            file = _create(temporary_path(final))
        try:
            with _full_disks():
                yield file
            _place(file, final, self._replaces)
        except BaseException:
            _discard(file, temporary_path(final))
            raise


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Translate what the system says of an output; a closed pipe is the caller's to end quietly."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise write_error(error) from error


@contextlib.contextmanager
def _full_disks() -> Iterator[None]:
    """Translate what only a write can raise, from work that reads too."""
    try:
        yield
    except OSError as error:
        if error.errno in _WRITE_ERRORS:
            raise write_error(error) from error
        raise


def same_file_error() -> OutputError:
    """Return the refusal of an output that would destroy its input."""
    return OutputError("the output is the input itself", "name another target")


def is_special(path: Path) -> bool:
    """Return whether a path exists and is neither a file nor a folder: a device, a named pipe, a socket."""
    status = _status(path)
    return status is not None and _is_special(status)


def _is_special(status: os.stat_result) -> bool:
    return not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode)


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
    return OutputError(f"the output cannot be written: {reason_of(error)}")


def temporary_path(target: Path) -> Path:
    """Return the temporary path of an output: short, hidden, beside it, and a function of its name."""
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=5).hexdigest()
    return target.with_name(f".{digest}.tmp")


def remove_leftover(target: Path) -> None:
    """Remove the temporary file that a killed run left beside an output."""
    with contextlib.suppress(OSError):
        temporary_path(target.resolve()).unlink(missing_ok=True)


def _create(temporary: Path) -> BinaryIO:
    """Create the temporary file anew and return it, open."""
    temporary.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(temporary, flags, 0o666), "w+b")


def _is_ours(file: BinaryIO, temporary: Path) -> bool:
    """Return whether the temporary name still leads to the file that was created under it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), temporary.lstat())
    except OSError:
        return False


def _place(file: BinaryIO, final: Path, replaces: bool) -> None:
    """Flush the temporary file to the disk, give it its name and close it."""
    temporary = temporary_path(final)
    with writing():
        file.flush()
        if not _is_ours(file, temporary):
            raise OutputError("another run is writing the same output")
        os.fsync(file.fileno())
        if os.name == "nt":  # an open file can't be renamed there
            file.close()
        try:
            temporary.replace(final) if replaces else _rename_if_absent(temporary, final)
        except FileExistsError as error:
            raise OutputError("the output exists already: it was created in the meantime", OVERWRITE_HINT) from error
        file.close()
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


def _discard(file: BinaryIO, temporary: Path) -> None:
    """Remove a temporary file that gets no name, unless another run has taken its place."""
    with contextlib.suppress(OSError):
        if file.closed or _is_ours(file, temporary):
            temporary.unlink()
    with contextlib.suppress(OSError):
        file.close()


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
