"""Where a sound has no pitch, one hears its loudness and hardly its waveform: there the search for codes minds the envelope more.

The pitch is looked for in the source as a decoder does in what it decoded (`pitch`). One counts for the 0.2 s around it, so that a voice
keeps its consonants and pauses as they are. Decoders needn't know: any of them takes the codes.

Source: Schulz 1996 (noise needs its loudness alone).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from rvqcodec.models.rvq48.config import PITCH_HOLD, PITCH_PIECES

PITCHLESS, PITCHED = 0.8, 0.97
"""Correlations of neighbouring periods up to which a frame counts as without a pitch, and from which on as with one."""


def pitchless(correlation: Tensor) -> Tensor:
    """Return how far frames have no pitch nearby, 0 to 1, [batch, frames].

    Args:
        correlation: Of neighbouring periods, [batch, pieces] (`pitch`).
    """
    frames = correlation.unflatten(1, (-1, PITCH_PIECES)).mean(-1)
    nearby = functional.max_pool1d(frames[:, None], 2 * PITCH_HOLD + 1, 1, PITCH_HOLD)[:, 0]
    return ((PITCHED - nearby) / (PITCHED - PITCHLESS)).clamp(0.0, 1.0)
