"""Entropy mode 2, adaptive context mixing: what a chunk's codes have been so far predicts the next one.

A code's weight grows with how often it came in this layer, how often after the same code as now, and how often above the
same code of the layer below. So what repeats gets cheap: steady tones, loops, hiss; and models without tables save something.

Weights are whole numbers that go into the range coder as they are. Binary indexed trees of them, dense for the layer and
sparse for each context, give a code and its cumulative weight in O(log codebook size), however a file was made.

Source: Moffat 1990 (adaptive contexts); Fenwick 1994 (binary indexed trees); Martin 1979 (range coding). The mixing by added counts
is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import DamageError
from rvqcodec.formats.entropy.frequencies import Int64, logarithms
from rvqcodec.formats.entropy.payload import STATE_WORDS, WORD_BYTES, shortest, words_of

PRIOR_SHIFT = 11
OFTEN, AFTER, ABOVE = 16, 128, 256
"""Weights of a count, against 2^13 and one a code for what is known beforehand; the best of a search on held-out codes."""
NONE = -1
WORD_BITS = 8 * WORD_BYTES
STATE_BITS = WORD_BITS * STATE_WORDS

SparseTree = dict[int, int]
"""A binary indexed tree of a context's weights; 0 holds their sum, -1 - s that of code s."""


class CountModel:
    """Predicts one layer of one stream of a chunk, code by code.

    Args:
        frequencies: The layer's static ones, or even ones; integers [codebook_size], sum at most 2^24.
        below: Codes of the layer below [frames], one for each code of this layer; None for the lowest.
    """

    def __init__(self, frequencies: npt.NDArray[np.uint32], below: Codes | None) -> None:
        self.base: Int64 = (frequencies.astype(np.int64) >> PRIOR_SHIFT) + 1
        self.below = below

    def encode(self, codes: Codes) -> bytes:
        """Return a layer's codes [frames] as a payload."""
        weights, coder = Weights(self.base, self.below), Encoder()
        for code in codes.tolist():
            coder.write(*weights.interval(code), weights.total())
            weights.update(code)
        return coder.finish()

    def decode(self, payload: bytes, n_codes: int) -> Codes:
        """Return the codes, uint16 [n_codes], of a payload.

        Raises:
            DamageError: The payload can't be what an encoder wrote.
        """
        weights, coder = Weights(self.base, self.below), Decoder(payload)
        codes = np.zeros(n_codes, np.uint16)
        for place in range(n_codes):
            code, below = weights.find(coder.point(weights.total()))
            coder.take(below, weights.of(code))
            weights.update(code)
            codes[place] = code
        return codes

    def cost(self, codes: Codes) -> int:
        """Return the ideal length of a whole layer's codes in 1/64 bit."""
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
        return int((logarithms(totals) - logarithms(weights)).sum())


class Weights:
    """The weights of the next code: what was known beforehand and what was counted in the layer and in the next code's two contexts.

    Args:
        base: Weights known beforehand [codebook_size].
        below: Codes of the layer below, or None.
    """

    def __init__(self, base: Int64, below: Codes | None) -> None:
        self.top = 1 << (len(base) - 1).bit_length()
        self.single: list[int] = base.tolist()
        self.tree = indexed(base, self.top)
        self.sum = self.tree[self.top]
        self.below: Sequence[int] | None = None if below is None else below.tolist()
        self.frame = 0
        self.after: SparseTree = {}
        self.above: SparseTree = {}
        self.trees: tuple[dict[int, SparseTree], dict[int, SparseTree]] = ({}, {})
        self._enter(NONE)

    def total(self) -> int:
        """Return the sum of all weights."""
        return self.sum + self.after.get(0, 0) + self.above.get(0, 0)

    def of(self, code: int) -> int:
        """Return the weight of a code."""
        return self.single[code] + self.after.get(-1 - code, 0) + self.above.get(-1 - code, 0)

    def interval(self, code: int) -> tuple[int, int]:
        """Return the sum of the weights of all codes below one, and its own."""
        tree, after, above = self.tree, self.after.get, self.above.get
        node, total = code, 0
        while node:
            total += tree[node] + after(node, 0) + above(node, 0)
            node &= node - 1
        return total, self.of(code)

    def find(self, point: int) -> tuple[int, int]:
        """Return the code whose interval holds a point below the sum of all weights, and the sum of the weights below it."""
        tree, after, above = self.tree, self.after.get, self.above.get
        code, left, step = 0, point, self.top >> 1
        while step:
            node = code + step
            weight = tree[node] + after(node, 0) + above(node, 0)
            if weight <= left:
                left -= weight
                code = node
            step >>= 1
        return code, point - left

    def update(self, code: int) -> None:
        """Count a code and go to the next frame."""
        tree, top, node = self.tree, self.top, code + 1
        while node <= top:
            tree[node] += OFTEN
            node += node & -node
        self.single[code] += OFTEN
        self.sum += OFTEN
        if self.frame:
            count(self.after, code, AFTER, top)
        if self.below is not None:
            count(self.above, code, ABOVE, top)
        self.frame += 1
        self._enter(code)

    def _enter(self, last: int) -> None:
        after, above = self.trees
        if last != NONE:
            self.after = after.setdefault(last, {})
        if self.below is not None and self.frame < len(self.below):
            self.above = above.setdefault(self.below[self.frame], {})


def indexed(weights: Int64, top: int) -> list[int]:
    """Return the binary indexed tree of weights [n], padded to a power of two: entry i sums the last lowest-bit(i) of the first i."""
    sums = np.zeros(top + 1, np.int64)
    np.cumsum(weights, out=sums[1 : len(weights) + 1])
    sums[len(weights) + 1 :] = sums[len(weights)]
    nodes = np.arange(top + 1)
    tree: list[int] = (sums - sums[nodes - (nodes & -nodes)]).tolist()
    return tree


def count(tree: SparseTree, code: int, step: int, top: int) -> None:
    """Add a code to a context's tree."""
    get = tree.get
    tree[0] = get(0, 0) + step
    tree[-1 - code] = get(-1 - code, 0) + step
    node = code + 1
    while node < top:
        tree[node] = get(node, 0) + step
        node += node & -node


class Encoder:
    """The range coder for totals that aren't powers of two; its state is that of the other modes' (SPEC.md, section 6)."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.lower, self.size = 0, (1 << STATE_BITS) - 1

    def write(self, below: int, weight: int, total: int) -> None:
        """Code an interval of `weight` above `below`, of `total`."""
        scale = self.size // total
        self.lower += scale * below
        self.size = scale * weight
        if self.lower >> STATE_BITS:
            self._carry()
        if self.size >> WORD_BITS == 0:
            self.words.append(self.lower >> WORD_BITS)
            self.lower = self.lower << WORD_BITS & (1 << STATE_BITS) - 1
            self.size <<= WORD_BITS

    def _carry(self) -> None:
        self.lower &= (1 << STATE_BITS) - 1
        place = len(self.words) - 1
        while self.words[place] == (1 << WORD_BITS) - 1:
            self.words[place] = 0
            place -= 1
        self.words[place] += 1

    def finish(self) -> bytes:
        """Return the payload."""
        written = b"".join(word.to_bytes(WORD_BYTES, "big") for word in self.words)
        n_bytes = len(written) + WORD_BYTES * STATE_WORDS
        return shortest(int.from_bytes(written, "big") << STATE_BITS | self.lower, self.size, n_bytes)


class Decoder:
    """The other side of `Encoder`.

    Raises:
        DamageError: The payload can't be what an encoder wrote.
    """

    def __init__(self, payload: bytes) -> None:
        self.words: list[int] = words_of(payload).tolist()
        self.position = STATE_WORDS
        self.offset: int = self.words[0] << WORD_BITS | self.words[1]
        self.size = (1 << STATE_BITS) - 1
        self.scale = 1

    def point(self, total: int) -> int:
        """Return the point, below `total`, that the next code's interval holds.

        Raises:
            DamageError: It isn't below.
        """
        self.scale = self.size // total
        point = self.offset // self.scale
        if point >= total:
            raise DamageError("a payload is damaged")
        return point

    def take(self, below: int, weight: int) -> None:
        """Go on to the next code, after one with an interval of `weight` above `below`."""
        self.offset -= self.scale * below
        self.size = self.scale * weight
        if self.size >> WORD_BITS == 0:
            word = self.words[self.position] if self.position < len(self.words) else 0
            self.offset = self.offset << WORD_BITS | word
            self.size <<= WORD_BITS
            self.position += 1


def earlier(keys: Int64) -> Int64:
    """Return how many equal keys stand before each key, [n]."""
    order = np.argsort(keys, kind="stable")
    grouped = keys[order]
    places = np.arange(len(keys))
    starts = np.maximum.accumulate(np.where(np.diff(grouped, prepend=grouped[:1] - 1) != 0, places, 0))
    counts = np.empty_like(places)
    counts[order] = places - starts
    return counts
