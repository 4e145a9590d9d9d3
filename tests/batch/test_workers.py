"""Jobs in processes: shared out, lost, interrupted."""

from __future__ import annotations

import multiprocessing

import pytest

from rvqcodec.batch.engines import Processes, Serial
from rvqcodec.batch.engines.processes import MAX_GROUP_FILES, grouped, worth_of_workers
from rvqcodec.batch.job import Done
from rvqcodec.errors import AudioError, BugError, DeviceError
from tests.batch.fakes import Ear, FakeWork, make_jobs


def outputs(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith((".out", ".tmp")))


def test_every_job_is_done_once_and_as_in_one_process(tmp_path):
    jobs = make_jobs(tmp_path, *(f"{i:02}" for i in range(20)), "missing")
    one, many = Ear(), Ear()
    Serial().run(jobs, FakeWork(), one)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    Processes(2).run(jobs, FakeWork(), many)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(many.outcomes) == sorted(one.outcomes) == sorted(many.begun)
    assert isinstance(many.outcomes["missing"], AudioError) and many.outcomes["missing"].message == "no such file"
    assert not multiprocessing.active_children()


def test_a_lost_worker_costs_the_file_it_was_at(tmp_path):
    ear = Ear()
    Processes(2).run(make_jobs(tmp_path, "a", "deadly", "fatal", "b", "c"), FakeWork(), ear)
    assert {name for name, outcome in ear.outcomes.items() if isinstance(outcome, Done)} == {"a", "fatal", "b", "c"}
    assert isinstance(ear.outcomes["deadly"], DeviceError) and "killed by signal 9" in str(ear.outcomes["deadly"])
    assert ear.begun.count("deadly") == ear.begun.count("fatal") == 2
    assert outputs(tmp_path) == ["a.out", "b.out", "c.out", "fatal.out"]


def test_what_a_lost_worker_finished_but_could_not_tell_of_is_taken_over(tmp_path):
    ear = Ear()
    Processes(2).run(make_jobs(tmp_path, "a", "late", "b"), FakeWork(), ear)
    assert all(isinstance(outcome, Done) and not outcome.skipped for outcome in ear.outcomes.values())
    assert ear.begun.count("late") == 2 and outputs(tmp_path) == ["a.out", "b.out", "late.out"]


def test_the_first_failure_can_end_the_run(tmp_path):
    ear = Ear(stop_at="missing")
    Processes(2).run(make_jobs(tmp_path, "missing", *map(str, range(40))), FakeWork(), ear)
    assert len(ear.outcomes) < 40 and not multiprocessing.active_children()


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_bug_is_told_and_the_rest_goes_on(tmp_path, n_workers):
    ear, jobs = Ear(), make_jobs(tmp_path, "bug", "a")
    Processes(n_workers).run(jobs, FakeWork(), ear) if n_workers else Serial().run(jobs, FakeWork(), ear)
    assert isinstance(ear.outcomes["a"], Done) and isinstance(ear.outcomes["bug"], BugError)
    assert "KeyError" in ear.outcomes["bug"].message and "Traceback" in ear.outcomes["bug"].trace
    assert not multiprocessing.active_children()


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        Processes(1).run(make_jobs(tmp_path, "slow", "a"), FakeWork(), Ear(shock=KeyboardInterrupt()))
    assert not [name for name in outputs(tmp_path) if name != "a.out"] and not multiprocessing.active_children()


def test_groups_are_short_and_few_processes_do_little_work(tmp_path):
    jobs = make_jobs(tmp_path, *map(str, range(20)))
    assert [len(group) for group in grouped(jobs)] == [MAX_GROUP_FILES, MAX_GROUP_FILES, 4]
    assert [job for group in grouped(jobs) for job in group] == jobs
    assert worth_of_workers(jobs, 1 << 20) == 1
