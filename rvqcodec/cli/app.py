"""The commands and their flags, and nothing else: each command plans its jobs and calls one function."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
import typer.main

from rvqcodec.cli import examples, flags
from rvqcodec.cli.errors import ClosedPipe, UsageError
from rvqcodec.cli.groups import BatchFlags, FolderFlags, OutputFlags, ReportFlags, with_groups
from rvqcodec.cli.models_app import models_app
from rvqcodec.cli.report import Report
from rvqcodec.version import __version__

if TYPE_CHECKING:
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli.plan import Plan

TRAINING = "rvqcodec.training.commands"


class Commands(typer.core.TyperGroup):
    """The top group. It loads `train` when that is asked for, and keeps typer from ending a closed pipe with 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return [*super().list_commands(ctx), "train"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, or None."""
        return super().get_command(ctx, cmd_name) if cmd_name != "train" else _training_commands()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the arguments name, and the arguments that it gets.

        Raises:
            UsageError: It is `train` and what training needs is not installed.
        """
        if args[0] == "train" and _training_commands() is None:
            raise UsageError("what rvq train needs is not installed", "pip install 'rvqcodec[train]'")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ClosedPipe from error


def _training_commands() -> Any:
    """Return the group `train`, or None when what it needs is not installed."""
    try:
        return typer.main.get_command(importlib.import_module(TRAINING).app)
    except ModuleNotFoundError:
        return None


app = typer.Typer(
    cls=Commands,
    name="rvq",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Neural audio codec: audio to .rvq files and back, at a few kbps per channel.",
    epilog=examples.RVQ,
)
app.add_typer(models_app, name="models")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; errors are the caller's to report."""
    status = typer.main.get_command(app).main(arguments, "rvq", standalone_mode=False)
    return status if isinstance(status, int) else 0


def _print_version(asked: bool) -> None:
    if asked:
        print(f"rvq {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(epilog=examples.ENCODE)
@with_groups
def encode(
    *,
    names: flags.Inputs = None,
    output: OutputFlags,
    remove: flags.Remove = False,
    no_tags: flags.NoTags = False,
    chunk: flags.Chunk = 10,
    layers: flags.Layers = None,
    bitrate: flags.Bitrate = None,
    effort: flags.Search = flags.Effort.DEFAULT,
    entropy: flags.Coding = flags.Entropy.AUTO,
    model: flags.Model = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    folder: FolderFlags,
    resume: flags.Resume = False,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Encode audio to .rvq files.

    Two names are an input and its output when the second ends in .rvq or
    is -; otherwise all are inputs, and each becomes NAME.rvq beside it, or
    in the folder that -o names. Folders are searched for audio files, and
    their tree is mirrored in the folder that -o names.
    """
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import coding, plan
    from rvqcodec.pipeline.options import EncodeOptions

    options = EncodeOptions(
        n_layers=layers,
        bitrate_kbps=bitrate,
        effort=effort.value,
        entropy=entropy.value,
        chunk_s=chunk,
        n_threads=threads or 0,
        tags=not no_tags,
    )
    settings = Settings(model=model, device=device, overwrite=output.force, remove=remove, resume=resume)
    planned = plan.plan_encode(names or [], output.output, output.to_stdout, folder.folders())
    return coding.encode(planned, settings, options, many.batch(), reports.report())


@app.command(epilog=examples.DECODE)
@with_groups
def decode(
    *,
    names: flags.Inputs = None,
    output: OutputFlags,
    remove: flags.Remove = False,
    no_tags: flags.NoTags = False,
    bits: flags.SampleBits = None,
    rate: flags.Rate = None,
    start: flags.Start = "0",
    duration: flags.Duration = None,
    end: flags.End = None,
    model: flags.Model = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    folder: FolderFlags,
    resume: flags.Resume = False,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Decode .rvq files to audio.

    Two names are an input and its output when the second doesn't end in
    .rvq; otherwise all are inputs, and each becomes NAME.wav beside it, or
    in the folder that -o names, where trees are mirrored. The output's
    extension (.wav .flac .ogg .opus .mp3 .aiff .caf ...) selects the format.
    """
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import coding, plan
    from rvqcodec.formats.audio.pcm import SampleFormat
    from rvqcodec.pipeline.options import DecodeOptions

    options = DecodeOptions(
        start=start,
        end=end,
        duration=duration,
        sample_rate=rate or 0,
        sample_format=None if bits is None else SampleFormat[bits.name],
        n_threads=threads or 0,
        tags=not no_tags,
    )
    settings = Settings(model=model, device=device, overwrite=output.force, remove=remove, resume=resume)
    planned = plan.plan_decode(names or [], output.output, output.to_stdout, folder.folders())
    return coding.decode(planned, settings, options, many.batch(), reports.report())


@app.command(epilog=examples.INFO)
@with_groups
def info(
    *,
    names: flags.Inputs = None,
    folder: FolderFlags,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Show what .rvq files hold; reads only their first bytes and their end."""
    from rvqcodec.cli import plan, stored

    planned = plan.plan_read(names or [], folder.folders(), "info")
    return stored.info(planned, many.batch(), reports.report())


@app.command(epilog=examples.VERIFY)
@with_groups
def verify(
    *,
    names: flags.Inputs = None,
    deep: flags.Deep = False,
    model: flags.TablesOf = None,
    folder: FolderFlags,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Check .rvq files against their checksums: exit status 5 for a damaged one, 3 when some of several fail."""
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import plan, stored

    planned = plan.plan_read(names or [], folder.folders(), "verify")
    return stored.verify(planned, Settings(model=model), many.batch(), reports.report(), deep=deep)


@app.command(epilog=examples.TRIM)
@with_groups
def trim(
    *,
    names: flags.Inputs = None,
    layers: flags.Kept,
    output: OutputFlags,
    folder: FolderFlags,
    resume: flags.Resume = False,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Drop layers from .rvq files: no model, no re-encoding, the same bytes as encoding with fewer layers."""
    from rvqcodec.cli import stored

    settings, planned = _copying(names, output, folder, resume, None, "trim")
    return stored.trim(planned, settings, layers, many.batch(), reports.report())


@app.command(epilog=examples.TRANSCODE)
@with_groups
def transcode(
    *,
    names: flags.Inputs = None,
    output: OutputFlags,
    entropy: flags.Coding = flags.Entropy.AUTO,
    model: flags.TablesOf = None,
    folder: FolderFlags,
    resume: flags.Resume = False,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Re-code .rvq files losslessly with another entropy mode, or with a newer network; needs no model."""
    from rvqcodec.cli import stored

    settings, planned = _copying(names, output, folder, resume, model, "transcode")
    return stored.transcode(planned, settings, entropy.value, many.batch(), reports.report())


@app.command(epilog=examples.RECOVER)
@with_groups
def recover(
    *,
    names: flags.Inputs = None,
    output: OutputFlags,
    model: flags.TablesOf = None,
    folder: FolderFlags,
    resume: flags.Resume = False,
    many: BatchFlags,
    reports: ReportFlags,
) -> int:
    """Save what is intact in damaged .rvq files, and report what was lost."""
    from rvqcodec.cli import stored

    settings, planned = _copying(names, output, folder, resume, model, "recover")
    return stored.recover(planned, settings, many.batch(), reports.report())


def _copying(
    names: list[str] | None, output: OutputFlags, folder: FolderFlags, resume: bool, model: str | None, command: str
) -> tuple[Settings, Plan]:
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import plan

    settings = Settings(model=model, overwrite=output.force, resume=resume)
    return settings, plan.plan_copy(names or [], output.output, output.to_stdout, folder.folders(), command)


@app.command("eval", epilog=examples.EVAL)
def evaluate(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The original recording.")],
    degraded: Annotated[str, typer.Argument(metavar="DEG", help="The decoded recording: audio, or an .rvq file.")],
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Score a decoded recording against its original: ViSQOL, Zimtohrli, PESQ, STOI, mel distance, SI-SDR."""
    from rvqcodec.cli import scores

    return scores.evaluate(reference, degraded, Report(as_json=as_json, debug=debug))
