"""Reads the warm start: weights of the default shape under the short names of the prototype that trained them."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import CodecConfig
from rvqcodec.weights.registry import DEFAULT_MODEL

PREFIXES = {
    "i.": "encoder.coefficients_in.",
    "ie.": "encoder.energies_in.",
    "e1.": "encoder.fine.",
    "dn.": "encoder.merge.",
    "e2.": "encoder.coarse.",
    "eo.0.": "encoder.norm.",
    "eo.1.": "encoder.head.",
    "ls.": "encoder.linear.",
    "us.": "decoder.linear.",
    "he.": "decoder.energies_head.",
    "di.": "decoder.latent_in.",
    "cs.": "decoder.layers_scale.",
    "cb_dec.": "decoder.layers_shift.",
    "d2.": "decoder.coarse.",
    "up.": "decoder.split.",
    "d1.": "decoder.fine.",
    "ho.0.": "decoder.norm.",
    "ho.1.": "decoder.head.",
}
BLOCK_PARTS = {"dw": "depthwise", "n": "norm", "a": "widen", "b": "narrow", "g": "scale"}


def load_warmstart(path: Path) -> Codec:
    """Return the codec of a warm start file.

    Raises:
        ModelError: The file is absent or isn't a warm start of the default shape.
    """
    codec = Codec(CodecConfig(), DEFAULT_MODEL)
    try:
        tensors = safetensors.load_file(path)
        codec.load_state_dict({**_converted(tensors), "silence": codec.silence})
    except (OSError, SafetensorError, RuntimeError, KeyError, StopIteration) as error:
        raise ModelError(f"{path} is not a warm start of the default model: {error}") from error
    codec.set_silence()
    return codec.eval()


def _converted(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    converted = {"quantizer.codebooks": tensors["cb"]}
    for side in ("encoder", "decoder"):
        converted[f"{side}.energies.mean"] = tensors["emu"]
        converted[f"{side}.energies.scale"] = tensors["eal"].reshape(())
    for key, value in tensors.items():
        if key not in ("cb", "emu", "eal", "rvq.n"):
            converted[_renamed(key)] = value
    return converted


def _renamed(key: str) -> str:
    prefix = next(prefix for prefix in sorted(PREFIXES, key=len, reverse=True) if key.startswith(prefix))
    rest = key.removeprefix(prefix).split(".")
    if prefix in ("e1.", "e2.", "d1.", "d2."):
        rest[1] = BLOCK_PARTS[rest[1]]
    return PREFIXES[prefix] + ".".join(rest)
