"""Differences between two systems, paired by clip, with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

N_RESAMPLES = 10_000
FEWEST_CLEAR = 6  # below, even differences of one sign are no evidence at 95 %


@dataclass(frozen=True, slots=True)
class Difference:
    """A statistic of paired differences, its 95 % interval, and of how many pairs."""

    value: float
    low: float
    high: float
    n: int

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside the interval of enough pairs."""
        return self.n >= FEWEST_CLEAR and (self.low > 0 or self.high < 0)


def paired_bootstrap(
    one: Iterable[float], other: Iterable[float], statistic: str = "mean", n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Difference:
    """Return `one - other` with the percentile interval of resampled pairs.

    Args:
        one: Values, one a clip.
        other: Values of the same clips in the same order; pairs in which one isn't a number are left out.
        statistic: "mean" or "median" of the differences.
        n_resamples: Resamples, with replacement, of as many pairs as there are.
        seed: Of the resampling.

    Raises:
        ValueError: The two aren't equally long, or no statistic has that name.
    """
    reduce = {"mean": np.mean, "median": np.median}.get(statistic)
    if reduce is None:
        raise ValueError(f"statistic {statistic!r} is neither mean nor median")
    differences = np.array([a - b for a, b in zip(one, other, strict=True)], dtype=np.float64)
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        return Difference(math.nan, math.nan, math.nan, 0)
    chosen = np.random.default_rng(seed).integers(0, len(differences), (n_resamples, len(differences)))
    low, high = np.percentile(reduce(differences[chosen], axis=1), [2.5, 97.5])
    return Difference(float(reduce(differences)), float(low), float(high), len(differences))
