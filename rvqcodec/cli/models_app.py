"""The commands of `rvq models` and their flags."""

from __future__ import annotations

from typing import Annotated

import typer

from rvqcodec.cli import flags
from rvqcodec.cli.report import Report

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or the path of a .safetensors file.")]

models_app = typer.Typer(no_args_is_help=True, help="List, show, import, remove and verify models.")


@models_app.command("list")
def list_models(as_json: flags.Json = False) -> int:
    """List the available models; * marks the default."""
    from rvqcodec.cli import models

    return models.list_models(Report(as_json=as_json))


@models_app.command("show")
def show_model(name: Name, as_json: flags.Json = False) -> int:
    """Show a model's configuration and card."""
    from rvqcodec.cli import models

    return models.show_model(name, Report(as_json=as_json))


@models_app.command("import")
def import_model(
    source: Annotated[
        str, typer.Argument(metavar="PATH", help="A .safetensors file of this package, or a folder as published.")
    ],
    name: Annotated[
        str,
        typer.Option(
            "--as", metavar="NAME", help="The model in a folder, such as lyra-v1.2.0, or a new name for that of a file."
        ),
    ] = "",
    force: Annotated[bool, typer.Option("-f", "--force", help="Replace a model of that name.")] = False,
    as_json: flags.Json = False,
) -> int:
    """Import a model into your data folder, or into $RVQ_MODELS."""
    from rvqcodec.cli import models

    return models.import_model(source, name, Report(as_json=as_json), overwrite=force)


@models_app.command("remove")
def remove_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An imported model.")], as_json: flags.Json = False
) -> int:
    """Remove an imported model."""
    from rvqcodec.cli import models

    return models.remove_model(name, Report(as_json=as_json))


@models_app.command("verify")
def verify_model(name: Name, as_json: flags.Json = False) -> int:
    """Load a model completely and check its fingerprint."""
    from rvqcodec.cli import models

    return models.verify_model(name, Report(as_json=as_json))
