"""Loading and saving of model weights as safetensors; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from rvqcodec.errors import DeviceError, ModelError, OutputError
from rvqcodec.models.families import build, kind_of, read_config
from rvqcodec.weights.registry import ModelFile

MAX_REASON = 200


def load_model(model: ModelFile, device: str = "auto") -> Any:
    """Return a model (`models.family.Family`) in float32, in evaluation mode on `device`.

    Args:
        model: Its weights file.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ModelError: The weights are missing, damaged or don't match their configuration or fingerprint.
        DeviceError: The device isn't available.
    """
    target = pick_device(device)
    built: Any = build(read_config(model.kind, model.config))  # on "meta" it would take 1.6 s instead of 0.2
    try:
        built.load_state_dict({key: value.float() for key, value in _read(model).items()}, assign=True)
    except RuntimeError as error:
        raise _unreadable(model, error) from error
    if not all(bool(torch.isfinite(value).all()) for value in built.state_dict().values()):
        raise ModelError(f"the weights of {model.name} have values that aren't finite")
    if built.fingerprint != model.fingerprint:
        raise ModelError(f"the weights of {model.name} don't match their fingerprint: the file is damaged")
    return built.requires_grad_(False).eval().to(target)


def pick_device(device: str) -> torch.device:
    """Return a device by name; `auto` selects CUDA if available, else the CPU.

    Raises:
        DeviceError: The device isn't available.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"the device {device!r} can't be used", "--device cpu always works") from error
    return chosen


def save_model(model: nn.Module, name: str, path: Path, *, half: bool = True) -> None:
    """Write a model's weights with its name, kind, fingerprint and configuration.

    Args:
        model: A model of a family.
        name: The model's name.
        path: Of the file, written atomically.
        half: Store matrices and codebooks in float16; they are rounded in the model too, so that its fingerprint matches the file.

    Raises:
        OutputError: The file can't be written.
    """
    built: Any = model
    tensors = {key: _stored(value, half) for key, value in built.state_dict().items()}
    built.load_state_dict({key: value.float() for key, value in tensors.items()})
    config = built.config
    _write(tensors, kind_of(config), name, built.fingerprint, config.to_json(), path)


def rename_model(model: ModelFile, name: str, path: Path) -> None:
    """Write a weights file under another name; its tensors stay as they are stored.

    Raises:
        ModelError: The weights can't be read.
        OutputError: The file can't be written.
    """
    _write(_read(model), model.kind, name, model.fingerprint, model.config, path)


def _read(model: ModelFile) -> dict[str, Tensor]:
    try:
        return safetensors.load_file(model.path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(model, error) from error


def _unreadable(model: ModelFile, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    return ModelError(f"the weights of {model.name} can't be loaded: {reason[:MAX_REASON]}")


def _write(tensors: dict[str, Tensor], kind: str, name: str, fingerprint: str, config: str, path: Path) -> None:
    metadata = {"kind": kind, "name": name, "fingerprint": fingerprint, "config": config}
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(safetensors.save(tensors, metadata))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}") from error


def _stored(value: Tensor, half: bool) -> Tensor:
    dtype = torch.float16 if half and value.ndim >= 2 else torch.float32
    return value.detach().cpu().to(dtype).contiguous()
