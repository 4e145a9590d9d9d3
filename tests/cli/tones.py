"""Made-up audio."""

from __future__ import annotations

import numpy as np


def glide(seconds, rate=24000, channels=1):
    """Return a gliding tone with harmonics, [n, channels]."""
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(180 + 60 * np.sin(3 * t)) / rate
    mono = 0.3 * sum(np.sin(k * phase) / k for k in range(1, 8))
    return np.stack([mono * (1 - 0.3 * c) for c in range(channels)], 1)
