"""Weights on disk and models in memory. The file format is safetensors: nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from rvqcodec.codec.batching import Batcher
from rvqcodec.codec.codec import Codec
from rvqcodec.errors import DeviceError, ModelError
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.weights.registry import SUFFIX, ModelFile, read_model_file

MAX_REASON = 200
POSTFILTER = "decoder.postfilter."
FULL_PRECISION = ("quantizer.codebooks", "silence")


def load_model(model: ModelFile, device: str = "auto") -> Codec:
    """Return the codec of a weights file, in float32, ready to run on `device`.

    Args:
        model: Which one (registry).
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ModelError: The weights are absent, damaged or don't fit their configuration.
        DeviceError: The device isn't there.
    """
    target = pick_device(device)
    codec = Codec(CodecConfig.from_json(model.config), model.name)  # on "meta" it would take 1.6 s instead of 0.2
    try:
        tensors = load_tensors(model)
        codec.load_state_dict({key: value.float() for key, value in tensors.items()}, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the weights of {model.name} can't be loaded: {reason[:MAX_REASON]}") from error
    if not all(bool(torch.isfinite(value).all()) for value in codec.state_dict().values()):
        raise ModelError(f"the weights of {model.name} hold numbers that aren't finite")
    if codec.fingerprint != model.fingerprint:
        raise ModelError(f"the weights of {model.name} don't match their fingerprint: the file is damaged")
    codec = codec.requires_grad_(False).eval().to(target)
    codec.batcher = None if target.type == "cpu" else Batcher(codec)
    return codec


def pick_device(device: str) -> torch.device:
    """Return the device called `device`; `auto` takes CUDA where there is one, else the CPU.

    Raises:
        DeviceError: The device isn't there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"the device {device!r} can't be used", "--device cpu always works") from error
    return chosen


def load_tensors(model: ModelFile) -> dict[str, Tensor]:
    """Return the weights of a model as they are stored, those of its bases and of a postfilter that it uses among them.

    Raises:
        ModelError: The base or the postfilter isn't there.
        OSError, SafetensorError: A file can't be read.
    """
    tensors: dict[str, Tensor] = {}
    for path in reversed(model.lineage):
        tensors |= safetensors.load_file(path)
    if not CodecConfig.from_json(model.config).postfilter:
        return tensors
    path = model.postfilter_path
    if path.is_file():
        return tensors | {POSTFILTER + key: value for key, value in safetensors.load_file(path).items()}
    if not any(key.startswith(POSTFILTER) for key in tensors):
        raise ModelError(f"the weights of {model.name} need their postfilter {path.name} beside them in {path.parent}")
    return tensors


def save_model(codec: Codec, path: Path, base: str = "") -> None:
    """Write a codec's weights: matrices in float16, codebooks, silence and vectors in float32.

    Args:
        codec: The codec.
        path: Of the file.
        base: A model in the same folder: what is equal there, or in a base of its own, is left out.

    Raises:
        ModelError: The base isn't there, is the file itself or based on it, or has weights that the codec lacks.
        OSError: The file can't be written.
    """
    tensors = {key: stored(key, value) for key, value in codec.state_dict().items()}
    metadata = {"name": codec.name, "fingerprint": codec.fingerprint, "config": codec.config.to_json()}
    if base:
        shared = read_model_file(path.with_name(base + SUFFIX))
        if path in shared.lineage:
            raise ModelError(f"{base} can't be its own base")
        known = load_tensors(shared)
        if alien := sorted(key for key in set(known) - set(tensors) if not key.startswith(POSTFILTER)):
            raise ModelError(f"{base} can't be the base: it has weights that {codec.name} lacks, such as {alien[0]}")
        tensors = {key: value for key, value in tensors.items() if not _same(value, known.get(key))}
        metadata["base"] = base
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(safetensors.save(tensors, metadata))
    part.replace(path)


def _same(value: Tensor, other: Tensor | None) -> bool:
    return other is not None and value.dtype == other.dtype and torch.equal(value, other)


def stored(key: str, value: Tensor) -> Tensor:
    """Return a tensor as it is stored: matrices in float16 but for `FULL_PRECISION`, vectors in float32."""
    matrix = value.ndim >= 2 and key not in FULL_PRECISION
    return value.detach().cpu().to(torch.float16 if matrix else torch.float32).contiguous()
