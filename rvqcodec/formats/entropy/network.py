"""Neural context modelling with an integer network (entropy mode 3), bit-exact on every machine.

A layer's frames are coded in passes of dyadic refinement: every 2s-th frame first, then those half-way in between, and so on. The
probability of a code is conditioned on the decoded codes of its frame and of four neighbouring frames: those of all lower layers and the
layer's own of earlier passes. So a pass of a layer is one matrix product, and no layer depends on those above it.

All arithmetic is on integers: int8 weights and activations of at most 127, so that a sum of products stays below 2^24 and float32 matrix
products are exact in any order (`MAX_FAN_IN`). Floats only carry the integers through BLAS and constriction.

Source: Mentzer et al. 2018 (learnt context models); Ballé et al. 2019 (integer networks for range coding).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import ModelError
from rvqcodec.formats.entropy import fast
from rvqcodec.formats.entropy.frequencies import FrequenciesMinusOne, normalise

LIMIT = 127
MAX_FAN_IN = ((1 << 24) - 1) // (LIMIT * LIMIT)
REACH = 2
N_OFFSETS = 5
MAX_STRIDE = 32
PADDING = (REACH + 1) * MAX_STRIDE
"""Frames of zero padding on both sides of a stream, at least the receptive field."""
ROWS_AT_ONCE = 128
"""Rows processed together, which fit into the cache."""
MAX_SHIFT = 40
LOG_STEPS = 64
WEIGHT_BITS = 20

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Sums = Int32


@dataclass(frozen=True)
class LayerNetwork:
    """The network of one layer.

    Args:
        strides: Of the passes after the first, halving down to 1; the first pass has every (2 strides[0])-th frame.
        embedding: int8 [codebook_size, width], added to the frame's context sum.
        hidden: int8 [passes, hidden, N_OFFSETS * width].
        hidden_scale, hidden_bias: int32 and int64 [passes, hidden]: (product x scale + bias) >> shift, clipped to 0..127.
        output: int8 [codebook_size, hidden].
        output_scale, output_bias: int32 and int64 [codebook_size]: to base-2 logarithms in units of 1/64.
    """

    strides: tuple[int, ...]
    embedding: Int8
    hidden: Int8
    hidden_scale: Int32
    hidden_bias: Int64
    output: Int8
    output_scale: Int32
    output_bias: Int64

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> LayerNetwork:
        """Return the layer, given its stored arrays by name (shapes as above) and its "strides", int64 [passes - 1]."""
        return cls(
            strides=tuple(map(int, arrays["strides"])),
            **{name: value for name, value in arrays.items() if name != "strides"},
        )

    @functools.cached_property
    def matrices(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The weights as floats: [passes, N_OFFSETS * width, hidden] and [hidden, codebook_size]."""
        hidden = np.ascontiguousarray(self.hidden.transpose(0, 2, 1), np.float32)
        return hidden, np.ascontiguousarray(self.output.T, np.float32)


@dataclass(frozen=True)
class EntropyNetwork:
    """The entropy network of a model.

    Args:
        id: Identifies it in a file's header: 8 hex digits.
        layers: Coarsest first.
        shift: Right shift of scaled products, 1 to 40 bits.

    Raises:
        ModelError: Shapes, types or ranges are such that arithmetic might not be exact.
    """

    id: str
    layers: tuple[LayerNetwork, ...]
    shift: int

    def __post_init__(self) -> None:
        if not self.layers or not 1 <= self.shift <= MAX_SHIFT:
            raise ModelError("an entropy network has layers, and a shift of 1 to 40 bits")
        width = self.layers[0].embedding.shape[-1]
        for layer in self.layers:
            _check(layer, len(layer.embedding), width)

    def n_fitting(self, codebook_sizes: Sequence[int]) -> int:
        """Return how many layers, from the coarsest on, have networks of the same codebook sizes."""
        pairs = zip(self.layers, codebook_sizes, strict=False)
        fitting = itertools.takewhile(lambda pair: len(pair[0].embedding) == pair[1], pairs)
        return sum(1 for _ in fitting)

    def start(self, n_frames: int) -> Sums:
        """Return the initial context sums of a stream: zeros, int32 [n_frames + 2 PADDING, width]."""
        return np.zeros((n_frames + 2 * PADDING, self.layers[0].embedding.shape[1]), np.int32)

    def passes(self, layer: int, n_frames: int) -> list[Int64]:
        """Return the frame indices of each pass over a layer, in coding order."""
        strides, frames = self.layers[layer].strides, np.arange(n_frames)
        return [frames[:: 2 * strides[0]], *(frames[stride :: 2 * stride] for stride in strides)]

    def update(self, sums: Sums, layer: int, frames: Int64, codes: Codes) -> None:
        """Add the embeddings of the codes [n] of some frames [n] of a layer to the context sums, in place."""
        sums[frames + PADDING] += self.layers[layer].embedding[codes]

    def predict(self, sums: Sums, layer: int, number: int, frames: Int64) -> FrequenciesMinusOne:
        """Return integer frequencies minus one, float32 [n, codebook_size], for the frames [n] of a pass.

        Args:
            sums: Context sums of the stream.
            layer: Index of the layer.
            number: Index of the pass, from 0.
            frames: Its frames, or some of them.
        """
        part = self.layers[layer]
        hidden, _ = part.matrices
        context = sums.clip(-LIMIT, LIMIT).astype(np.float32)
        near = frames[:, None] + offsets(part.strides, number) + PADDING
        inputs = context[near].reshape(len(frames), N_OFFSETS * context.shape[1])
        product = (inputs @ hidden[number]).astype(np.int64)
        activations = (product * part.hidden_scale[number] + part.hidden_bias[number] >> self.shift).clip(0, LIMIT)
        return self._normalise(part, activations.astype(np.float32))

    def _normalise(self, part: LayerNetwork, activations: npt.NDArray[np.float32]) -> FrequenciesMinusOne:
        """Return integer frequencies minus one, [n, codebook_size], of hidden activations [n, hidden]."""
        output = part.matrices[1]
        kernel = fast.compiled(len(activations))
        if kernel is not None:
            return kernel(activations @ output, part.output_scale, part.output_bias, self.shift, powers())
        frequencies_minus_one = np.empty((len(activations), output.shape[1]), np.float32)
        for rows in (slice(start, start + ROWS_AT_ONCE) for start in range(0, len(activations), ROWS_AT_ONCE)):
            product = (activations[rows] @ output).astype(np.int64)
            product *= part.output_scale
            product += part.output_bias
            product >>= self.shift
            frequencies_minus_one[rows] = frequencies(product)
        return frequencies_minus_one

    def read(self, layer: int, sums: Sums, n_frames: int) -> Iterator[tuple[Int64, FrequenciesMinusOne]]:
        """Yield frames and frequencies minus one of each pass; `update` must be called with its codes before the next."""
        for number, frames in enumerate(self.passes(layer, n_frames)):
            if len(frames):
                yield frames, self.predict(sums, layer, number, frames)


def offsets(strides: tuple[int, ...], number: int) -> Int64:
    """Return the offsets of the context frames of a pass: the nearest, or those coded in earlier passes."""
    if number == 0:
        return np.arange(-REACH, REACH + 1)
    return np.array([-3, -1, 0, 1, 3]) * strides[number - 1]


def frequencies(logarithms: Int64) -> FrequenciesMinusOne:
    """Return integer frequencies minus one, float32 [n, C], of base-2 logarithms in units of 1/64, int64 [n, C].

    The weights to normalise are floor(2^20 x 2^(l - largest l)).
    """
    below = logarithms.max(1, keepdims=True) - logarithms
    return normalise(powers().take(below, mode="clip"))  # beyond the table it is 0, as the last entry is


@functools.cache
def powers() -> Int64:
    """Return floor(2^20 x 2^(-i / 64)) for i from 0 until it is 0, by exact integer roots: a 64th root is six square roots."""
    found = [1 << LOG_STEPS * WEIGHT_BITS - i for i in range(LOG_STEPS * WEIGHT_BITS + 1)]
    for _ in range(LOG_STEPS.bit_length() - 1):
        found = [math.isqrt(value) for value in found]
    return np.array([*found, 0], np.int64)


def _check(layer: LayerNetwork, size: int, width: int) -> None:
    n_passes, n_hidden = len(layer.strides) + 1, layer.output.shape[-1]
    expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
        "embedding": ((size, width), np.int8),
        "hidden": ((n_passes, n_hidden, N_OFFSETS * width), np.int8),
        "hidden_scale": ((n_passes, n_hidden), np.int32),
        "hidden_bias": ((n_passes, n_hidden), np.int64),
        "output": ((size, n_hidden), np.int8),
        "output_scale": ((size,), np.int32),
        "output_bias": ((size,), np.int64),
    }
    for name, (shape, kind) in expected.items():
        found = getattr(layer, name)
        if found.shape != shape or found.dtype != kind:
            raise ModelError(f"the entropy network's {name} has the wrong shape or type")
    if max(N_OFFSETS * width, n_hidden) > MAX_FAN_IN or not 2 <= size <= 1 << 16:
        raise ModelError("the entropy network is too wide to be exact")
    if not layer.strides or layer.strides[0] > MAX_STRIDE or layer.strides != _halving(layer.strides[0]):
        raise ModelError("the strides of the entropy network must halve down to 1")
    if max(int(np.abs(part).max()) for part in (layer.hidden_bias, layer.output_bias)) >= 1 << 61:
        raise ModelError("the entropy network has a bias outside its range")
    if any((part == -128).any() for part in (layer.hidden, layer.output)):
        raise ModelError("the entropy network has a weight outside its range")


def _halving(stride: int) -> tuple[int, ...]:
    found = []
    while stride:
        found.append(stride)
        stride //= 2
    return tuple(found)
