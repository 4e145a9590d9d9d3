"""The inner loop of entropy mode 3 compiled by numba, where that is installed (extra `fast`): the same integers, 3 times as fast.

Importing numba takes about half a second, so it is done only once there is enough work in a process to win that back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rvqcodec.formats.entropy.frequencies import PRECISION, TOTAL, Int64, Shares

ROWS_BEFORE = 30_000
"""Rows of 1024 entries that numpy has done before numba is worth its start: about a second of work."""

Kernel = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int32], Int64, int, Int64], Shares]


class _Done:
    """How many rows this process has worked on."""

    n_rows = 0


def compiled(n_rows: int) -> Kernel | None:
    """Return the compiled loop for `n_rows` more rows; None as long as it isn't worth its start, or where it can't be had."""
    _Done.n_rows += n_rows
    return _compiled() if _Done.n_rows > ROWS_BEFORE else None


@functools.cache
def _compiled() -> Kernel | None:
    try:
        import numba
    except ImportError:
        return None
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return None
    compile_loop: Any = functools.partial(numba.njit, nogil=True)
    try:
        kernel: Kernel = compile_loop(cache=True)(shares_of_products)
    except RuntimeError:  # no folder to keep compiled code in
        kernel = compile_loop()(shares_of_products)
    return kernel


def shares_of_products(
    products: npt.NDArray[np.float32],
    scale: npt.NDArray[np.int32],
    bias: Int64,
    shift: int,
    powers: Int64,
) -> Shares:
    """Return integer frequencies less 1, [n, C], of matrix products [n, C]: `network.frequencies` of what they scale to."""
    n_rows, n_symbols = products.shape
    shares = np.empty((n_rows, n_symbols), np.float32)
    weights = np.empty(n_symbols, np.int64)
    lowest = len(powers) - 1
    for row in range(n_rows):
        for symbol in range(n_symbols):
            weights[symbol] = (np.int64(products[row, symbol]) * scale[symbol] + bias[symbol]) >> shift
        largest = weights.max()
        place, total = -1, 0
        for symbol in range(n_symbols):
            below = largest - weights[symbol]
            if below == 0 and place < 0:
                place = symbol
            weights[symbol] = powers[min(below, lowest)]
            total += weights[symbol]
        rate = ((TOTAL - n_symbols) << PRECISION) // total
        left = TOTAL - n_symbols
        for symbol in range(n_symbols):
            share = (weights[symbol] * rate) >> PRECISION
            shares[row, symbol] = share
            left -= share
        shares[row, place] += left
    return shares
