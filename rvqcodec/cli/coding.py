"""`rvq encode` and `rvq decode`: options are checked before any file, without torch; then the runner runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rvqcodec.batch.coding import DecodeWork, EncodeWork
from rvqcodec.batch.work import Settings
from rvqcodec.cli.errors import UsageError
from rvqcodec.cli.plan import Plan
from rvqcodec.cli.report import Report
from rvqcodec.cli.run import Batch, run
from rvqcodec.cli.verbs import CODING
from rvqcodec.formats.audio.containers import container_of
from rvqcodec.formats.files import is_special
from rvqcodec.pipeline.coding import check_options
from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
from rvqcodec.pipeline.tables import tables_to_write
from rvqcodec.times import parse_time
from rvqcodec.weights.registry import DEFAULT_MODEL, SUFFIX, find_model

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def encode(plan: Plan, settings: Settings, options: EncodeOptions, batch: Batch, report: Report) -> int:
    """Encode what was planned and return the exit status.

    Raises:
        ArgumentError: An option is out of range.
        UsageError: Options contradict each other.
        ModelError: There is no such model, or it doesn't have the entropy mode asked for.
        OutputError: The report can't be written.
    """
    settings = checked(settings)
    model = find_model(settings.model or DEFAULT_MODEL)
    check_options(model, options)
    if options.entropy in ("static", "network"):
        tables_to_write(model.fingerprint, options.entropy, model.path)
    return run(plan, EncodeWork(settings=settings, options=options), CODING, batch, report)


def decode(plan: Plan, settings: Settings, options: DecodeOptions, batch: Batch, report: Report) -> int:
    """Decode what was planned and return the exit status.

    Raises:
        ArgumentError: An option is out of range.
        UsageError: Options contradict each other.
        ModelError: There is no such model.
        OutputError: An output's extension is not one of audio, or the report can't be written.
    """
    settings = checked(settings)
    _refuse_times(options, settings.remove)
    if settings.model is not None:
        find_model(settings.model)
    for job in plan.jobs:
        if job.target_path is not None and not is_special(job.target_path):
            container_of(job.target_path.suffix)
    settings = replace(settings, mark=settings.resume or plan.has_tree or len(plan.jobs) > 1)
    return run(plan, DecodeWork(settings=settings, options=options), CODING, batch, report)


def checked(settings: Settings) -> Settings:
    """Refuse a device that can't be one; return the settings as they hold in every working folder.

    Raises:
        UsageError: It isn't auto, cpu, cuda, cuda:N or mps, or the model has no name.
    """
    if settings.model == "":
        raise UsageError("--model needs a name", "rvq models list shows them")
    if not DEVICE.fullmatch(settings.device):
        raise UsageError(f"unknown device: {settings.device!r}", "--device takes auto, cpu, cuda, cuda:N or mps")
    if settings.model is not None and settings.model.endswith(SUFFIX):
        return replace(settings, model=str(Path(settings.model).absolute()))
    return settings


def _refuse_times(options: DecodeOptions, remove: bool) -> None:
    """Refuse times that aren't any, and the removal of what was decoded in part."""
    for text in (options.start, options.end, options.duration):
        if text is not None:
            parse_time(str(text), 1)
    if remove and (options.end is not None or options.duration is not None or parse_time(str(options.start), 1)):
        raise UsageError("--rm would remove a file of which only a part was decoded")
