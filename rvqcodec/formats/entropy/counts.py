"""Adaptive arithmetic coding with mixed context models (entropy mode 2, "counts").

The frequency of a code is a prior plus weighted counts of its occurrences so far in the chunk: in its layer (order 0), after the same
previous code (order 1), and above the same code of the lower layer. Redundancy such as steady tones, loops or hiss becomes cheap, and
models without static tables save bits too.

Frequencies are integers, used by the range coder without normalisation. Binary indexed trees, dense for order 0 and sparse for each
context, give a code and its cumulative frequency in O(log codebook size) for any input.

Source: Moffat 1990 (adaptive context models); Fenwick 1994 (binary indexed trees); Martin 1979 (range coding). Mixing by adding weighted
counts is specific to this format.
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
ORDER_0, ORDER_1, LOWER_LAYER = 16, 128, 256
"""Weights of the counts, against a prior of 2^13 and 1 per code; optimised on held-out codes."""
NONE = -1
WORD_BITS = 8 * WORD_BYTES
STATE_BITS = WORD_BITS * STATE_WORDS

SparseTree = dict[int, int]
"""The binary indexed tree of a context's frequencies; key 0 holds their sum, key -1 - s the frequency of code s."""


class CountModel:
    """Codes one layer of one stream of a chunk.

    Args:
        frequencies: The layer's static frequencies, or uniform ones, uint32 [codebook_size], sum at most 2^24.
        lower: Codes of the lower layer [frames], one for each code of this layer; None for the lowest layer.
    """

    def __init__(self, frequencies: npt.NDArray[np.uint32], lower: Codes | None) -> None:
        self.prior: Int64 = (frequencies.astype(np.int64) >> PRIOR_SHIFT) + 1
        self.lower = lower

    def encode(self, codes: Codes) -> bytes:
        """Return the payload of a layer's codes, uint16 [frames], each < codebook_size."""
        frequencies, coder = MixedFrequencies(self.prior, self.lower), RangeEncoder()
        for code in codes.tolist():
            coder.encode(*frequencies.interval(code), frequencies.total())
            frequencies.update(code)
        return coder.finish()

    def decode(self, payload: bytes, n_codes: int) -> Codes:
        """Return the codes of a payload, uint16 [n_codes].

        Raises:
            DamageError: No encoder writes such a payload.
        """
        frequencies, coder = MixedFrequencies(self.prior, self.lower), RangeDecoder(payload)
        codes = np.zeros(n_codes, np.uint16)
        for index in range(n_codes):
            code, cumulative = frequencies.find(coder.target(frequencies.total()))
            coder.consume(cumulative, frequencies.of(code))
            frequencies.update(code)
            codes[index] = code
        return codes

    def cost(self, codes: Codes) -> int:
        """Return the ideal length in 1/64 bit of a layer's codes, uint16 [frames]."""
        wide = codes.astype(np.int64)
        contexts = [(np.concatenate([[NONE], wide[:-1]]), ORDER_1)]
        if self.lower is not None:
            contexts.append((self.lower.astype(np.int64), LOWER_LAYER))
        frequencies = self.prior[wide] + ORDER_0 * running_counts(wide)
        totals = int(self.prior.sum()) + ORDER_0 * np.arange(len(wide))
        for context, weight in contexts:
            usable = context != NONE
            frequencies += weight * usable * running_counts(context * len(self.prior) + wide)
            totals += weight * usable * running_counts(context)
        return int((logarithms(totals) - logarithms(frequencies)).sum())


class MixedFrequencies:
    """The frequencies of the next code: prior, order-0 counts, and the counts in the next code's two contexts.

    Args:
        prior: Initial frequencies, int64 [codebook_size], each >= 1.
        lower: Codes of the lower layer [frames], or None.
    """

    def __init__(self, prior: Int64, lower: Codes | None) -> None:
        self.top = 1 << (len(prior) - 1).bit_length()
        self.order_0: list[int] = prior.tolist()
        self.tree = fenwick_tree(prior, self.top)
        self.sum = self.tree[self.top]
        self.lower: Sequence[int] | None = None if lower is None else lower.tolist()
        self.index = 0
        self.order_1: SparseTree = {}
        self.lower_layer: SparseTree = {}
        self.trees: tuple[dict[int, SparseTree], dict[int, SparseTree]] = ({}, {})
        self._select_contexts(NONE)

    def total(self) -> int:
        """Return the sum of all frequencies."""
        return self.sum + self.order_1.get(0, 0) + self.lower_layer.get(0, 0)

    def of(self, code: int) -> int:
        """Return the frequency of a code."""
        return self.order_0[code] + self.order_1.get(-1 - code, 0) + self.lower_layer.get(-1 - code, 0)

    def interval(self, code: int) -> tuple[int, int]:
        """Return a code's cumulative frequency (the sum over all smaller codes) and its frequency."""
        tree, order_1, lower_layer = self.tree, self.order_1.get, self.lower_layer.get
        node, cumulative = code, 0
        while node:
            cumulative += tree[node] + order_1(node, 0) + lower_layer(node, 0)
            node &= node - 1
        return cumulative, self.of(code)

    def find(self, target: int) -> tuple[int, int]:
        """Return the code whose interval contains `target`, which is below the total, and its cumulative frequency."""
        tree, order_1, lower_layer = self.tree, self.order_1.get, self.lower_layer.get
        code, left, step = 0, target, self.top >> 1
        while step:
            node = code + step
            frequency = tree[node] + order_1(node, 0) + lower_layer(node, 0)
            if frequency <= left:
                left -= frequency
                code = node
            step >>= 1
        return code, target - left

    def update(self, code: int) -> None:
        """Count a code and move on to the next one."""
        tree, top, node = self.tree, self.top, code + 1
        while node <= top:
            tree[node] += ORDER_0
            node += node & -node
        self.order_0[code] += ORDER_0
        self.sum += ORDER_0
        if self.index:
            add_count(self.order_1, code, ORDER_1, top)
        if self.lower is not None:
            add_count(self.lower_layer, code, LOWER_LAYER, top)
        self.index += 1
        self._select_contexts(code)

    def _select_contexts(self, previous: int) -> None:
        order_1, lower_layer = self.trees
        if previous != NONE:
            self.order_1 = order_1.setdefault(previous, {})
        if self.lower is not None and self.index < len(self.lower):
            self.lower_layer = lower_layer.setdefault(self.lower[self.index], {})


def fenwick_tree(frequencies: Int64, top: int) -> list[int]:
    """Return the binary indexed tree of frequencies [n], padded to `top`, a power of two: entry i sums the i & -i entries up to i."""
    sums = np.zeros(top + 1, np.int64)
    np.cumsum(frequencies, out=sums[1 : len(frequencies) + 1])
    sums[len(frequencies) + 1 :] = sums[len(frequencies)]
    nodes = np.arange(top + 1)
    tree: list[int] = (sums - sums[nodes - (nodes & -nodes)]).tolist()
    return tree


def add_count(tree: SparseTree, code: int, weight: int, top: int) -> None:
    """Count a code in a context's tree, in place."""
    get = tree.get
    tree[0] = get(0, 0) + weight
    tree[-1 - code] = get(-1 - code, 0) + weight
    node = code + 1
    while node < top:
        tree[node] = get(node, 0) + weight
        node += node & -node


class RangeEncoder:
    """Range encoder for totals that aren't powers of two; its state is that of the other modes (SPEC.md, section 6)."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.lower, self.size = 0, (1 << STATE_BITS) - 1

    def encode(self, cumulative: int, frequency: int, total: int) -> None:
        """Encode the interval `cumulative` .. `cumulative + frequency` of `total`."""
        scale = self.size // total
        self.lower += scale * cumulative
        self.size = scale * frequency
        if self.lower >> STATE_BITS:
            self._carry()
        if self.size >> WORD_BITS == 0:
            self.words.append(self.lower >> WORD_BITS)
            self.lower = self.lower << WORD_BITS & (1 << STATE_BITS) - 1
            self.size <<= WORD_BITS

    def _carry(self) -> None:
        self.lower &= (1 << STATE_BITS) - 1
        last = len(self.words) - 1
        while self.words[last] == (1 << WORD_BITS) - 1:
            self.words[last] = 0
            last -= 1
        self.words[last] += 1

    def finish(self) -> bytes:
        """Return the payload."""
        written = b"".join(word.to_bytes(WORD_BYTES, "big") for word in self.words)
        n_bytes = len(written) + WORD_BYTES * STATE_WORDS
        return shortest(int.from_bytes(written, "big") << STATE_BITS | self.lower, self.size, n_bytes)


class RangeDecoder:
    """The inverse of `RangeEncoder`.

    Raises:
        DamageError: No encoder writes such a payload.
    """

    def __init__(self, payload: bytes) -> None:
        self.words: list[int] = words_of(payload).tolist()
        self.next_word = STATE_WORDS
        self.offset: int = self.words[0] << WORD_BITS | self.words[1]
        self.size = (1 << STATE_BITS) - 1
        self.scale = 1

    def target(self, total: int) -> int:
        """Return the number below `total` that the next code's interval contains.

        Raises:
            DamageError: It isn't below `total`.
        """
        self.scale = self.size // total
        target = self.offset // self.scale
        if target >= total:
            raise DamageError("a payload is damaged")
        return target

    def consume(self, cumulative: int, frequency: int) -> None:
        """Remove a code with the interval `cumulative` .. `cumulative + frequency`."""
        self.offset -= self.scale * cumulative
        self.size = self.scale * frequency
        if self.size >> WORD_BITS == 0:
            word = self.words[self.next_word] if self.next_word < len(self.words) else 0
            self.offset = self.offset << WORD_BITS | word
            self.size <<= WORD_BITS
            self.next_word += 1


def running_counts(keys: Int64) -> Int64:
    """Return for each key [n] the number of equal keys before it, int64 [n]."""
    order = np.argsort(keys, kind="stable")
    grouped = keys[order]
    positions = np.arange(len(keys))
    starts = np.maximum.accumulate(np.where(np.diff(grouped, prepend=grouped[:1] - 1) != 0, positions, 0))
    counts = np.empty_like(positions)
    counts[order] = positions - starts
    return counts
