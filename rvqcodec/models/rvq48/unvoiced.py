"""Unvoiced weighting: where a sound has no pitch, one hears its loudness and hardly its waveform, so errors of the envelope count more.

The pitch is looked for in the source as a decoder does in what it decoded (`pitch`). One counts for the 0.2 s around it, so that a voice
keeps its consonants and pauses as they are. Decoders needn't know: any of them takes the codes.

Source: Schulz 1996 (noise needs its loudness alone).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from rvqcodec.models.rvq48.config import PITCH_HOLD, PITCH_PIECES

UNVOICED, VOICED = 0.8, 0.97
"""Correlations of neighbouring periods up to which a frame counts as unvoiced, and from which on as voiced."""


def unvoiced(correlation: Tensor) -> Tensor:
    """Return how far frames are unvoiced, 0 to 1, [batch, frames].

    Args:
        correlation: Of neighbouring periods, [batch, pieces] (`pitch`).
    """
    frames = correlation.unflatten(1, (-1, PITCH_PIECES)).mean(-1)
    nearby = functional.max_pool1d(frames[:, None], 2 * PITCH_HOLD + 1, 1, PITCH_HOLD)[:, 0]
    return ((VOICED - nearby) / (VOICED - UNVOICED)).clamp(0.0, 1.0)
