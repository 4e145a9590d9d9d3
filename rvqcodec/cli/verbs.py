"""Output of each verb's outcomes: JSON fields, and a line or a table for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rvqcodec.batch.job import Done, Job
from rvqcodec.cli.text import format_rates, format_size, format_table, shown
from rvqcodec.pipeline.options import EFFORTS
from rvqcodec.times import format_time

FIELDS = (
    "seconds",
    "x_real_time",
    "duration_s",
    "n_layers",
    "size_bytes",
    "nominal_kbps",
    "actual_kbps",
    "input_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """How one verb's outcomes are reported.

    names: What JSON says of a job whatever comes of it.
    fields: What it says of what went well.
    line: The same for people.
    null_fields: What is null after a failure.
    is_result: Whether the lines are what was asked for, on standard output, rather than reports on stderr.
    """

    names: Callable[[Job], dict[str, str]]
    fields: Callable[[Done], dict[str, Any]]
    line: Callable[[Job, Done], str]
    null_fields: tuple[str, ...] = FIELDS
    is_result: bool = False


def _pair(job: Job) -> dict[str, str]:
    return {"input": job.source, "output": job.target}


def _file(job: Job) -> dict[str, str]:
    return {"file": job.source}


def _made_fields(done: Done) -> dict[str, Any]:
    result = done.result
    return {
        "seconds": round(done.seconds, 3),
        "x_real_time": None if done.skipped else round(_speed(done), 2),
        "duration_s": result.duration_s,
        "n_samples": result.n_samples,
        "sample_rate": result.sample_rate,
        "channels": result.channels,
        "n_layers": result.n_layers,
        "size_bytes": done.n_bytes_out,
        "nominal_kbps": result.nominal_kbps,
        "actual_kbps": result.actual_kbps,
        "n_clipped": result.n_clipped,
        "input_bytes": done.n_bytes_in,
        **done.details,
    }


def _coded_line(job: Job, done: Done) -> str:
    return f"{_copied_line(job, done)}  {'' if done.skipped else f'{_speed(done):.3g} x real time'}".rstrip()


def _copied_line(job: Job, done: Done) -> str:
    result = done.result
    parts = (
        _arrow(job),
        format_time(result.duration_s),
        format_rates(result.n_layers, result.nominal_kbps, result.actual_kbps),
        format_size(done.n_bytes_out),
        *(["up to date"] if done.skipped else []),
    )
    return "  ".join(parts)


def _arrow(job: Job) -> str:
    return f"{shown(job.source, 'stdin')} -> {shown(job.target, 'stdout')}"


def _speed(done: Done) -> float:
    return done.result.duration_s / done.seconds if done.seconds > 0 else 0.0


def _recovered_line(job: Job, done: Done) -> str:
    head = (_arrow(job), format_time(done.result.duration_s), format_size(done.n_bytes_out))
    skipped = ["up to date"] if done.skipped else []
    return "\n".join(["  ".join([*head, *skipped]), *_losses(done)])


def _losses(done: Done) -> list[str]:
    """Return what was lost, a line for each chunk."""
    lines, duration_s = [], done.result.duration_s
    for loss in done.details["losses"]:
        span = f"{format_time(loss['start_s'])} to {format_time(min(loss['end_s'], duration_s))}"
        n_kept = loss["n_layers"]
        kept = f"keeps {n_kept} of {done.result.n_layers} layers" if n_kept else "is lost and silent now"
        lines.append(f"  chunk {loss['chunk']}, {span}, {kept}")
    if not done.details["end_known"]:
        lines.append(f"  the end is missing: the audio now ends at {format_time(duration_s)}")
    return lines or ["  nothing was lost"]


def _verified_fields(done: Done) -> dict[str, Any]:
    result = done.result
    fields = {"n_samples": result.n_samples, "duration_s": result.duration_s, "n_layers": result.n_layers}
    return {**fields, "size_bytes": result.n_bytes, **done.details}


def _verified_line(job: Job, done: Done) -> str:
    line = f"{shown(job.source, 'stdin')}: ok  {format_time(done.result.duration_s)}  {done.result.n_layers} layers"
    return f"{line}  codes {done.details['codes_sha256'][:16]}" if done.details["deep"] else line


def _info_table(job: Job, done: Done) -> str:
    about = done.details
    n_bytes = about["size_bytes"]
    chunks = "1 chunk" if about["n_chunks"] == 1 else f"{about['n_chunks']} chunks"
    rows = [
        ("file", job.source),
        ("format", f"rvq {about['format_version']}"),
        ("model", f"{about['model']} ({about['fingerprint']})"),
        ("duration", f"{format_time(about['duration_s'])} ({about['n_samples']} samples)"),
        ("source", f"{about['sample_rate']} Hz, {_channels(about['channels'], about['stereo'])}"),
        ("layers", f"{_layers(about['n_layers'], about['groups'])}, {about['frame_rate']:g} frames/s"),
        ("bitrate", f"{about['nominal_kbps']:.2f} kbps nominal, {about['actual_kbps']:.2f} kbps on disk"),
        ("size", f"{format_size(n_bytes)} ({n_bytes} bytes)"),
        ("entropy", ", ".join(about["entropy"]) or "none"),
        ("chunks", f"{chunks} of {about['chunk_s']:g} s"),
    ]
    if about["source"]:
        rows.append(("encoder", f"{about['source']['encoder']}, {_effort(about['source']['beam_width'])}"))
    return format_table([*rows, *((f"tag {key}", value) for key, value in about["tags"].items())])


def _effort(beam_width: int) -> str:
    """Return the effort with that beam width, as --effort names it."""
    names = [f"effort {name}" for name, width in EFFORTS.items() if width == beam_width]
    return names[0] if names else f"beam width {beam_width}"


def _layers(n_layers: int, groups: list[dict[str, Any]]) -> str:
    sizes = sorted({group["codebook_size"] for group in groups}, reverse=True)
    return f"{n_layers}, codebook size {' and '.join(map(str, sizes))}"


def _channels(n_channels: int, stereo: str) -> str:
    if n_channels == 1:
        return "mono"
    return f"stereo, {stereo}" if n_channels == 2 else f"{n_channels} channels"


CODING = Verb(names=_pair, fields=_made_fields, line=_coded_line)
COPYING = Verb(names=_pair, fields=_made_fields, line=_copied_line)
RECOVERY = Verb(names=_pair, fields=_made_fields, line=_recovered_line)
CHECK = Verb(names=_file, fields=_verified_fields, line=_verified_line, null_fields=(), is_result=True)
INFO = Verb(names=_file, fields=lambda done: dict(done.details), line=_info_table, null_fields=(), is_result=True)
