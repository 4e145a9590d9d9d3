"""Model management: import (from weights files or from other projects' releases), removal and verification."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from pathlib import Path

from rvqcodec.errors import ModelError, OutputError
from rvqcodec.weights.importers import RECIPES
from rvqcodec.weights.registry import (
    SUFFIX,
    ModelFile,
    data_folder,
    find_model,
    read_model_file,
    user_folder,
    weights_path,
)


def import_model(source: Path, name: str = "", *, overwrite: bool = False) -> ModelFile:
    """Import a model into the user's folder, atomically, and return it.

    Args:
        source: A weights file of this package, with its tables and networks beside it, or the source of a recipe (`importers.RECIPES`).
        name: Name of a recipe, or a new name for the model of a weights file.
        overwrite: Whether to replace a model of that name.

    Raises:
        ModelError: The source is no model, or the name is taken or invalid.
        OutputError: The user's folder can't be written.
    """
    recipe = RECIPES.get(name)
    if recipe is None and (source.is_dir() or source.suffix != SUFFIX):
        raise ModelError(f"{source} is not a weights file", f"models of other projects take --as: {', '.join(RECIPES)}")
    given = None if recipe else read_model_file(source)
    chosen = name or (given.name if given else "")
    target = weights_path(user_folder(), chosen)
    if weights_path(data_folder(), chosen).exists():
        raise ModelError(f"the model {chosen} is part of the package", "--as gives it another name")
    if target.exists() and not overwrite:
        raise ModelError(f"a model named {chosen} exists already", "-f replaces it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".import-", dir=target.parent) as folder:
            made = weights_path(Path(folder), chosen)
            if given is None:
                _convert(source, chosen, made)
            else:
                _copy(given, chosen, made)
            verify_model(read_model_file(made))
            for path in _files_of(target):
                path.unlink()
            for path in sorted(read_model_file(made).files, reverse=True):
                path.replace(target.with_name(path.name))
    except OSError as error:
        raise OutputError(f"cannot write {target.parent}: {error.strerror or error}") from error
    return read_model_file(target)


def remove_model(name: str) -> ModelFile:
    """Delete an imported model with its tables, networks and card, and return its description.

    Raises:
        ModelError: There is no such model, or it is embedded in the package.
        OutputError: It can't be deleted.
    """
    model = find_model(name)
    if model.path.parent != user_folder():
        raise ModelError(f"{name} is not an imported model", "rvq models list shows which ones are")
    try:
        for path in model.files:
            path.unlink()
    except OSError as error:
        raise OutputError(f"cannot remove {model.path}: {error.strerror or error}") from error
    return model


def verify_model(model: ModelFile) -> None:
    """Load a model completely; imports torch.

    Raises:
        ModelError: Its weights are damaged or don't match its configuration or fingerprint.
    """
    from rvqcodec.weights.load import load_model

    load_model(model, "cpu")


def _convert(source: Path, name: str, target: Path) -> None:
    """Convert the source of a recipe to a weights file."""
    from rvqcodec.weights.load import save_model

    if not source.is_dir():
        raise ModelError(f"{source} is not a folder", f"{name} is imported from {RECIPES[name].source}")
    model = importlib.import_module(RECIPES[name].module).import_model(source)
    save_model(model, name, target, half=False)


def _copy(model: ModelFile, name: str, target: Path) -> None:
    """Copy a model's files, renamed to `name`."""
    if name != model.name:
        from rvqcodec.weights.load import rename_model

        rename_model(model, name, target)
    for path in model.files:
        if path != model.path or name == model.name:
            shutil.copyfile(path, target.with_name(name + path.name.removeprefix(model.path.stem)))


def _files_of(path: Path) -> list[Path]:
    return read_model_file(path).files if path.exists() else []
