"""Which models there are, what they are called and where their files lie; read without torch."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rvqcodec.errors import ModelError

DEFAULT_MODEL = "rvq48-v4"
SUFFIX = ".safetensors"
MAX_HEADER_BYTES = 1 << 20
MAX_NAME_BYTES = 64
FINISH = (
    "noise_bands",
    "makeup_centibels",
    "low_exponents",
    "pitch_strengths",
    "noise_evenness",
    "postfilter",
    "pitchless_gains",
    "buzz_strengths",
)
"""Parts of a configuration that a later calibration may replace: what a decoder does last, what the search minds; not what codes mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One model on disk: its name, what its codes mean, its weights and its configuration as JSON.

    `base` names the model beside it whose weights it has where it holds none of its own; "" where it holds all. That one may have a base
    itself.
    """

    name: str
    fingerprint: str
    path: Path
    config: str
    base: str = ""

    @property
    def tables_path(self) -> Path:
        """The static entropy tables beside the weights."""
        return self.path.with_name(self.path.stem + ".static" + SUFFIX)

    @property
    def network_paths(self) -> list[Path]:
        """The entropy networks beside the weights, the newest last: NAME.network-1.safetensors and so on."""
        pattern = re.compile(re.escape(self.path.stem) + r"\.network-(\d{1,4})" + re.escape(SUFFIX))
        found = ((match, path) for path in self.path.parent.iterdir() if (match := pattern.fullmatch(path.name)))
        return [path for _, path in sorted((int(match[1]), path) for match, path in found)]

    @property
    def base_path(self) -> Path | None:
        """The weights file beside this one that holds what this one lacks, or None.

        Raises:
            ModelError: It isn't there.
        """
        if not self.base:
            return None
        path = self.path.parent / (Path(self.base).name + SUFFIX)
        if self.base != Path(self.base).name or not path.is_file():
            raise ModelError(
                f"the weights of {self.name} need those of {self.base!r} beside them in {self.path.parent}"
            )
        return path

    @property
    def lineage(self) -> list[Path]:
        """The weights file, that of its base, that of the base's base, and so on.

        Raises:
            ModelError: One of them isn't there, or they go round in a circle.
        """
        model, paths = self, [self.path]
        while path := model.base_path:
            if path in paths:
                raise ModelError(f"the weights of {self.name} are based on themselves, by way of {path.name}")
            paths.append(path)
            model = read_model_file(path, finished=False)
        return paths

    @property
    def postfilter_path(self) -> Path:
        """The postfilter's weights: the model's own or else those of the nearest base that has any."""
        paths = [postfilter_of(path) for path in self.lineage]
        return next((path for path in paths if path.is_file()), paths[0])

    @property
    def finish_path(self) -> Path:
        """A newer calibration of the decoder's finish, and of the search, beside the weights, where there is one."""
        return finish_of(self.path)

    @property
    def card_path(self) -> Path:
        """The model card beside the weights."""
        return self.path.with_suffix(".md")


def data_folder() -> Path:
    """Return the folder of the embedded models."""
    return Path(str(resources.files("rvqcodec.weights") / "data"))


def list_models() -> list[ModelFile]:
    """Return the embedded models, sorted by name."""
    paths = sorted(data_folder().glob("*" + SUFFIX))
    return [read_model_file(path) for path in paths if "." not in path.stem]  # others are tables and networks


def find_model(name: str) -> ModelFile:
    """Return the model called `name`, or the one in the weights file at that path.

    Raises:
        ModelError: There is no such model, or the file isn't one.
    """
    if name.endswith(SUFFIX):
        return read_model_file(Path(name))
    path = data_folder() / (name + SUFFIX)
    if name != Path(name).name or not path.is_file():
        known = ", ".join(model.name for model in list_models()) or "none"
        raise ModelError(
            f"no model is called {name!r}", f"known models: {known} (rvq models list), or the path of a {SUFFIX} file"
        )
    return read_model_file(path)


def find_fingerprint(fingerprint: str, name: str) -> ModelFile:
    """Return the model whose codes mean what `fingerprint` says.

    Args:
        fingerprint: 16 hex digits from a file's header.
        name: The model's name in that header, for the message.

    Raises:
        ModelError: No such model is at hand.
    """
    for model in list_models():
        if model.fingerprint == fingerprint:
            return model
    known = ", ".join(f"{model.name} ({model.fingerprint})" for model in list_models())
    raise ModelError(
        f"the file needs the model {name!r} with fingerprint {fingerprint}",
        f"at hand: {known}; name another with --model",
    )


def postfilter_of(path: Path) -> Path:
    """Return where a weights file's postfilter lies."""
    return path.with_name(path.stem + ".postfilter" + SUFFIX)


def finish_of(path: Path) -> Path:
    """Return where a weights file's newer calibration lies."""
    return path.with_suffix(".finish.json")


def read_model_file(path: Path, *, finished: bool = True) -> ModelFile:
    """Read what a weights file says of itself, without its tensors.

    Args:
        path: The weights file.
        finished: Whether a newer calibration beside it counts.

    Raises:
        ModelError: The file is absent or isn't a model of this package, or the calibration can't be read.
    """
    metadata = read_metadata(path)
    if not {"name", "fingerprint", "config"} <= set(metadata):
        raise ModelError(f"{path} is not a model of this package")
    name = metadata["name"]
    if not name.isprintable() or not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
        raise ModelError(f"the model in {path} has a name that isn't 1 to {MAX_NAME_BYTES} bytes of text")
    config = metadata["config"]
    if finished and finish_of(path).is_file():
        config = _finished(config, finish_of(path))
    return ModelFile(
        name=name, fingerprint=metadata["fingerprint"], path=path, config=config, base=metadata.get("base", "")
    )


def _finished(config: str, path: Path) -> str:
    try:
        found, changes = json.loads(config), json.loads(path.read_text(encoding="utf-8"))
        if set(changes) - set(FINISH):
            raise ValueError("it holds more than a finish")
        return json.dumps(found | changes, sort_keys=True, separators=(",", ":"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} can't be read as a calibration: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file from its header alone.

    Raises:
        ModelError: The file is absent or isn't a safetensors file.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if 0 < size <= MAX_HEADER_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} can't be read as a model") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelError(f"{path} is not a safetensors file")
    return metadata
