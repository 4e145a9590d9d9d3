"""Registry of model families: kind (as stored in weights files), configuration and model class; torch is imported only to build a model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rvqcodec.errors import ModelError
from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.soundstream.config import SoundStreamConfig

if TYPE_CHECKING:
    from torch import nn

    from rvqcodec.models.family import Config

FAMILIES: dict[str, tuple[Any, str, str]] = {
    "rvq48": (Rvq48Config, "rvqcodec.models.rvq48.model", "Rvq48"),
    "soundstream": (SoundStreamConfig, "rvqcodec.models.soundstream.model", "SoundStream"),
}
"""Kind -> configuration class, module of the model, name of its class."""


def read_config(kind: str, text: str) -> Config:
    """Return the configuration of a model.

    Args:
        kind: Of the family, as stored in a weights file.
        text: The configuration as JSON.

    Raises:
        ModelError: The kind is unknown, or the configuration is invalid.
    """
    if kind not in FAMILIES:
        raise ModelError(f"unknown model family: {kind!r}", f"known families: {', '.join(FAMILIES)}")
    config: Config = FAMILIES[kind][0].from_json(text)
    return config


def kind_of(config: Config) -> str:
    """Return the kind of a configuration's family."""
    return next(kind for kind, (known, _, _) in FAMILIES.items() if type(config) is known)


def build(config: Config) -> nn.Module:
    """Return a model of this configuration with untrained weights; imports torch."""
    _, module, name = FAMILIES[kind_of(config)]
    model: nn.Module = getattr(importlib.import_module(module), name)(config)
    return model
