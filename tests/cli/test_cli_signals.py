"""What a run leaves behind that is told to end, and standard output that can't be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import os, signal, sys, time
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever nohup or a background shell handed down
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
from rvqcodec.cli import app, command
from rvqcodec.formats.files import Output

def run(_):
    with Output(Path("a.rvq")).open():
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(60)

app.run = run
command()
"""


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such signals")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_leaves_no_temporary_file(here, name, status):
    number = str(getattr(signal, name).value)
    done = subprocess.run([sys.executable, "-c", RUN, number], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, list(here.iterdir())) == (status, b"", [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", [["info", "a.rvq"], ["info", "--json", "a.rvq"], ["verify", "a.rvq"]])
def test_a_full_disk_under_standard_output_is_an_output_error(stored, arguments):
    stored()
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rvqcodec", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 7 and done.stderr.startswith(b"rvq: the output cannot be written: no space left")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such pipes")
@pytest.mark.parametrize(
    "arguments", [["trim", "a.rvq", "-n", "2", "-c"], ["info", "a.rvq"], ["verify", "--json", "a.rvq"]]
)
def test_a_reader_that_has_gone_ends_it_quietly(stored, arguments):
    stored()
    words = [sys.executable, "-m", "rvqcodec", *arguments]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    with process.stderr as stderr:
        assert (stderr.read(), process.wait()) == (b"", 141)
