"""Flags that commands share, as groups: a command takes each group as one argument, and typer sees the single flags."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from rvqcodec.cli import flags
from rvqcodec.cli.report import Report

if TYPE_CHECKING:
    from rvqcodec.cli.inputs import Folders
    from rvqcodec.cli.run import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFlags:
    """Where outputs go."""

    output: flags.Out = None
    to_stdout: flags.Stdout = False
    force: flags.Force = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFlags:
    """How folders are read."""

    recursive: flags.Recursive = False
    extensions: flags.Extensions = None
    exclude: flags.Exclude = None
    filelist: flags.Filelist = None

    def folders(self) -> Folders:
        """Return what the flags say; a list of files is read here."""
        from rvqcodec.cli.inputs import folders_of

        return folders_of(self.recursive, self.extensions, self.exclude, self.filelist)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFlags:
    """How several files are worked on."""

    n_jobs: flags.JobCount = None
    engine: flags.RunBy = flags.Engine.LOCAL
    ray_address: flags.RayAddress = None
    fail_fast: flags.FailFast = False
    report_to: flags.ReportFile = None

    def batch(self) -> Batch:
        """Return what the flags say."""
        from rvqcodec.cli.run import batch_of

        return batch_of(self.n_jobs, self.fail_fast, self.report_to, self.engine.value, self.ray_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFlags:
    """How much is printed."""

    quiet: flags.Quiet = 0
    verbose: flags.Verbose = False
    as_json: flags.Json = False
    no_progress: flags.NoProgress = False
    debug: flags.Debug = False

    def report(self) -> Report:
        """Return what the flags say."""
        return Report(
            quiet=self.quiet,
            verbose=self.verbose,
            as_json=self.as_json,
            progress=not self.no_progress,
            debug=self.debug,
        )


def with_groups(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that takes the flags of its groups one by one; a group is an argument whose type is a dataclass."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _flags_of(groups[parameter.name])
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=kind))

    @functools.wraps(command)
    def flat(**values: Any) -> int:
        made = {name: _made(group, values) for name, group in groups.items()}
        return command(**values, **made)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _flags_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(f.name, kind, default=f.default, annotation=hints[f.name]) for f in fields(group)]


def _made(group: Any, values: dict[str, Any]) -> Any:
    """Take a group's flags out of all values."""
    return group(**{f.name: values.pop(f.name) for f in fields(group)})
