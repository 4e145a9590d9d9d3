"""Importer of Lyra v2 (google/lyra, tag v1.2.0), a SoundStream for speech at 16 kHz and 3.2 to 9.2 kbit/s, from a user's clone.

The files are Apache-2.0, Copyright Google LLC; this package contains none of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from rvqcodec.errors import ModelError
from rvqcodec.models.soundstream.config import SoundStreamConfig
from rvqcodec.models.soundstream.model import SoundStream
from rvqcodec.weights.importers.tflite import (
    ADD,
    CONV_2D,
    DEPTHWISE_CONV_2D,
    FULLY_CONNECTED,
    TRANSPOSE_CONV,
    Constant,
    Graph,
    read_tflite,
)

LYRA = SoundStreamConfig(
    sample_rate=16_000,
    strides=(16, 5, 2, 2),
    kernels=(64, 10, 4, 4),
    widths=(64, 128, 256, 512),
    groups=(1, 2, 4),
    dilations=(1, 3, 9),
    kernel_size=3,
    negative_slope=0.30000001192092896,
    latent_dim=64,
    n_layers=46,
    codebook_size=16,
    default_layers=30,
    window_blocks=10,
)
ENCODER, QUANTIZER, DECODER = "soundstream_encoder.tflite", "quantizer.tflite", "lyragan.tflite"
FILES = {
    ENCODER: "6110a3f31ea11a46af8686042bce725b2f0da91b5e88e3cbbed004288698ee53",
    QUANTIZER: "38c19c60376e6bcae416c41d486244227afb77542771c207dbee8d8e6d7f59bc",
    DECODER: "4f2a308913e16c490e8736029ad024fb4badb0adc2c5e2f398a1532418590ec1",
}
"""SHA-256 of the files of the tag v1.2.0."""
WEIGHTS = "57bdc77f2a5afefb4b4d84dc67113491c994e755ab965153ea88928b0694cafd"
"""`digest` of those files' weights."""
KERNELS = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV)
"""Operators whose second input is a weight."""
Tensors = dict[str, Tensor]
HINT = "weights of Lyra's tag v1.2.0 can be imported; later ones aren't float32"


def import_model(folder: Path) -> SoundStream:
    """Return the model in a folder of TFLite files (`import_lyra`)."""
    config, tensors = import_lyra(folder)
    model = SoundStream(config)
    model.load_state_dict(tensors)
    return model.eval()


def import_lyra(folder: Path, config: SoundStreamConfig = LYRA) -> tuple[SoundStreamConfig, Tensors]:
    """Return the configuration and the weights, under `SoundStream`'s names, of a folder of TFLite files.

    Args:
        folder: `model_coeffs` of a clone of google/lyra.
        config: Expected sizes of the model.

    Raises:
        ModelError: A file is missing or damaged, or its layers or weight types differ.
    """
    model = SoundStream(config)
    tensors = _network(read_tflite(folder / ENCODER), model.encoder, "encoder")
    tensors |= _network(read_tflite(folder / DECODER), model.decoder, "decoder")
    tensors["quantizer.codebooks"] = _codebooks(read_tflite(folder / QUANTIZER), config)
    found = _checked(
        config, {key: torch.from_numpy(np.array(value, np.float32, order="C")) for key, value in tensors.items()}
    )
    if is_release(folder) and digest(found) != WEIGHTS:
        raise ModelError(f"the weights in {folder} are those of v1.2.0 but were misread", "please report this")
    return config, found


def from_safetensors(path: Path, config: SoundStreamConfig = LYRA) -> tuple[SoundStreamConfig, Tensors]:
    """Return the configuration and the weights of a safetensors file under `SoundStream`'s names.

    Raises:
        ModelError: The file is missing or damaged, or its tensors don't match the configuration.
    """
    try:
        tensors = safetensors.load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} can't be read as weights") from error
    return config, _checked(config, tensors)


def is_release(folder: Path) -> bool:
    """Return whether the files in a folder are those of the tag v1.2.0, byte for byte."""
    return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == known for name, known in FILES.items())


def digest(tensors: Tensors) -> str:
    """Return the SHA-256 of weights: their names, shapes and values, sorted by name."""
    hashed = hashlib.sha256()
    for key, value in sorted(tensors.items()):
        hashed.update(f"{key} {list(value.shape)}".encode() + value.contiguous().numpy().astype("<f4").tobytes())
    return hashed.hexdigest()


def _checked(config: SoundStreamConfig, tensors: Tensors) -> Tensors:
    expected = {key: value.shape for key, value in SoundStream(config).state_dict().items()}
    if wrong := sorted(set(tensors) ^ set(expected)):
        raise ModelError(f"the weights lack a tensor or have one too many: {wrong[0]}")
    for key, value in tensors.items():
        if value.shape != expected[key] or value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise ModelError(f"{key} isn't float32 {list(expected[key])} of finite numbers", HINT)
    return tensors


@dataclass(frozen=True, slots=True)
class _Kernel:
    """An operator's weights, its bias, and the constants added before the next operator with weights."""

    code: int
    weight: Constant
    bias: Constant | None
    added: list[Constant]

    @property
    def n_out(self) -> int:
        """Channels of the output."""
        return int(self.weight.shape[-1 if self.code == DEPTHWISE_CONV_2D else 0])


def _kernels(graph: Graph) -> list[_Kernel]:
    """Return a graph's operators with weights in execution order, which is that of the layers: no branch has weights."""
    found: list[_Kernel] = []
    for operator in graph.operators:
        inputs = [graph.constants.get(number) for number in operator.inputs]
        if operator.code in KERNELS:
            weight = inputs[1] if len(inputs) > 1 else None
            if weight is None or weight.ndim not in (2, 4) or not weight.size:
                raise ModelError("a layer's weights aren't float32 constants", HINT)
            place = 3 if operator.code == TRANSPOSE_CONV else 2
            found.append(_Kernel(operator.code, weight, inputs[place] if len(inputs) > place else None, []))
        elif operator.code == ADD and found:
            found[-1].added.extend(constant for constant in inputs if constant is not None)
    return found


def _network(graphs: list[Graph], network: nn.Module, prefix: str) -> dict[str, Constant]:
    """Return the weights of a network's layers, in which graph and modules have the same order."""
    longest: list[_Kernel] = max((_kernels(graph) for graph in graphs), key=len, default=[])
    kernels = iter(longest)
    tensors = {}
    for name, layer in network.named_modules(prefix=prefix):
        if isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d)):
            parts = _parts(kernels, layer, name)
            tensors[f"{name}.weight"] = np.concatenate([_weight(part) for part in parts])
            bias = _bias(parts, layer.out_channels, name)
            if layer.bias is not None:
                tensors[f"{name}.bias"] = bias
            elif bias.any():
                raise ModelError(f"{name} has an unexpected bias", HINT)
    if next(kernels, None):
        raise ModelError(f"the {prefix} has more layers than expected", HINT)
    return tensors


def _parts(kernels: Iterator[_Kernel], layer: nn.Conv1d | nn.ConvTranspose1d, name: str) -> list[_Kernel]:
    """Return the operators of a layer: one, or one per group."""
    parts = [kernel for kernel in [next(kernels, None)] if kernel]
    if parts and parts[0].n_out * layer.groups == layer.out_channels:
        parts.extend(islice(kernels, layer.groups - 1))
    sizes = sum(part.n_out for part in parts), sum(part.weight.size for part in parts)
    if sizes != (layer.out_channels, layer.weight.numel()) or len({part.weight.shape for part in parts}) != 1:
        raise ModelError(f"there are no weights that fit {name}", HINT)
    return parts


def _weight(kernel: _Kernel) -> Constant:
    """Return weights in torch's layout: [out, in, kernel], [width, 1, kernel] of a depthwise and [in, out, kernel] of a transposed one."""
    first, *_, last = kernel.weight.shape
    flat = kernel.weight.reshape(first, -1, last)  # height or width is 1
    return flat.transpose(0, 2, 1) if kernel.code in (CONV_2D, FULLY_CONNECTED) else flat.transpose(2, 0, 1)


def _bias(parts: list[_Kernel], n_out: int, name: str) -> Constant:
    """Return a layer's bias: the sum of its operators' biases and of the constants added after them."""
    total = np.zeros(n_out, np.float32)
    added = [value for part in parts for value in part.added if value.size in (part.n_out, n_out)]
    for values in ([part.bias for part in parts if part.bias is not None], added):
        joined = np.concatenate([value.ravel() for value in values]) if values else np.zeros(n_out, np.float32)
        if joined.size != n_out:
            raise ModelError(f"there is no bias that fits {name}", HINT)
        total += joined
    return total


def _codebooks(graphs: list[Graph], config: SoundStreamConfig) -> Constant:
    """Return the codebooks [n_layers, codebook_size, latent_dim]: one constant, or one per layer in order of use."""
    shape = (config.n_layers, config.codebook_size, config.latent_dim)
    for graph in graphs:
        used = [graph.constants.get(number) for operator in graph.operators for number in operator.inputs]
        distinct = {id(value): value for value in used if value is not None}.values()
        for value in distinct:
            if _without_ones(value.shape) == _without_ones(shape):
                return value.reshape(shape)
        layers = [value for value in distinct if _without_ones(value.shape) == _without_ones(shape[1:])]
        if len(layers) == config.n_layers:
            return np.stack([layer.reshape(shape[1:]) for layer in layers])
    raise ModelError(f"there are no {config.n_layers} codebooks of {config.codebook_size} entries", HINT)


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]
