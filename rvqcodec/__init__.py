"""rvqcodec: a neural audio codec with residual vector quantization.

    import rvqcodec

    codec = rvqcodec.load_codec("rvq48", device="cpu")
    encoded = codec.encode(wave, n_layers=12)       # wave: float32 [channels, n] at codec.traits.sample_rate
    encoded.codes, encoded.levels, encoded.angles   # uint16 [streams, layers, frames], uint8 and uint16 [.., blocks]
    wave = codec.decode(encoded)

    rvqcodec.encode_file("in.wav", "out.rvq")
    rvqcodec.decode_file("out.rvq", "back.wav")
    encoded = rvqcodec.read_encoded("out.rvq")      # no model, no torch
    rvqcodec.write_encoded("copy.rvq", encoded)

torch is imported when a model is loaded, not before.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rvqcodec.errors import (
    ArgumentError,
    AudioError,
    DamageError,
    DeviceError,
    FormatError,
    LimitError,
    MissingPackageError,
    ModelError,
    NotRvqError,
    OutputError,
    RvqError,
    TruncatedError,
    VersionError,
)
from rvqcodec.version import __version__

if TYPE_CHECKING:
    from rvqcodec.encoded import CodedBlock, Encoded
    from rvqcodec.pipeline.coding import decode_file, encode_file, load_codec
    from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
    from rvqcodec.pipeline.result import Result
    from rvqcodec.pipeline.stored import read_encoded, write_encoded
    from rvqcodec.signal import Signal
    from rvqcodec.weights.registry import ModelFile, list_models

__all__ = [
    "ArgumentError",
    "AudioError",
    "CodedBlock",
    "DamageError",
    "DecodeOptions",
    "DeviceError",
    "EncodeOptions",
    "Encoded",
    "FormatError",
    "LimitError",
    "MissingPackageError",
    "ModelError",
    "ModelFile",
    "NotRvqError",
    "OutputError",
    "Result",
    "RvqError",
    "Signal",
    "TruncatedError",
    "VersionError",
    "__version__",
    "decode_file",
    "encode_file",
    "list_models",
    "load_codec",
    "read_encoded",
    "write_encoded",
]

_HOMES = {
    **dict.fromkeys(("CodedBlock", "Encoded"), "rvqcodec.encoded"),
    "Signal": "rvqcodec.signal",
    **dict.fromkeys(("DecodeOptions", "EncodeOptions"), "rvqcodec.pipeline.options"),
    "Result": "rvqcodec.pipeline.result",
    **dict.fromkeys(("read_encoded", "write_encoded"), "rvqcodec.pipeline.stored"),
    **dict.fromkeys(("ModelFile", "list_models"), "rvqcodec.weights.registry"),
}


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import rvqcodec` is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "rvqcodec.pipeline.coding")), name)
