"""Model registry: embedded and imported models by name, path or fingerprint; no torch."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from platformdirs import user_data_path

from rvqcodec.errors import ModelError, reason_of
from rvqcodec.models.families import read_config
from rvqcodec.models.family import Traits
from rvqcodec.weights.importers import RECIPES

DEFAULT_MODEL = "rvq48"
MODELS_VARIABLE = "RVQ_MODELS"
SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 1 << 20
MAX_NAME_BYTES = 64
KEYS = frozenset({"kind", "name", "fingerprint", "config"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A model on disk.

    Args:
        kind: Its family.
        name: Its name.
        fingerprint: Identifies the meaning of its codes: 16 hex digits.
        path: Of its weights.
        config: Its configuration as JSON.
    """

    kind: str
    name: str
    fingerprint: str
    path: Path
    config: str

    @property
    def traits(self) -> Traits:
        """Properties that engine and format need.

        Raises:
            ModelError: The family is unknown or the configuration is invalid.
        """
        return read_config(self.kind, self.config).traits()

    @property
    def is_embedded(self) -> bool:
        """Whether it is embedded in the package."""
        return self.path.parent == data_folder()

    @property
    def tables_path(self) -> Path:
        """Path of the static entropy tables, beside the weights."""
        return self.path.with_name(self.path.stem + ".static" + SUFFIX)

    @property
    def network_paths(self) -> list[Path]:
        """Paths of the entropy networks beside the weights, NAME.network-1.safetensors and so on, newest last."""
        pattern = re.compile(re.escape(self.path.stem) + r"\.network-(\d{1,4})" + re.escape(SUFFIX))
        found = ((match, path) for path in self.path.parent.iterdir() if (match := pattern.fullmatch(path.name)))
        return [path for _, path in sorted((int(match[1]), path) for match, path in found)]

    @property
    def card_path(self) -> Path:
        """Path of the model card, beside the weights."""
        return self.path.with_name(self.path.stem + ".md")

    @property
    def files(self) -> list[Path]:
        """Its existing files: weights, tables, networks with their cards, and card."""
        networks = [path for network in self.network_paths for path in (network, network.with_suffix(".md"))]
        return [p for p in (self.path, self.tables_path, *networks, self.card_path) if p.is_file()]


def data_folder() -> Path:
    """Return the folder of the embedded models."""
    return Path(str(resources.files("rvqcodec.weights") / "data"))


def user_folder() -> Path:
    """Return the folder of imported models: $RVQ_MODELS, or a default in the user's data folder."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else user_data_path("rvqcodec") / "models"


def weights_path(folder: Path, name: str) -> Path:
    """Return the path of the weights of a model in a folder.

    Raises:
        ModelError: The name is invalid.
    """
    usable = name == Path(name).name and not name.startswith(".") and SUFFIX not in name
    if not usable or not name.isprintable() or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise ModelError(
            f"{name!r} is not a valid model name", f"expected 1 to {MAX_NAME_BYTES} bytes of text without slashes"
        )
    return folder / (name + SUFFIX)


def list_models() -> list[ModelFile]:
    """Return the embedded models, then the imported ones, each sorted by name; unreadable ones are skipped with a warning."""
    found: dict[str, ModelFile] = {}
    for folder in (data_folder(), user_folder()):
        for path in sorted(folder.glob("*" + SUFFIX)):
            if _is_companion(path):
                continue
            try:
                model = read_model_file(path)
                read_config(model.kind, model.config)
            except ModelError as error:
                log.warning("%s is skipped: %s", path, error.message)
            else:
                found.setdefault(model.name, model)
    return list(found.values())


def _is_companion(path: Path) -> bool:
    """Return whether a file holds the tables or a network of a model beside it."""
    return re.search(r"\.(static|network-\d{1,4})$", path.stem) is not None


def find_model(name: str) -> ModelFile:
    """Return a model by name or by the path of its weights file.

    Raises:
        ModelError: There is no such model, or the file isn't one.
    """
    if name.endswith(SUFFIX):
        return read_model_file(Path(name))
    for folder in (data_folder(), user_folder()):
        path = weights_path(folder, name)
        if path.is_file():
            return read_model_file(path)
    known = ", ".join(model.name for model in list_models()) or "none"
    raise ModelError(
        f"unknown model: {name!r}",
        _how_to_import(name) or f"known models: {known} (rvq models list), or the path of a {SUFFIX} file",
    )


def find_fingerprint(fingerprint: str, name: str) -> ModelFile:
    """Return the model with a fingerprint.

    Args:
        fingerprint: 16 hex digits from a file's header.
        name: The model's name in that header, for the message.

    Raises:
        ModelError: No such model is available.
    """
    models = list_models()
    for model in models:
        if model.fingerprint == fingerprint:
            return model
    known = ", ".join(f"{model.name} ({model.fingerprint})" for model in models)
    raise ModelError(
        f"the file needs the model {name!r} with fingerprint {fingerprint}",
        _how_to_import(name) or f"available: {known}; name another with --model, or: rvq models import FILE",
    )


def _how_to_import(name: str) -> str:
    recipe = RECIPES.get(name)
    return f"rvq models import DIR --as {name}, where DIR holds {recipe.source}" if recipe else ""


def read_model_file(path: Path) -> ModelFile:
    """Read the description of a model from its weights file, without the tensors.

    Raises:
        ModelError: The file is missing or isn't a model of this package.
    """
    metadata = read_metadata(path)
    if not set(metadata) >= KEYS:
        raise ModelError(f"{path} is not a model of this package", "rvq models import reads those of other projects")
    found = ModelFile(path=path, **{key: metadata[key] for key in KEYS})
    weights_path(path.parent, found.name)
    if not re.fullmatch("[0-9a-f]{16}", found.fingerprint):
        raise ModelError(f"the model in {path} has a fingerprint that isn't 16 hex digits")
    return found


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file.

    Raises:
        ModelError: The file is missing or isn't a safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 0 < size <= MAX_HEADER_BYTES else None
    except OSError as error:
        raise ModelError(f"{path}: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read as a model") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelError(f"{path} is not a safetensors file")
    return metadata
