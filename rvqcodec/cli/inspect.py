"""`rvq info`, `verify`, `trim` and `recover`: what can be done with .rvq files without a model, and without torch."""

from __future__ import annotations

import functools
import mmap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rvqcodec.batch.job import STREAM, Job
from rvqcodec.cli.entry import UsageError
from rvqcodec.cli.jobs import Plan, files_of, refuse_folders
from rvqcodec.cli.report import Outcome, Report, Task, run_tasks
from rvqcodec.cli.streams import open_input, open_output, open_seekable, refuse_stream_conflicts
from rvqcodec.cli.text import format_rates, format_size, format_table, shown
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, Tables
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.recover import Loss, Recovery
from rvqcodec.formats.rvq.recover import recover as recover_file
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.trim import trim as trim_file
from rvqcodec.formats.rvq.verify import summarize
from rvqcodec.formats.rvq.verify import verify as verify_file
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.times import format_time


def info(names: Sequence[str], report: Report) -> int:
    """Tell what .rvq files hold, from their first bytes and their end; return the exit status.

    Raises:
        UsageError: A name is a folder's or standard input.
    """
    if STREAM in names:
        raise UsageError("info reads the end of a file, which standard input doesn't have", "name a file")
    refuse_folders(names)
    tasks = [Task(names={"file": name}, work=functools.partial(_info_one, name)) for name in names]
    return run_tasks(tasks, report, to_stdout=True)


def _info_one(name: str) -> Outcome:
    with open_input(Path(name)) as file:
        about = summarize(file)
    return Outcome(fields=about, line=format_table(_info_rows(name, about)))


def _info_rows(name: str, about: dict[str, Any]) -> list[tuple[str, str]]:
    size = about["size_bytes"]
    chunks = "1 chunk" if about["n_chunks"] == 1 else f"{about['n_chunks']} chunks"
    rows = [
        ("file", name),
        ("format", f"rvq {about['format_version']}"),
        ("model", f"{about['model']} ({about['fingerprint']})"),
        ("duration", f"{format_time(about['duration_s'])} ({about['n_samples']} samples)"),
        ("source", f"{about['sample_rate']} Hz, {_channels(about)}"),
        ("layers", f"{_layers(about)}, {about['frame_rate']:g} frames/s"),
        ("bitrate", f"{about['nominal_kbps']:.2f} kbps nominal, {about['actual_kbps']:.2f} kbps on disk"),
        ("size", f"{format_size(size)} ({size} bytes)"),
        ("entropy", ", ".join(about["entropy"]) or "none"),
        ("chunks", f"{chunks} of {about['chunk_s']:g} s"),
    ]
    if about["source"]:
        rows.append(("encoder", f"{about['source']['encoder']}, effort {about['source']['effort']}"))
    return rows + [(f"tag {key}", value) for key, value in about["tags"].items()]


def _layers(about: dict[str, Any]) -> str:
    groups = about["groups"]
    sizes = sorted({group["codebook_size"] for group in groups}, reverse=True)
    return f"{about['n_layers']} of {' and '.join(map(str, sizes))} entries"


def _channels(about: dict[str, Any]) -> str:
    if about["channels"] == 1:
        return "mono"
    return f"stereo, {about['stereo']}" if about["channels"] == 2 else f"{about['channels']} channels"


def verify(names: Sequence[str], report: Report, *, deep: bool, recursive: bool) -> int:
    """Check .rvq files and those in folders, each in one line, and return the exit status.

    Raises:
        UsageError: A name is a URL, or standard input is named twice.
        AudioError: A folder can't be read, or holds no .rvq files.
    """
    names = list(files_of(names, recursive))
    if names.count(STREAM) > 1:
        raise UsageError("standard input can be read only once")
    tasks = [Task(names={"file": name}, work=functools.partial(_verify_one, name, deep)) for name in names]
    return run_tasks(tasks, report, to_stdout=True)


def _verify_one(name: str, deep: bool) -> Outcome:
    with open_seekable(None if name == STREAM else Path(name)) as file:
        header = RvqReader(file).header
        file.seek(0)
        tail, digest = verify_file(file, _tables(header) if deep else EMPTY_TABLES, deep=deep)
    duration_s = tail.end.n_samples / header.signal.sample_rate
    fields: dict[str, Any] = {
        "deep": deep,
        "n_samples": tail.end.n_samples,
        "duration_s": duration_s,
        "n_layers": header.signal.n_layers,
        "n_chunks": tail.end.n_chunks,
    }
    if deep:
        fields["codes_sha256"] = digest
    line = f"{shown(name, 'stdin')}: ok  {format_time(duration_s)}  {header.signal.n_layers} layers"
    return Outcome(fields=fields, line=f"{line}  codes {digest[:16]}" if deep else line)


def _tables(header: Header) -> Tables:
    """Return the entropy tables that a file may use, loaded only where it may use some."""
    if not header.table_ids:
        return EMPTY_TABLES
    from rvqcodec.pipeline.tables import tables_for

    return tables_for(header)


def trim(plan: Plan, n_layers: int, report: Report, *, overwrite: bool) -> int:
    """Write an .rvq file's first layers as a file of their own, and return the exit status.

    Raises:
        UsageError: Options contradict each other.
    """
    return _copy(plan, report, functools.partial(_trim_one, n_layers, overwrite))


def _trim_one(n_layers: int, overwrite: bool, job: Job) -> Outcome:
    with open_seekable(job.source_path) as source, open_output(job, overwrite=overwrite) as target:
        writer = trim_file(source, target, n_layers)
    return _written(job, writer)


def transcode(plan: Plan, entropy: str, report: Report, *, overwrite: bool) -> int:
    """Write .rvq files' codes with another entropy mode, and return the exit status.

    Raises:
        UsageError: Options contradict each other.
    """
    return _copy(plan, report, functools.partial(_transcode_one, entropy, overwrite))


def _transcode_one(entropy: str, overwrite: bool, job: Job) -> Outcome:
    from rvqcodec.pipeline.stored import transcode

    with open_seekable(job.source_path) as source, open_output(job, overwrite=overwrite) as target:
        writer = transcode(source, target, entropy)
    return _written(job, writer)


def _written(job: Job, writer: RvqWriter) -> Outcome:
    signal = writer.header.signal
    duration_s = writer.tally.n_samples / signal.sample_rate
    fields = {
        "duration_s": duration_s,
        "n_layers": signal.n_layers,
        "size_bytes": writer.n_bytes,
        "nominal_kbps": signal.nominal_bitrate / 1000,
        "actual_kbps": 8 * writer.n_bytes / duration_s / 1000 if duration_s else 0.0,
    }
    line = "  ".join(
        (
            _arrow(job),
            format_time(duration_s),
            format_rates(signal.n_layers, fields["nominal_kbps"], fields["actual_kbps"]),
            format_size(writer.n_bytes),
        )
    )
    return Outcome(fields=fields, line=line)


def recover(plan: Plan, report: Report, *, overwrite: bool) -> int:
    """Save what is intact in a damaged .rvq file, tell what was lost, and return the exit status.

    Raises:
        UsageError: Options contradict each other.
    """
    return _copy(plan, report, functools.partial(_recover_one, overwrite))


def _recover_one(overwrite: bool, job: Job) -> Outcome:
    started = time.monotonic()
    with open_seekable(job.source_path) as source:
        header = RvqReader(source).header
        data = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
        with data, open_output(job, overwrite=overwrite) as target:
            # A memory map slices to bytes, as the annotation of `data` asks.
            found = recover_file(data, target, _tables(header))  # type: ignore[arg-type]
    signal = header.signal
    duration_s = found.n_samples / signal.sample_rate
    fields = {
        "seconds": round(time.monotonic() - started, 3),
        "duration_s": duration_s,
        "n_chunks": found.n_chunks,
        "end_known": found.end_known,
        "losses": [_loss_fields(loss) for loss in found.losses],
        "size_bytes": found.n_bytes,
    }
    head = f"{_arrow(job)}  {format_time(duration_s)}  {format_size(found.n_bytes)}"
    return Outcome(fields=fields, line="\n".join([head, *_loss_lines(found, duration_s, signal.n_layers)]))


def _arrow(job: Job) -> str:
    return f"{shown(job.source, 'stdin')} -> {shown(job.target, 'stdout')}"


def _loss_fields(loss: Loss) -> dict[str, Any]:
    return {"chunk": loss.number, "start_s": loss.start_s, "end_s": loss.end_s, "n_layers": loss.n_layers}


def _loss_lines(found: Recovery, duration_s: float, n_layers: int) -> list[str]:
    """Return what was lost, a line for each chunk."""
    lines = []
    for loss in found.losses:
        span = f"{format_time(loss.start_s)} to {format_time(min(loss.end_s, duration_s))}"
        kept = f"keeps {loss.n_layers} of {n_layers} layers" if loss.n_layers else "is lost and silent now"
        lines.append(f"  chunk {loss.number}, {span}, {kept}")
    if not found.end_known:
        lines.append(f"  the end is missing: the audio now ends at {format_time(duration_s)}")
    return lines or ["  nothing was lost"]


def _copy(plan: Plan, report: Report, work: Any) -> int:
    refuse_stream_conflicts(plan.jobs, as_json=report.as_json, remove=False)
    tasks = [
        Task(names={"input": job.source, "output": job.target}, work=functools.partial(work, job)) for job in plan.jobs
    ]
    return run_tasks(tasks, report)
