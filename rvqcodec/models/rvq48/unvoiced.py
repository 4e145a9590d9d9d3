"""Unvoiced weighting: perceptual weighting of the quantizer search, with more weight on envelope errors in unvoiced frames.

In noise-like signals the envelope is heard, the waveform hardly. Voicing comes from the pitch analysis of the source (`pitch`), with a
hangover of 0.2 s on both sides so that consonants and pauses within speech are coded as before. It is an encoder decision; decoders are
unaffected.

Source: Schulz 1996 (noise-like components are represented by their energy alone).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from rvqcodec.models.rvq48.config import PITCH_SUBFRAMES, VOICING_HANGOVER

UNVOICED, VOICED = 0.8, 0.97
"""Pitch correlations below which a frame is fully unvoiced, and above which it is fully voiced."""


def unvoiced_weight(correlation: Tensor) -> Tensor:
    """Return the degree to which frames are unvoiced, 0 to 1, [batch, frames].

    Args:
        correlation: Of adjacent pitch periods, [batch, subframes] (`pitch.PitchAnalysis`).
    """
    frames = correlation.unflatten(1, (-1, PITCH_SUBFRAMES)).mean(-1)
    nearby = functional.max_pool1d(frames[:, None], 2 * VOICING_HANGOVER + 1, 1, VOICING_HANGOVER)[:, 0]
    return ((VOICED - nearby) / (VOICED - UNVOICED)).clamp(0.0, 1.0)
