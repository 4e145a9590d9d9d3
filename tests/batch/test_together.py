"""Files side by side in threads, the engine of a GPU, run on the CPU here."""

from __future__ import annotations

import threading

import pytest
from fakes import Ear, FakeWork, make_jobs

from rvqcodec.batch.job import Done
from rvqcodec.batch.together import is_gpu, run_together
from rvqcodec.batch.warned import warned
from rvqcodec.batch.work import run_here
from rvqcodec.errors import AudioError, BugError


def test_every_job_is_done_once_and_as_one_after_the_other(tmp_path):
    jobs = make_jobs(tmp_path, *(f"{i:02}" for i in range(30)), "missing", "bug")
    one, many = Ear(), Ear()
    run_here(jobs, FakeWork(), one)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run_together(jobs, FakeWork(), 5, many)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(many.outcomes) == sorted(one.outcomes) == sorted(many.begun)
    assert isinstance(many.outcomes["missing"], AudioError) and isinstance(many.outcomes["bug"], BugError)
    assert isinstance(many.outcomes["00"], Done) and threading.active_count() == 1


def test_failures_and_interrupts_end_it(tmp_path):
    ear = Ear(stop_at="missing")
    run_together(make_jobs(tmp_path, "missing", *map(str, range(400))), FakeWork(), 2, ear)
    assert len(ear.outcomes) < 400 and threading.active_count() == 1

    class Shocked(Ear):
        def finished(self, job, outcome):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_together(make_jobs(tmp_path, *map(str, range(400))), FakeWork(), 2, Shocked())
    assert not list(tmp_path.glob(".*")) and threading.active_count() == 1


def test_warnings_go_to_the_thread_that_caused_them():
    import logging

    heard = []
    with warned(heard.append):
        thread = threading.Thread(target=logging.getLogger("rvqcodec").warning, args=("another's",))
        thread.start()
        thread.join()
        logging.getLogger("rvqcodec").warning("mine")
    assert heard == ["mine"]


def test_devices():
    assert is_gpu("cuda:1") and is_gpu("mps") and not is_gpu("cpu")
