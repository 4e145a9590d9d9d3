"""The commands and their flags, and nothing else: each command calls one function."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from rvqcodec.cli import examples, flags
from rvqcodec.cli.entry import ClosedPipe, UsageError
from rvqcodec.cli.report import Report
from rvqcodec.version import __version__

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
    help="Neural audio codec: audio to .rvq files and back, at 0.5 to 12 kbps per channel.",
    epilog=examples.RVQ,
)
models_app = typer.Typer(no_args_is_help=True, help="List, show, import, remove and verify models.")
app.add_typer(models_app, name="models")


def run(arguments: list[str]) -> int:
    """Run one command and return its exit status; errors are the caller's to tell."""
    status = typer.main.get_command(app).main(arguments, "rvq", standalone_mode=False)
    return status if isinstance(status, int) else 0


def _print_version(wanted: bool) -> None:
    if wanted:
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
def encode(
    names: flags.Inputs = None,
    output: flags.Out = None,
    to_stdout: flags.Stdout = False,
    force: flags.Force = False,
    remove: flags.Remove = False,
    no_tags: flags.NoTags = False,
    layers: flags.Layers = None,
    bitrate: flags.Bitrate = None,
    effort: flags.Search = flags.Effort.DEFAULT,
    model: flags.Model = None,
    entropy: flags.Coding = flags.Entropy.AUTO,
    chunk: flags.Chunk = 10,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    recursive: flags.Recursive = False,
    extensions: flags.Extensions = None,
    exclude: flags.Exclude = None,
    filelist: flags.Filelist = None,
    resume: flags.Resume = False,
    n_jobs: flags.JobCount = None,
    engine: flags.RunBy = flags.Engine.LOCAL,
    ray_address: flags.RayAddress = None,
    fail_fast: flags.FailFast = False,
    report_to: flags.ReportFile = None,
    quiet: flags.Quiet = 0,
    verbose: flags.Verbose = False,
    as_json: flags.Json = False,
    no_progress: flags.NoProgress = False,
    debug: flags.Debug = False,
) -> int:
    """Encode audio to .rvq files.

    Two names are an input and its output when the second ends in .rvq or
    is -; otherwise all are inputs, and each becomes NAME.rvq beside it, or
    in the folder that -o names. Of a folder, all audio files are taken, and
    its tree is mirrored in the folder that -o names.
    """
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import coding, jobs
    from rvqcodec.pipeline.coding import EncodeOptions

    if layers is not None and bitrate is not None:
        raise UsageError("--layers and --bitrate exclude each other")
    options = EncodeOptions(
        n_layers=layers,
        bitrate_kbps=bitrate,
        effort=effort.value,
        entropy=entropy.value,
        chunk_s=chunk,
        n_threads=threads or 0,
        tags=not no_tags,
    )
    settings = Settings(model=model, device=device, overwrite=force, remove=remove, resume=resume)
    batch = coding.batch_of(n_jobs, fail_fast, report_to, engine.value, ray_address)
    folders = jobs.folders_of(recursive, extensions, exclude, filelist)
    report = _report(quiet, verbose, as_json, not no_progress, debug)
    plan = jobs.plan_encode(names or [], output, to_stdout, folders)
    return coding.encode(plan, settings, options, batch, report)


@app.command(epilog=examples.DECODE)
def decode(
    names: flags.Inputs = None,
    output: flags.Out = None,
    to_stdout: flags.Stdout = False,
    force: flags.Force = False,
    remove: flags.Remove = False,
    no_tags: flags.NoTags = False,
    start: flags.Start = "0",
    duration: flags.Duration = None,
    end: flags.End = None,
    bits: flags.SampleBits = None,
    rate: flags.Rate = None,
    model: flags.Model = None,
    device: flags.Device = "auto",
    threads: flags.Threads = None,
    recursive: flags.Recursive = False,
    extensions: flags.Extensions = None,
    exclude: flags.Exclude = None,
    filelist: flags.Filelist = None,
    resume: flags.Resume = False,
    n_jobs: flags.JobCount = None,
    engine: flags.RunBy = flags.Engine.LOCAL,
    ray_address: flags.RayAddress = None,
    fail_fast: flags.FailFast = False,
    report_to: flags.ReportFile = None,
    quiet: flags.Quiet = 0,
    verbose: flags.Verbose = False,
    as_json: flags.Json = False,
    no_progress: flags.NoProgress = False,
    debug: flags.Debug = False,
) -> int:
    """Decode .rvq files to audio.

    Two names are an input and its output when the second doesn't end in
    .rvq; otherwise all are inputs, and each becomes NAME.wav beside it, or
    in the folder that -o names, where trees are mirrored. The output's extension (.wav .flac .ogg
    .opus .mp3 .aiff .caf ...) chooses the kind of file.
    """
    from rvqcodec.batch.work import Settings
    from rvqcodec.cli import coding, jobs
    from rvqcodec.formats.audio.pcm import SampleFormat
    from rvqcodec.pipeline.coding import DecodeOptions

    options = DecodeOptions(
        start=start,
        end=end,
        duration=duration,
        sample_rate=rate or 0,
        sample_format=None if bits is None else SampleFormat[bits.name],
        n_threads=threads or 0,
        tags=not no_tags,
    )
    settings = Settings(model=model, device=device, overwrite=force, remove=remove, resume=resume)
    batch = coding.batch_of(n_jobs, fail_fast, report_to, engine.value, ray_address)
    folders = jobs.folders_of(recursive, extensions, exclude, filelist)
    report = _report(quiet, verbose, as_json, not no_progress, debug)
    plan = jobs.plan_decode(names or [], output, to_stdout, folders)
    return coding.decode(plan, settings, options, batch, report)


@app.command(epilog=examples.INFO)
def info(names: flags.Files, as_json: flags.Json = False, debug: flags.Debug = False) -> int:
    """Tell what .rvq files hold, from their first bytes and their end."""
    from rvqcodec.cli import inspect

    return inspect.info(names, _report(as_json=as_json, debug=debug))


@app.command(epilog=examples.VERIFY)
def verify(
    names: flags.Files,
    recursive: flags.Recursive = False,
    deep: Annotated[bool, typer.Option("--deep", help="Decode all codes too; needs no model.")] = False,
    quiet: flags.Quiet = 0,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Check .rvq files, also whole folders: exit status 5 for a damaged one, 3 when some of several fail."""
    from rvqcodec.cli import inspect

    return inspect.verify(names, _report(quiet, as_json=as_json, debug=debug), deep=deep, recursive=recursive)


@app.command(epilog=examples.TRIM)
def trim(
    names: flags.Names,
    layers: Annotated[int, typer.Option("-n", "--layers", metavar="N", min=1, help="Layers to keep.")],
    output: flags.Out = None,
    to_stdout: flags.Stdout = False,
    force: flags.Force = False,
    quiet: flags.Quiet = 0,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Drop layers from an .rvq file: no model, no re-encoding, the same bytes as encoding with fewer layers."""
    from rvqcodec.cli import inspect, jobs

    plan = jobs.plan_copy(names, output, to_stdout)
    return inspect.trim(plan, layers, _report(quiet, as_json=as_json, debug=debug), overwrite=force)


@app.command(epilog=examples.TRANSCODE)
def transcode(
    names: flags.Names,
    entropy: flags.Coding = flags.Entropy.AUTO,
    output: flags.Out = None,
    to_stdout: flags.Stdout = False,
    force: flags.Force = False,
    quiet: flags.Quiet = 0,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Write an .rvq file's codes anew: another entropy mode, or a newer network; no model, nothing is lost."""
    from rvqcodec.cli import inspect, jobs

    plan = jobs.plan_copy(names, output, to_stdout)
    return inspect.transcode(plan, entropy.value, _report(quiet, as_json=as_json, debug=debug), overwrite=force)


@app.command("eval", epilog=examples.EVAL)
def evaluate(
    reference: Annotated[str, typer.Argument(metavar="REF", help="The original recording.")],
    degraded: Annotated[str, typer.Argument(metavar="DEG", help="What came of it: audio, or an .rvq file.")],
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Score a decoded recording against its original: ViSQOL, Zimtohrli, PESQ, STOI, mel distance, SI-SDR."""
    from rvqcodec.cli import scores

    return scores.evaluate(reference, degraded, _report(as_json=as_json, debug=debug))


@app.command(epilog=examples.RECOVER)
def recover(
    names: flags.Names,
    output: flags.Out = None,
    to_stdout: flags.Stdout = False,
    force: flags.Force = False,
    quiet: flags.Quiet = 0,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> int:
    """Save what is intact in a damaged .rvq file, and tell what was lost."""
    from rvqcodec.cli import inspect, jobs

    plan = jobs.plan_copy(names, output, to_stdout)
    return inspect.recover(plan, _report(quiet, as_json=as_json, debug=debug), overwrite=force)


@models_app.command("list")
def list_models(as_json: flags.Json = False) -> int:
    """List the models at hand; * marks the default."""
    from rvqcodec.cli import models

    return models.list_models(_report(as_json=as_json))


@models_app.command("show")
def show_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or the path of a .safetensors file.")],
    as_json: flags.Json = False,
) -> int:
    """Show a model's configuration and card."""
    from rvqcodec.cli import models

    return models.show_model(name, _report(as_json=as_json))


@models_app.command("import")
def import_model(
    source: Annotated[
        str, typer.Argument(metavar="PATH", help="A .safetensors file of this package, or a folder as published.")
    ],
    name: Annotated[
        str,
        typer.Option("--as", metavar="NAME", help="What a folder holds, such as lyra-v1.2.0; of a file another name."),
    ] = "",
    force: Annotated[bool, typer.Option("-f", "--force", help="Replace a model of that name.")] = False,
    as_json: flags.Json = False,
) -> int:
    """Import a model into your data folder, or into $RVQ_MODELS."""
    from rvqcodec.cli import models

    return models.import_model(source, name, _report(as_json=as_json), overwrite=force)


@models_app.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An imported model.")], as_json: flags.Json = False
) -> int:
    """Remove an imported model."""
    from rvqcodec.cli import models

    return models.remove_model(name, _report(as_json=as_json))


@models_app.command("verify")
def verify_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or the path of a .safetensors file.")],
    as_json: flags.Json = False,
) -> int:
    """Load a model as a whole and check it against its fingerprint."""
    from rvqcodec.cli import models

    return models.verify_model(name, _report(as_json=as_json))


def _report(
    quiet: int = 0, verbose: bool = False, as_json: bool = False, progress: bool = True, debug: bool = False
) -> Report:
    return Report(quiet=quiet, verbose=verbose, as_json=as_json, progress=progress, debug=debug)
