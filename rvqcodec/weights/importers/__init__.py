"""Models of other projects: which ones can be imported, and from what; the importers themselves are imported when they run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a published model is imported.

    Args:
        source: What the user's folder has to hold, in words.
        licence: Of its weights.
        module: Where `import_model(folder)` lies.
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
"""By the name that the model gets."""
