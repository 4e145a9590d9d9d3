"""Integer frequencies of 24 bits, which alone decide what a range coder does, and their ideal code lengths.

They travel as float32 numbers f - 1: exact, since they are integers below 2^24, and what constriction's float interface
turns into the very same integers (`entropy`).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

PRECISION = 24
TOTAL = 1 << PRECISION
COST_STEPS = 64

Int64 = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float32]


def normalise(weights: Int64) -> Shares:
    """Return frequencies less 1, float32 [n, C], C-contiguous, of weights [n, C]: each f >= 1, each row's sum 2^24.

    With r = floor((2^24 - C) 2^24 / sum of w): f = 1 + floor(w r / 2^24), and what is left to 2^24 goes to the first of
    the largest weights.

    Args:
        weights: Not negative; each row's sum is 1 to 2^39, so that no product passes 2^63.
    """
    n_symbols = weights.shape[1]
    rows = np.arange(len(weights))
    largest = weights.argmax(1)
    rate = (TOTAL - n_symbols << PRECISION) // weights.sum(1, keepdims=True)
    shares = weights * rate
    shares >>= PRECISION
    shares[rows, largest] += TOTAL - n_symbols - shares.sum(1)
    found: Shares = shares.astype(np.float32)
    return found


def cost_steps(frequencies: npt.NDArray[np.integer]) -> Int64:
    """Return ideal code lengths in 1/64 bit, rounded up, of frequencies of any shape: 1536 - floor(log2 f^64), exactly."""
    return PRECISION * COST_STEPS - logarithms(frequencies)


def logarithms(numbers: npt.NDArray[np.integer]) -> Int64:
    """Return floor(64 log2 x), exactly, of whole numbers x from 1 to 2^24."""
    return np.searchsorted(_thresholds(), numbers, "right").astype(np.int64) - 1


@functools.cache
def _thresholds() -> Int64:
    """Return the least f with f^64 >= 2^i for each i up to 1536, by exact integer roots: 64 is six square roots."""
    found = []
    for power in range(PRECISION * COST_STEPS + 1):
        root = 1 << power
        for _ in range(COST_STEPS.bit_length() - 1):
            root = math.isqrt(root)
        found.append(root + (root**COST_STEPS < 1 << power))
    return np.array(found, np.int64)
