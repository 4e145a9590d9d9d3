"""`rvq encode` and `rvq decode`: refuse early and without torch, then load the model once and run the jobs."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rvqcodec.cli.entry import UsageError
from rvqcodec.cli.jobs import Job, Plan
from rvqcodec.cli.report import Outcome, Report, Task, run_tasks
from rvqcodec.cli.streams import flushed_stdout, open_input, refuse_stream_conflicts, stdin_bytes
from rvqcodec.cli.text import format_rates, format_size, shown
from rvqcodec.errors import FormatError, OutputError
from rvqcodec.formats.audio import open_reader
from rvqcodec.formats.containers import container_of
from rvqcodec.formats.files import check_output, is_special, write_error
from rvqcodec.formats.header import MAX_CHUNK_FRAMES
from rvqcodec.formats.stream import RvqReader
from rvqcodec.formats.verify import verify
from rvqcodec.models.config import CodecConfig
from rvqcodec.pipeline import DecodeOptions, EncodeOptions, Result, decode_file, encode_file, load_codec
from rvqcodec.tables import tables_for
from rvqcodec.times import format_time, parse_time
from rvqcodec.weights.registry import DEFAULT_MODEL, find_fingerprint, find_model

if TYPE_CHECKING:
    from rvqcodec.models.codec import Codec

FIELDS = ("seconds", "x_real_time", "duration_s", "n_layers", "size_bytes", "nominal_kbps", "actual_kbps")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What concerns files and the machine rather than the coding.

    model: A model's name or path; the default, or the one that a file names, when absent.
    overwrite, remove: Whether outputs may be replaced; whether inputs go once their output was checked.
    """

    model: str | None = None
    device: str = "auto"
    overwrite: bool = False
    remove: bool = False


@dataclass(slots=True)
class Codecs:
    """The models of one run, each loaded when it is first wanted, by name."""

    device: str
    _loaded: dict[str, Codec] = field(default_factory=dict)

    def get(self, name: str) -> Codec:
        """Return the model called `name`, ready to run."""
        if name not in self._loaded:
            self._loaded[name] = load_codec(name, self.device)
        return self._loaded[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all jobs of one command share."""

    plan: Plan
    settings: Settings
    report: Report
    codecs: Codecs

    def refuse_output(self, job: Job) -> None:
        """Refuse an output that can't or mustn't be written, once its folder is made."""
        if job.target_path is None:
            return
        if self.plan.folder is not None:
            _make_folder(self.plan.folder)
        check_output(job.source_path, job.target_path, overwrite=self.settings.overwrite)


def encode(plan: Plan, settings: Settings, options: EncodeOptions, report: Report) -> int:
    """Encode what was planned and return the exit status.

    Raises:
        UsageError: An option is out of range, or options contradict each other.
        ModelError: There is no such model.
    """
    name = settings.model or DEFAULT_MODEL
    check_settings(settings)
    refuse_stream_conflicts(plan.jobs, as_json=report.as_json, remove=settings.remove)
    check_encode(options, CodecConfig.from_json(find_model(name).config))
    run = Run(plan=plan, settings=settings, report=report, codecs=Codecs(settings.device))
    return run_tasks(_tasks(plan.jobs, functools.partial(_encode_one, run, name, options)), report)


def decode(plan: Plan, settings: Settings, options: DecodeOptions, report: Report) -> int:
    """Decode what was planned and return the exit status.

    Raises:
        UsageError: An option is out of range, or options contradict each other.
        ModelError: There is no such model.
        OutputError: An output's extension is not one of audio.
    """
    check_settings(settings)
    refuse_stream_conflicts(plan.jobs, as_json=report.as_json, remove=settings.remove)
    check_decode(options, settings.remove)
    if settings.model is not None:
        find_model(settings.model)
    for job in plan.jobs:
        if job.target_path is not None and not is_special(job.target_path):
            container_of(job.target_path.suffix)
    run = Run(plan=plan, settings=settings, report=report, codecs=Codecs(settings.device))
    return run_tasks(_tasks(plan.jobs, functools.partial(_decode_one, run, options)), report)


def check_settings(settings: Settings) -> None:
    """Refuse a device that can't be one.

    Raises:
        UsageError: It isn't auto, cpu, cuda, cuda:N or mps.
    """
    if not DEVICE.fullmatch(settings.device):
        raise UsageError(f"no device is called {settings.device!r}", "--device takes auto, cpu, cuda, cuda:N or mps")


def check_encode(options: EncodeOptions, config: CodecConfig) -> None:
    """Refuse what the model can't do, while its weights and torch aren't loaded.

    Raises:
        UsageError: Layers or the length of a chunk are out of range.
    """
    if not 1 <= options.n_layers <= config.n_codebooks:
        raise UsageError(f"--layers {options.n_layers}: the model has 1 to {config.n_codebooks} layers")
    longest = MAX_CHUNK_FRAMES // config.frame_rate
    if not 1 <= options.chunk_s <= longest:
        raise UsageError(f"--chunk {options.chunk_s}: a chunk has 1 to {longest} seconds")


def check_decode(options: DecodeOptions, remove: bool) -> None:
    """Refuse times that aren't any, and the removal of what was decoded in part.

    Raises:
        UsageError: One of them is asked for.
    """
    if options.end is not None and options.duration is not None:
        raise UsageError("--end and --duration exclude each other")
    for text in (options.start, options.end, options.duration):
        if text is not None:
            parse_time(str(text), 1)
    if remove and (options.end is not None or options.duration is not None or parse_time(str(options.start), 1)):
        raise UsageError("--rm would remove a file of which only a part was decoded")


def _tasks(jobs: Sequence[Job], work: Any) -> list[Task]:
    return [
        Task(names={"input": job.source, "output": job.target}, work=functools.partial(work, job), fields=FIELDS)
        for job in jobs
    ]


def _encode_one(run: Run, model: str, options: EncodeOptions, job: Job) -> Outcome:
    duration_s = _probe_audio(job.source_path)
    run.refuse_output(job)
    codec = run.codecs.get(model)
    run.report.detail(f"{shown(job.source, 'stdin')}: {codec.name} ({codec.fingerprint}), effort {options.effort}")
    started = time.monotonic()
    with run.report.bar(job.source, duration_s) as progress:
        if job.target_path is None:
            with flushed_stdout() as stdout:
                result = encode_file(_source(job), stdout, codec, options, progress=progress)
        else:
            overwrite = run.settings.overwrite
            result = encode_file(_source(job), job.target_path, codec, options, overwrite=overwrite, progress=progress)
    seconds = time.monotonic() - started
    if run.settings.remove:
        _remove_encoded(job)
    return _outcome(job, result, seconds)


def _decode_one(run: Run, options: DecodeOptions, job: Job) -> Outcome:
    model, duration_s = _probe_rvq(job.source_path, run.settings.model)
    run.refuse_output(job)
    codec = run.codecs.get(model) if model is not None else None
    if codec is not None:
        run.report.detail(f"{shown(job.source, 'stdin')}: {codec.name} ({codec.fingerprint})")
    started = time.monotonic()
    with run.report.bar(job.source, duration_s) as progress:
        device = run.settings.device
        if job.target_path is None:
            with flushed_stdout() as stdout:
                result = decode_file(_source(job), stdout, codec, options, device=device, progress=progress)
        else:
            result = decode_file(
                _source(job), job.target_path, codec, options,
                device=device, overwrite=run.settings.overwrite, progress=progress,
            )  # fmt: skip
    seconds = time.monotonic() - started
    if result.n_clipped:
        run.report.warn(
            shown(job.target, "stdout"), f"{result.n_clipped} samples were past full scale (--bits float keeps them)"
        )
    if run.settings.remove:
        _remove_decoded(job, result)
    return _outcome(job, result, seconds)


def _source(job: Job) -> Path | BinaryIO:
    return job.source_path or stdin_bytes()


def _probe_audio(path: Path | None) -> float | None:
    """Return the seconds of an audio file as far as they are known; refuse what isn't audio. Pipes are left alone."""
    if path is None or is_special(path):
        return None
    with open_reader(path) as reader:
        return None if reader.n_samples is None else reader.n_samples / reader.sample_rate


def _probe_rvq(path: Path | None, model: str | None) -> tuple[str | None, float | None]:
    """Return the model that an .rvq file needs and its seconds; refuse what is cut or unknown. Pipes are left alone."""
    if path is None or is_special(path):
        return model, None
    with open_input(path) as file:
        reader = RvqReader(file)
        signal = reader.header.signal
        duration_s = reader.read_tail().end.n_samples / signal.sample_rate
    return model or find_fingerprint(signal.fingerprint, signal.model).name, duration_s


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error) from error


def _remove_encoded(job: Job) -> None:
    """Remove the input once all codes of the output were read back and checked."""
    if job.source_path is None or job.target_path is None:
        return
    with open_input(job.target_path) as file:
        tables = tables_for(RvqReader(file).header)
        file.seek(0)
        verify(file, tables, deep=True)
    _remove(job.source_path)


def _remove_decoded(job: Job, result: Result) -> None:
    """Remove the input once the output was opened and has the right length, where its container tells it exactly."""
    if job.source_path is None or job.target_path is None:
        return
    with open_reader(job.target_path) as reader:
        if reader.sample_format and reader.n_samples != result.n_samples:
            raise FormatError("the output is shorter than it should be, so the input stays")
    _remove(job.source_path)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise OutputError(f"the input cannot be removed: {(error.strerror or str(error)).lower()}") from error


def _outcome(job: Job, result: Result, seconds: float) -> Outcome:
    speed = result.duration_s / seconds if seconds > 0 else 0.0
    n_bytes = result.n_bytes
    if job.target_path is not None and job.target_path.is_file():
        n_bytes = job.target_path.stat().st_size
    fields = {
        "seconds": round(seconds, 3),
        "x_real_time": round(speed, 2),
        "duration_s": result.duration_s,
        "n_samples": result.n_samples,
        "sample_rate": result.sample_rate,
        "channels": result.channels,
        "n_layers": result.n_layers,
        "size_bytes": n_bytes,
        "nominal_kbps": result.nominal_kbps,
        "actual_kbps": result.actual_kbps,
        "n_clipped": result.n_clipped,
    }
    line = "  ".join(
        (
            f"{shown(job.source, 'stdin')} -> {shown(job.target, 'stdout')}",
            format_time(result.duration_s),
            format_rates(result.n_layers, result.nominal_kbps, result.actual_kbps),
            format_size(n_bytes),
            f"{speed:.3g} x real time",
        )
    )
    return Outcome(fields=fields, line=line)
