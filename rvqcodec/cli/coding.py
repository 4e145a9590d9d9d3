"""`rvq encode` and `rvq decode`: refuse early and without torch, then hand the jobs to an engine."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from rvqcodec.batch.job import STREAM, Job
from rvqcodec.batch.together import is_gpu, run_together
from rvqcodec.batch.work import DecodeWork, EncodeWork, Settings, Work, audio_seconds, run_here
from rvqcodec.batch.workers import run_in_workers, worth_of_workers
from rvqcodec.cli.entry import UsageError
from rvqcodec.cli.jobs import Plan
from rvqcodec.cli.outcomes import Teller, report_file
from rvqcodec.cli.report import Report
from rvqcodec.cli.streams import flushed_stdout, refuse_stream_conflicts, stdin_bytes
from rvqcodec.formats.audio.containers import container_of
from rvqcodec.formats.files import is_special
from rvqcodec.formats.rvq.header import MAX_CHUNK_FRAMES
from rvqcodec.pipeline.coding import DecodeOptions, EncodeOptions
from rvqcodec.pipeline.opening import Place
from rvqcodec.times import parse_time
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_model

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
ENCODE_BYTES_PER_WORKER = 4 << 20
DECODE_BYTES_PER_WORKER = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How several files are worked on.

    n_workers: Processes; 0 takes as many as there are cores and as the work is worth.
    fail_fast: Whether the first failure ends the run.
    report: Where a line for each file is written, or None.
    ray_address: The Ray cluster that does the work, or None for this machine.
    """

    n_workers: int = 0
    fail_fast: bool = False
    report: Path | None = None
    ray_address: str | None = None


def batch_of(n_jobs: int | None, fail_fast: bool, report: str | None, engine: str, ray_address: str | None) -> Batch:
    """Return what the flags say of several files.

    Raises:
        UsageError: Ray is not installed, or its address is given without --engine ray.
    """
    if engine != "ray" and ray_address is not None:
        raise UsageError("--ray-address is for --engine ray")
    if engine == "ray" and find_spec("ray") is None:
        raise UsageError("what --engine ray needs is not installed", "pip install 'rvqcodec[ray]'")
    return Batch(
        n_workers=n_jobs or 0,
        fail_fast=fail_fast,
        report=None if report is None else Path(report),
        ray_address=(ray_address or "auto") if engine == "ray" else None,
    )


def encode(plan: Plan, settings: Settings, options: EncodeOptions, batch: Batch, report: Report) -> int:
    """Encode what was planned and return the exit status.

    Raises:
        UsageError: An option is out of range, or options contradict each other.
        ModelError: There is no such model.
        OutputError: The report can't be written.
    """
    check_settings(settings)
    refuse_stream_conflicts(plan.jobs, as_json=report.as_json, remove=settings.remove)
    check_encode(options, find_model(settings.model or DEFAULT_MODEL))
    return _run(plan, EncodeWork(settings=settings, options=options), batch, report, ENCODE_BYTES_PER_WORKER)


def decode(plan: Plan, settings: Settings, options: DecodeOptions, batch: Batch, report: Report) -> int:
    """Decode what was planned and return the exit status.

    Raises:
        UsageError: An option is out of range, or options contradict each other.
        ModelError: There is no such model.
        OutputError: An output's extension is not one of audio, or the report can't be written.
    """
    check_settings(settings)
    refuse_stream_conflicts(plan.jobs, as_json=report.as_json, remove=settings.remove)
    check_decode(options, settings.remove)
    if settings.model is not None:
        find_model(settings.model)
    for job in plan.jobs:
        if job.target_path is not None and not is_special(job.target_path):
            container_of(job.target_path.suffix)
    settings = replace(settings, mark=settings.resume or plan.has_tree or len(plan.jobs) > 1)
    return _run(plan, DecodeWork(settings=settings, options=options), batch, report, DECODE_BYTES_PER_WORKER)


def _run(plan: Plan, work: Work, batch: Batch, report: Report, bytes_per_worker: int) -> int:
    """Run the jobs, and tell what comes of them."""
    jobs = plan.jobs
    if batch.ray_address is not None and any(STREAM in (job.source, job.target) for job in jobs):
        raise UsageError("--engine ray can't reach standard input and output", "name files")
    n_workers = min(len(jobs), batch.n_workers or worth_of_workers(jobs, bytes_per_worker))
    with report_file(batch.report, overwrite=work.settings.overwrite or work.settings.resume) as rows:
        single_s = audio_seconds(jobs[0].source_path) if len(jobs) == 1 and report.draws_bars else None
        with report.bar(jobs, single_s) as bar:
            teller = Teller(report, bar, rows, n_jobs=len(jobs), fail_fast=batch.fail_fast)
            try:
                _run_on(batch, jobs, work, n_workers, teller)
            except BaseException:
                teller.cut_short()
                raise
        return teller.end(with_table=plan.has_tree)


def _run_on(batch: Batch, jobs: Sequence[Job], work: Work, n_workers: int, teller: Teller) -> None:
    """Hand the jobs to the engine."""
    if batch.ray_address is not None:
        from rvqcodec.batch.ray_engine import run_on_ray

        run_on_ray(jobs, work, batch.n_workers, teller, batch.ray_address)
    elif is_gpu(work.settings.device) and not _is_live(jobs):
        run_together(jobs, work, batch.n_workers, teller)
    elif n_workers > 1:
        run_in_workers(jobs, work, n_workers, teller)
    else:
        _run_here(jobs, work, teller)


def _is_live(jobs: Sequence[Job]) -> bool:
    """Tell whether the only job reads or writes a pipe: what comes in should go out soon, and a read may last."""
    if len(jobs) != 1:
        return False
    paths = (jobs[0].source_path, jobs[0].target_path)
    with contextlib.suppress(OSError):  # told where the file is opened
        return any(path is None or path.is_fifo() for path in paths)
    return False


def _run_here(jobs: Sequence[Job], work: Work, teller: Teller) -> None:
    if len(jobs) > 1 or (jobs[0].source_path is not None and jobs[0].target_path is not None):
        run_here(jobs, work, teller)
        return
    job = jobs[0]
    source: Place = job.source_path or stdin_bytes()
    with contextlib.ExitStack() as stack:
        target: Place = job.target_path or stack.enter_context(flushed_stdout())
        run_here(jobs, work, teller, (source, target))


def check_settings(settings: Settings) -> None:
    """Refuse a device that can't be one.

    Raises:
        UsageError: It isn't auto, cpu, cuda, cuda:N or mps, or the model has no name.
    """
    if settings.model == "":
        raise UsageError("--model needs a name", "rvq models list shows them")
    if not DEVICE.fullmatch(settings.device):
        raise UsageError(f"no device is called {settings.device!r}", "--device takes auto, cpu, cuda, cuda:N or mps")


def check_encode(options: EncodeOptions, model: ModelFile) -> None:
    """Refuse what the model can't do, while its weights and torch aren't loaded.

    Raises:
        UsageError: Layers or the length of a chunk are out of range.
    """
    traits = model.traits
    if options.n_layers is not None and not 1 <= options.n_layers <= traits.n_layers:
        raise UsageError(f"--layers {options.n_layers}: the model {model.name} has 1 to {traits.n_layers} layers")
    longest = MAX_CHUNK_FRAMES * traits.hop_length // traits.sample_rate
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
