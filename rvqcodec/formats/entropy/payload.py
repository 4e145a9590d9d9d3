"""Range coding and bit packing of one layer's codes; the only module that uses constriction.

Only integers, the 24-bit frequencies, determine a decode. They pass constriction's floating-point interface without rounding: it
reserves a count of 1 for each symbol, so with f - 1 as float32 its scale is exactly 1 and every partial sum an integer below 2^24
(SPEC.md, section 6).

Source: Martin 1979 (range coding); Bamler 2022 (constriction).
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
import numpy.typing as npt

from rvqcodec.encoded import Codes
from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.entropy.frequencies import TOTAL, FrequenciesMinusOne, cost_steps
from rvqcodec.formats.rvq.sections import crc32c

WORD_BYTES = 4
STATE_WORDS = 2

Frequencies = npt.NDArray[np.uint32]
queue = constriction.stream.queue
categorical = constriction.stream.model.Categorical(perfect=False)


class Mode(enum.IntEnum):
    """Entropy modes, simplest first (SPEC.md, section 6)."""

    RAW = 0
    STATIC = 1
    COUNTS = 2
    NETWORK = 3


@dataclass(frozen=True)
class StaticTables:
    """Integer frequencies of the codes of each layer.

    Args:
        id: Identifies the tables in a file's header: 8 hex digits.
        frequencies: For each layer, uint32 [codebook_size], each >= 1, sum 2^24; a matrix is accepted.

    Raises:
        ModelError: The frequencies have another shape, type or sum.
    """

    id: str
    frequencies: tuple[Frequencies, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequencies", tuple(self.frequencies))
        for row in self.frequencies:
            if row.ndim != 1 or row.dtype != np.uint32 or len(row) < 2 or (row < 1).any():
                raise ModelError(
                    "static entropy tables must be positive uint32 numbers, a row of at least 2 for each layer"
                )
            if row.sum(dtype=np.uint64) != TOTAL:
                raise ModelError("static entropy tables must sum to 2^24 in each layer")

    def fit(self, layer: int, codebook_size: int) -> bool:
        """Return whether there is a table of `codebook_size` entries for a layer."""
        return layer < len(self.frequencies) and len(self.frequencies[layer]) == codebook_size

    @functools.cached_property
    def models(self) -> list[Any]:
        """The tables as models of constriction, one per layer."""
        frequencies_minus_one = [np.ascontiguousarray((row - 1).astype(np.float32)) for row in self.frequencies]
        return [constriction.stream.model.Categorical(row, perfect=False) for row in frequencies_minus_one]

    @functools.cached_property
    def costs(self) -> list[npt.NDArray[np.int64]]:
        """Ideal code lengths in 1/64 bit, rounded up, int64 [codebook_size] for each layer."""
        return [cost_steps(row) for row in self.frequencies]


def code_check(codes: Codes) -> int:
    """Return the 16-bit check of one layer's decoded codes [frames]: the low half of the CRC-32C of their u16 bytes."""
    return crc32c(codes.astype("<u2").tobytes()) & 0xFFFF


def pack_bits(codes: Codes, codebook_size: int) -> bytes:
    """Return codes, uint16 [n], as a payload of mode 0."""
    shifts = np.arange(_width(codebook_size) - 1, -1, -1, dtype=np.uint16)
    return np.packbits((codes[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def unpack_bits(payload: bytes, n_frames: int, codebook_size: int) -> Codes:
    """Return the codes, uint16 [n_frames], of a payload of mode 0.

    Raises:
        DamageError: Its length is wrong, its padding isn't 0, or a code is outside the codebook.
    """
    width = _width(codebook_size)
    if len(payload) != -(-n_frames * width // 8):
        raise DamageError("a raw payload has the wrong length")
    if payload and payload[-1] & (1 << -n_frames * width % 8) - 1:
        raise DamageError("a raw payload ends in bits that aren't 0")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8), count=n_frames * width).reshape(n_frames, width)
    codes: Codes = (bits.astype(np.uint16) << np.arange(width - 1, -1, -1, dtype=np.uint16)).sum(1, dtype=np.uint16)
    if codes.size and int(codes.max()) >= codebook_size:
        raise DamageError("a raw code is not in its codebook")
    return codes


def _width(codebook_size: int) -> int:
    return (codebook_size - 1).bit_length()


class PayloadWriter:
    """Range encoder of one layer of one stream."""

    def __init__(self) -> None:
        self._encoder = queue.RangeEncoder()

    def write(self, codes: Codes, frequencies_minus_one: FrequenciesMinusOne) -> None:
        """Encode codes, uint16 [n], each with its own frequencies minus one, float32 [n, codebook_size]."""
        if codes.size:
            self._encoder.encode(
                np.ascontiguousarray(codes, np.int32), categorical, np.ascontiguousarray(frequencies_minus_one)
            )

    def write_static(self, codes: Codes, model: Any) -> None:
        """Encode codes, uint16 [n], with one of `StaticTables.models`."""
        self._encoder.encode(np.ascontiguousarray(codes, np.int32), model)

    def finish(self) -> bytes:
        """Return the shortest payload that decodes to the codes.

        constriction flushes whole words, 17 bits on average, of which about 14 are redundant.
        """
        flushed: bytes = self._encoder.get_compressed().astype(">u4").tobytes()
        n_words, (lower, size) = self._encoder.pos()
        n_bytes = WORD_BYTES * (n_words + STATE_WORDS)
        inside = int.from_bytes(flushed, "big") << 8 * (n_bytes - len(flushed))
        return shortest(inside - (inside - lower) % (1 << 64), size, n_bytes)


def shortest(lower: int, size: int, n_bytes: int) -> bytes:
    """Return the shortest value in a coder's final interval, the lowest of equal length: big-endian, trailing zero bytes implied.

    Args:
        lower: Start of the interval, an integer of `n_bytes` bytes.
        size: Of the interval; any value in it decodes to the same codes.
        n_bytes: Bytes of the untruncated value.
    """
    n_dropped = (size.bit_length() - 1) // 8
    while n_dropped < n_bytes and -(-lower >> 8 * n_dropped + 8) << 8 * n_dropped + 8 < lower + size:
        n_dropped += 1
    value = -(-lower >> 8 * n_dropped)
    return value.to_bytes(n_bytes - n_dropped, "big").rstrip(b"\0")


def words_of(payload: bytes) -> npt.NDArray[np.uint32]:
    """Return a payload as 32-bit words, uint32, zero-padded so that a decoder can start.

    Raises:
        DamageError: It ends in a zero byte, which no encoder writes.
    """
    if payload.endswith(b"\0"):
        raise DamageError("a payload ends in a zero byte")
    padding = -len(payload) % WORD_BYTES + STATE_WORDS * WORD_BYTES
    return np.frombuffer(payload + bytes(padding), ">u4").astype(np.uint32)


class PayloadReader:
    """Range decoder of one layer of one stream.

    Raises:
        DamageError: No encoder writes such a payload. (Most damage is detected only by the layer's check.)
    """

    def __init__(self, payload: bytes) -> None:
        self._decoder = queue.RangeDecoder(words_of(payload))

    def read(self, frequencies_minus_one: FrequenciesMinusOne) -> Codes:
        """Return codes, uint16 [n], each coded with its own frequencies minus one, float32 [n, codebook_size]."""
        return (
            self._decode(categorical, frequencies_minus_one) if len(frequencies_minus_one) else np.zeros(0, np.uint16)
        )

    def read_static(self, n_frames: int, model: Any) -> Codes:
        """Return codes, uint16 [n_frames], coded with one of `StaticTables.models`."""
        return self._decode(model, n_frames)

    def _decode(self, model: Any, amount: Any) -> Codes:
        try:
            codes: Codes = self._decoder.decode(model, amount).astype(np.uint16)
        except AssertionError as error:  # how constriction 0.5 reports impossible words
            raise DamageError("a payload is damaged") from error
        return codes
