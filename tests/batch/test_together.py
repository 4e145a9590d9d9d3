"""Files side by side in threads, the engine of a GPU, run on the CPU here."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from rvqcodec.batch.coding import DecodeWork, EncodeWork
from rvqcodec.batch.engines import Gpu, Serial, gpu
from rvqcodec.batch.engines.gpu import is_gpu
from rvqcodec.batch.job import Done, Job
from rvqcodec.batch.warned import warned
from rvqcodec.batch.work import Settings
from rvqcodec.codec.batching import Batcher
from rvqcodec.errors import AudioError, BugError, DeviceError, FormatError
from rvqcodec.formats.files import Output
from rvqcodec.pipeline import coding
from rvqcodec.pipeline.coding import load_codec
from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
from rvqcodec.pipeline.stored import read_encoded
from tests.batch.fakes import Ear, FakeWork, make_jobs


def test_every_job_is_done_once_and_as_one_after_the_other(tmp_path):
    jobs = make_jobs(tmp_path, *(f"{i:02}" for i in range(30)), "missing", "bug")
    one, many = Ear(), Ear()
    Serial().run(jobs, FakeWork(), one)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    Gpu(5).run(jobs, FakeWork(), many)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(many.outcomes) == sorted(one.outcomes) == sorted(many.begun)
    assert isinstance(many.outcomes["missing"], AudioError) and isinstance(many.outcomes["bug"], BugError)
    assert isinstance(many.outcomes["00"], Done) and threading.active_count() == 1


def test_failures_and_interrupts_end_it(tmp_path):
    ear = Ear(stop_at="missing")
    Gpu(2).run(make_jobs(tmp_path, "missing", *map(str, range(400))), FakeWork(), ear)
    assert len(ear.outcomes) < 400 and threading.active_count() == 1

    class Shocked(Ear):
        def finished(self, job, outcome):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Gpu(2).run(make_jobs(tmp_path, *map(str, range(400))), FakeWork(), Shocked())
    assert not list(tmp_path.glob(".*")) and threading.active_count() == 1


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such signals")
def test_ctrl_c_ends_it_while_files_are_at_work(tmp_path, monkeypatch):
    class Interrupted(FakeWork):
        def run(self, job, codecs, progress):
            with Output(Path(job.target), overwrite=True).open():
                os.kill(os.getpid(), signal.SIGINT)
                deadline = time.monotonic() + 30
                while time.monotonic() < deadline:
                    progress(1.0)
                    time.sleep(0.01)
                raise AssertionError("nobody has ended it")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell may have it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            Gpu(1).run(make_jobs(tmp_path, "a", "b"), Interrupted(), Ear())
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list(tmp_path.iterdir()) and threading.active_count() == 1


def test_nothing_to_do_is_done(tmp_path):
    Gpu(0).run([], FakeWork(), Ear())


def test_warnings_go_to_the_thread_that_caused_them():
    import logging

    heard = []
    with warned(heard.append):
        thread = threading.Thread(target=logging.getLogger("rvqcodec").warning, args=("another's",))
        thread.start()
        thread.join()
        logging.getLogger("rvqcodec").warning("mine")
    assert heard == ["mine"]


@pytest.fixture(scope="module")
def batching():
    """The default model as a GPU has it."""
    codec = load_codec(device="cpu")
    codec.batcher = Batcher(codec)
    return codec


@pytest.fixture
def sounds(tmp_path):
    """Files of several lengths, rates and channels; the last is cut off."""
    generator = np.random.default_rng(0)
    for number, (seconds, rate, channels) in enumerate([(7, 24000, 1), (0.4, 48000, 2), (6, 48000, 2), (0, 8000, 1)]):
        noise = generator.standard_normal((int(seconds * rate), channels)).cumsum(0)
        sf.write(tmp_path / f"{number}.wav", 0.1 * noise / max(1, np.abs(noise).max(initial=0)), rate, "PCM_16")
    cut = (tmp_path / "1.wav").read_bytes()[:-2000]
    (tmp_path / "4.wav").write_bytes(cut)
    return tmp_path


def jobs_in(folder, before, after):
    return [
        Job(source=str(path), target=str(path.with_suffix(after)), n_bytes=path.stat().st_size)
        for path in sorted(folder.glob(f"*{before}"))
    ]


class Warned(Ear):
    """Remembers warnings too, and that everything was told in one thread."""

    def __init__(self):
        super().__init__()
        self.warnings = []
        self.thread = threading.get_ident()

    def progressed(self, job, seconds, total_s=None):
        assert threading.get_ident() == self.thread and job.source.rsplit("/")[-1] in self.begun

    def warned(self, job, text):
        assert threading.get_ident() == self.thread
        self.warnings.append((job.source.rsplit("/")[-1], text.split(":")[0]))


def test_files_in_common_batches_are_as_files_alone(sounds, batching, monkeypatch):
    settings, fast = Settings(device="cpu"), EncodeOptions(n_layers=2, effort="fast")
    encode, decode = EncodeWork(settings=settings, options=fast), DecodeWork(settings=settings, options=DecodeOptions())
    Serial().run(jobs_in(sounds, ".wav", ".rvq"), encode, Ear())
    Serial().run(jobs_in(sounds, ".rvq", ".aiff"), decode, Ear())
    monkeypatch.setattr(coding, "load", lambda *_: batching)
    ear = Warned()
    Gpu(0).run(jobs_in(sounds, ".wav", ".2.rvq"), encode, ear)
    assert len(ear.outcomes) == 5 and all(isinstance(outcome, Done) for outcome in ear.outcomes.values())
    assert ear.warnings == [("4.wav", "the WAV is truncated")]
    for job in jobs_in(sounds, ".wav", ".2.rvq"):
        one, other = read_encoded(job.source.replace(".wav", ".rvq")), read_encoded(job.target)
        assert one.codes.shape == other.codes.shape and np.array_equal(one.levels, other.levels)
        assert not one.codes.size or (one.codes == other.codes).mean() > 0.99
        (sounds / job.target).unlink()
    ear = Warned()
    Gpu(2).run(jobs_in(sounds, ".rvq", ".2.aiff"), decode, ear)
    assert len(ear.outcomes) == 5 and all(isinstance(outcome, Done) for outcome in ear.outcomes.values())
    for path in sounds.glob("?.aiff"):
        one, other = sf.read(path)[0], sf.read(path.with_suffix(".2.aiff"))[0]
        assert one.shape == other.shape and np.allclose(one, other, atol=1e-4)


def test_one_bad_file_costs_no_other(sounds, batching, monkeypatch):
    monkeypatch.setattr(coding, "load", lambda *_: batching)
    (sounds / "2.wav").write_bytes(b"not audio")
    options = EncodeOptions(n_layers=2, effort="fast")
    ear = Ear()
    Gpu(0).run(jobs_in(sounds, ".wav", ".rvq"), EncodeWork(settings=Settings(), options=options), ear)
    assert {name for name, outcome in ear.outcomes.items() if isinstance(outcome, AudioError)} == {"2.wav"}
    whole = (sounds / "0.rvq").read_bytes()
    (sounds / "0.rvq").write_bytes(whole[:100] + bytes(200) + whole[300:])
    ear = Ear()
    Gpu(0).run(jobs_in(sounds, ".rvq", ".aiff"), DecodeWork(settings=Settings(), options=DecodeOptions()), ear)
    assert {name for name, outcome in ear.outcomes.items() if isinstance(outcome, FormatError)} == {"0.rvq"}
    assert sorted(path.name for path in sounds.glob("*.aiff")) == ["1.aiff", "3.aiff", "4.aiff"]
    assert not list(sounds.glob(".*"))


def test_a_device_that_fails_is_told_for_each_file(sounds, batching, monkeypatch):
    def fail(*_):
        raise DeviceError("the device failed")

    monkeypatch.setattr(coding, "load", lambda *_: batching)
    monkeypatch.setattr(batching, "encode_windows", fail)
    ear = Ear()
    options = EncodeOptions(n_layers=2, effort="fast")
    Gpu(0).run(jobs_in(sounds, ".wav", ".rvq"), EncodeWork(settings=Settings(), options=options), ear)
    failed = {name for name, outcome in ear.outcomes.items() if isinstance(outcome, DeviceError)}
    assert failed == {"0.wav", "1.wav", "2.wav", "4.wav"}, "3.wav has no window"
    assert [path.name for path in sounds.iterdir() if path.suffix != ".wav"] == ["3.rvq"]


def test_an_interrupt_in_the_midst_of_files_leaves_nothing_half_written(sounds, batching, monkeypatch):
    class Shocked(Ear):
        def progressed(self, job, seconds, total_s=None):
            raise KeyboardInterrupt

    monkeypatch.setattr(coding, "load", lambda *_: batching)
    options = EncodeOptions(n_layers=2, effort="fast", chunk_s=1)
    with pytest.raises(KeyboardInterrupt):
        Gpu(0).run(jobs_in(sounds, ".wav", ".rvq"), EncodeWork(settings=Settings(), options=options), Shocked())
    assert not list(sounds.glob(".*"))
    for path in sounds.glob("*.rvq"):
        read_encoded(path)


def test_devices(tmp_path, monkeypatch):
    assert is_gpu("cuda:1") and is_gpu("mps") and not is_gpu("cpu")
    monkeypatch.setattr(gpu, "DEVICE_FILES", (str(tmp_path / "absent"),))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert not is_gpu("auto"), "torch isn't imported where the system shows no GPU"
