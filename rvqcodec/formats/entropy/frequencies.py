"""Frequency normalisation: 24-bit integer frequencies for range coding, and their ideal code lengths.

Frequencies f are held as float32 f - 1, which is exact below 2^24 and which constriction's floating-point interface maps to the same
integers (`payload`).
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
FrequenciesMinusOne = npt.NDArray[np.float32]


def normalise(weights: Int64) -> FrequenciesMinusOne:
    """Return frequencies minus one, float32 [n, C], C-contiguous, of weights: each f >= 1, each row sums to 2^24.

    With r = floor((2^24 - C) 2^24 / sum of w): f = 1 + floor(w r / 2^24); the remainder to 2^24 is added to the first of the largest
    weights (SPEC.md, section 6.2).

    Args:
        weights: int64 [n, C], non-negative; each row's sum is 1 to 2^39, so that products stay below 2^63.
    """
    n_symbols = weights.shape[1]
    rows = np.arange(len(weights))
    largest = weights.argmax(1)
    rate = (TOTAL - n_symbols << PRECISION) // weights.sum(1, keepdims=True)
    frequencies_minus_one = weights * rate
    frequencies_minus_one >>= PRECISION
    frequencies_minus_one[rows, largest] += TOTAL - n_symbols - frequencies_minus_one.sum(1)
    found: FrequenciesMinusOne = frequencies_minus_one.astype(np.float32)
    return found


def cost_steps(frequencies: npt.NDArray[np.integer]) -> Int64:
    """Return ideal code lengths in 1/64 bit, rounded up: 1536 - floor(64 log2 f), exactly, of frequencies 1 to 2^24 of any shape."""
    return PRECISION * COST_STEPS - logarithms(frequencies)


def logarithms(numbers: npt.NDArray[np.integer]) -> Int64:
    """Return floor(64 log2 x), exactly, int64, of integers x from 1 to 2^24 of any shape."""
    return np.searchsorted(_thresholds(), numbers, "right").astype(np.int64) - 1


@functools.cache
def _thresholds() -> Int64:
    """Return the smallest f with f^64 >= 2^i for each i up to 1536, by exact integer roots: a 64th root is six square roots."""
    found = []
    for power in range(PRECISION * COST_STEPS + 1):
        root = 1 << power
        for _ in range(COST_STEPS.bit_length() - 1):
            root = math.isqrt(root)
        found.append(root + (root**COST_STEPS < 1 << power))
    return np.array(found, np.int64)
