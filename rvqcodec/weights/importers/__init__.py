"""Recipes for importing models of other projects; the importers are loaded only when they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a published model is imported.

    Args:
        source: Description of the folder that the user provides.
        licence: Of its weights.
        module: Defines `import_model(folder)`.
    """

    source: str
    licence: str
    module: str


RECIPES = {
    "lyra-v1.2.0": Recipe(
        source="the .tflite files of google/lyra's model_coeffs at tag v1.2.0",
        licence="Apache-2.0",
        module="rvqcodec.weights.importers.lyra",
    ),
}
"""By model name."""
