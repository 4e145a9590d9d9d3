"""Outputs: whole or absent, and never the input."""

import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from rvqcodec.errors import OutputError
from rvqcodec.formats.files import Output, is_special, temporary_path

NOBODY = 65_534


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_output_appears_when_it_is_whole(tmp_path):
    target = tmp_path / "out.wav"
    with Output(target, overwrite=False).open() as file:
        file.write(b"abc")
        (path,) = tmp_path.iterdir()
        assert path == temporary_path(target) and path.name.startswith(".") and len(path.name) < 20
    assert target.read_bytes() == b"abc" and names(tmp_path) == ["out.wav"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, OutputError])
def test_a_failure_leaves_nothing(tmp_path, error):
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")
    with pytest.raises(error), Output(target, overwrite=True).open() as file:
        file.write(b"half")
        raise error("x")
    assert target.read_bytes() == b"old" and names(tmp_path) == ["out.wav"]


def test_what_a_killed_run_left_is_taken_over(tmp_path):
    target = tmp_path / "out.wav"
    temporary_path(target).write_bytes(b"left by a killed run")
    with Output(target, overwrite=False).open() as file:
        assert names(tmp_path) == [temporary_path(target).name] and file.read() == b""
        file.write(b"new")
    assert target.read_bytes() == b"new" and names(tmp_path) == ["out.wav"]


def test_a_leftover_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    temporary_path(tmp_path / "out").symlink_to(tmp_path / "precious")
    with Output(tmp_path / "out", overwrite=False).open() as file:
        file.write(b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_overwriting_is_asked_for(tmp_path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists") as caught, Output(target, overwrite=False).open():
        pass
    assert "overwrite=True" in caught.value.hint
    with Output(target, overwrite=True).open() as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "out.wav"
    with pytest.raises(OutputError, match="in the meantime"), Output(target, overwrite=False).open() as file:
        file.write(b"new")
        target.write_bytes(b"appeared")
    assert target.read_bytes() == b"appeared" and names(tmp_path) == ["out.wav"]


def test_a_file_system_without_links_is_served(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Output(tmp_path / "a", overwrite=False).open() as file:
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(OutputError, match="in the meantime"), Output(tmp_path / "b", overwrite=False).open():
        (tmp_path / "b").write_bytes(b"appeared")
    assert (tmp_path / "b").read_bytes() == b"appeared"


def test_two_runs_to_one_output_do_not_mix(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="another run"), Output(target, overwrite=True).open() as first:
        first.write(b"first")
        with Output(target, overwrite=True).open() as second:
            second.write(b"second")
    assert target.read_bytes() == b"second" and names(tmp_path) == ["out"]


def test_longest_names_work(tmp_path):
    target = tmp_path / ("x" * 251 + ".wav")
    with Output(target, overwrite=False).open() as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    with pytest.raises(OutputError, match="too long"):
        Output(tmp_path / ("x" * 256), overwrite=False)


def test_links_are_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "real" / "a.wav")
    with pytest.raises(OutputError, match="exists"):
        Output(tmp_path / "link.wav", overwrite=False)
    with Output(tmp_path / "link.wav", overwrite=True).open() as file:
        file.write(b"new")
    assert (tmp_path / "link.wav").is_symlink() and (tmp_path / "real" / "a.wav").read_bytes() == b"new"


def test_the_input_is_never_the_output(tmp_path, monkeypatch):
    source = tmp_path / "a.wav"
    source.write_bytes(b"a")
    os.link(source, tmp_path / "hard.wav")
    (tmp_path / "soft.wav").symlink_to(source)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    for target in (
        source,
        Path("a.wav"),
        tmp_path / "hard.wav",
        tmp_path / "soft.wav",
        tmp_path / "sub" / ".." / "a.wav",
    ):
        with pytest.raises(OutputError, match="input itself"):
            Output(target, source=source, overwrite=True)
    with pytest.raises(OutputError, match="input itself"):
        Output(tmp_path / "absent", source=tmp_path / "absent", overwrite=True)
    Output(tmp_path / "b.wav", source=source, overwrite=False)
    Output(source, source=tmp_path / "absent", overwrite=True)


def test_folders_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        Output(tmp_path, overwrite=True)
    with pytest.raises(OutputError, match="does not exist"):
        Output(tmp_path / "no" / "where" / "a.wav", overwrite=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="folder is a file"):
        Output(tmp_path / "file" / "a.wav", overwrite=True)


@pytest.fixture
def unprivileged():
    """Be another user for a while where this is the superuser, who may write anywhere."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(NOBODY)
    yield
    if superuser:
        os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="only POSIX folders have such permissions")
def test_a_folder_without_permission_is_refused(unprivileged):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with pytest.raises(OutputError, match="permission denied"), Output(folder / "a", overwrite=False).open():
            pass
        folder.chmod(0o755)


def test_a_full_disk_is_said_plainly(tmp_path):
    with pytest.raises(OutputError, match="no space left"), Output(tmp_path / "a", overwrite=False).open() as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_devices_are_written_directly():
    null = Path(os.devnull)
    Output(null, source=null, overwrite=False)
    assert is_special(null)
    with Output(null, overwrite=False).open() as file:
        assert Path(file.name) == null


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are made with mkfifo")
def test_named_pipes_are_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    with Output(pipe, overwrite=False).open() as file:
        file.write(b"abc")
    reader.join()
    assert found == [b"abc"] and is_special(pipe)


def test_the_output_is_created_once_and_kept_open_until_it_has_its_name(tmp_path):
    with Output(tmp_path / "a", overwrite=False).open() as file:
        identity = os.fstat(file.fileno()).st_ino
        file.write(b"new")
    assert file.closed and (tmp_path / "a").stat().st_ino == identity


def test_a_resumed_output_replaces_only_what_is_ours(tmp_path):
    def is_ours(file):
        return file.read(4) == b"ours"

    (tmp_path / "a").write_bytes(b"a diary")
    with pytest.raises(OutputError, match="not written by rvq"), Output(tmp_path / "a", resume=True).existing(is_ours):
        pass
    with Output(tmp_path / "a", resume=True, overwrite=True).existing(is_ours) as file:
        assert file.read() == b"a diary"
    (tmp_path / "a").write_bytes(b"ours, but old")
    output = Output(tmp_path / "a", resume=True)
    with output.existing(is_ours) as file, output.open() as new:
        new.write(file.read()[5:])
    assert (tmp_path / "a").read_bytes() == b" but old"
    with Output(tmp_path / "b", resume=True).existing(is_ours) as file:
        assert file is None
