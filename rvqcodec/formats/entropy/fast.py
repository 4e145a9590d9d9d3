"""Just-in-time compilation of the inner loop of entropy mode 3 by numba (extra `fast`): identical integers, 3 times as fast.

Importing numba takes about half a second, so it is deferred until a process has enough work to recover that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rvqcodec.formats.entropy.frequencies import PRECISION, TOTAL, FrequenciesMinusOne, Int64

ROWS_BEFORE = 30_000
"""Rows of 1024 entries processed with numpy before numba is imported: about a second of work."""

Kernel = Callable[[npt.NDArray[np.float32], npt.NDArray[np.int32], Int64, int, Int64], FrequenciesMinusOne]


class _Processed:
    """Rows that this process has worked on."""

    n_rows = 0


def compiled(n_rows: int) -> Kernel | None:
    """Return the compiled loop for `n_rows` more rows; None before `ROWS_BEFORE` rows, or where numba isn't available."""
    _Processed.n_rows += n_rows
    return _compiled() if _Processed.n_rows > ROWS_BEFORE else None


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
        kernel: Kernel = compile_loop(cache=True)(frequencies_of_products)
    except RuntimeError:  # no writable cache folder
        kernel = compile_loop()(frequencies_of_products)
    return kernel


def frequencies_of_products(
    products: npt.NDArray[np.float32],
    scale: npt.NDArray[np.int32],
    bias: Int64,
    shift: int,
    powers: Int64,
) -> FrequenciesMinusOne:
    """Return integer frequencies minus one, float32 [n, C], of matrix products [n, C]: `network.frequencies` of the scaled products."""
    n_rows, n_symbols = products.shape
    frequencies_minus_one = np.empty((n_rows, n_symbols), np.float32)
    weights = np.empty(n_symbols, np.int64)
    lowest = len(powers) - 1
    for row in range(n_rows):
        for symbol in range(n_symbols):
            weights[symbol] = (np.int64(products[row, symbol]) * scale[symbol] + bias[symbol]) >> shift
        largest = weights.max()
        argmax, total = -1, 0
        for symbol in range(n_symbols):
            below = largest - weights[symbol]
            if below == 0 and argmax < 0:
                argmax = symbol
            weights[symbol] = powers[min(below, lowest)]
            total += weights[symbol]
        rate = ((TOTAL - n_symbols) << PRECISION) // total
        left = TOTAL - n_symbols
        for symbol in range(n_symbols):
            minus_one = (weights[symbol] * rate) >> PRECISION
            frequencies_minus_one[row, symbol] = minus_one
            left -= minus_one
        frequencies_minus_one[row, argmax] += left
    return frequencies_minus_one
