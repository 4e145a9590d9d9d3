"""Entropy mode 2: what a chunk's codes have been so far predicts the next one. Integers only, and no tables but those of mode 1.

A code's weight grows with how often it came in this layer, how often after the same code as now, and how often above the
same code of the layer below. So what repeats gets cheap: steady tones, loops, hiss; and models without tables save something.

Source: Moffat 1990 (adaptive contexts), the mixing by added counts is ours.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.formats.entropy.frequencies import PRECISION, TOTAL, Int64, Shares, cost_steps, share_out

PRIOR_SHIFT = 11
OFTEN, AFTER, ABOVE = 16, 128, 256
"""Weights of a count, against 2^13 and one a code for what is known beforehand; the best of a search on held-out codes."""
NONE = -1


class CountModel:
    """Predicts one layer of one stream of a chunk, code by code.

    Args:
        frequencies: The layer's static ones, or even ones; integers [codebook_size], sum at most 2^24.
        below: Codes of the layer below [frames]; None for the lowest.
    """

    def __init__(self, frequencies: npt.NDArray[np.uint32], below: Codes | None) -> None:
        self.base: Int64 = (frequencies.astype(np.int64) >> PRIOR_SHIFT) + 1
        self.below = below
        self.frame, self.last = 0, NONE
        self.seen: dict[tuple[int, int], Counter[int]] = {}

    def shares(self) -> Shares:
        """Return the next code's frequencies less 1, float32 [1, codebook_size]."""
        weights = self.base.copy()
        for counter, step in self._contexts():
            for code, count in counter.items():
                weights[code] += step * count
        return share_out(weights[None])

    def learn(self, code: int) -> None:
        """Take note of a code and go to the next frame."""
        for counter, _ in self._contexts():
            counter[code] += 1
        self.base[code] += OFTEN
        self.frame, self.last = self.frame + 1, code

    def cost(self, codes: Codes) -> int:
        """Return the ideal length of a whole layer's codes in 1/64 bit, but for what rounding leaves to the largest."""
        wide = codes.astype(np.int64)
        contexts = [(np.concatenate([[NONE], wide[:-1]]), AFTER)]
        if self.below is not None:
            contexts.append((self.below.astype(np.int64), ABOVE))
        weights = self.base[wide] + OFTEN * earlier(wide)
        totals = int(self.base.sum()) + OFTEN * np.arange(len(wide))
        for context, step in contexts:
            usable = context != NONE
            weights += step * usable * earlier(context * len(self.base) + wide)
            totals += step * usable * earlier(context)
        rates = (TOTAL - len(self.base) << PRECISION) // totals
        return int(cost_steps((weights * rates >> PRECISION) + 1).sum())

    def _contexts(self) -> list[tuple[Counter[int], int]]:
        found = [((0, self.last), AFTER)] if self.last != NONE else []
        if self.below is not None:
            found.append(((1, int(self.below[self.frame])), ABOVE))
        return [(self.seen.setdefault(key, Counter()), step) for key, step in found]


def earlier(keys: Int64) -> Int64:
    """Return how many equal keys stand before each key, [n]."""
    order = np.argsort(keys, kind="stable")
    grouped = keys[order]
    places = np.arange(len(keys))
    starts = np.maximum.accumulate(np.where(np.diff(grouped, prepend=grouped[:1] - 1) != 0, places, 0))
    counts = np.empty_like(places)
    counts[order] = places - starts
    return counts
