"""Payloads: a layer's codes as bytes, packed or range coded; the only module that knows constriction.

What decides a decode is integers: frequencies of 24 bits. They pass through constriction's float interface without
rounding: it reserves one count for each symbol, so f - 1 as float32 makes its scale exactly 1 and every partial sum an
integer below 2^24 (SPEC.md, section 6).

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
from rvqcodec.formats.entropy.frequencies import TOTAL, Shares, cost_steps
from rvqcodec.formats.rvq.sections import crc32c

WORD_BYTES = 4
STATE_WORDS = 2

Frequencies = npt.NDArray[np.uint32]
queue = constriction.stream.queue
family = constriction.stream.model.Categorical(perfect=False)


class Mode(enum.IntEnum):
    """How a layer's codes are coded, the simpler ones first."""

    RAW = 0
    STATIC = 1
    COUNTS = 2
    NETWORK = 3


@dataclass(frozen=True)
class StaticTables:
    """Integer frequencies of each layer's entries.

    Args:
        id: Names the tables in a file's header: 16 hex digits.
        frequencies: One array a layer, uint32 [codebook_size], each >= 1, sum 2^24; a matrix will do.

    Raises:
        ModelError: The frequencies break a rule.
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
        """Tell whether there is a table for a layer, of that many entries."""
        return layer < len(self.frequencies) and len(self.frequencies[layer]) == codebook_size

    @functools.cached_property
    def models(self) -> list[Any]:
        """The tables as constriction's models, one a layer."""
        shares = [np.ascontiguousarray((row - 1).astype(np.float32)) for row in self.frequencies]
        return [constriction.stream.model.Categorical(row, perfect=False) for row in shares]

    @functools.cached_property
    def costs(self) -> list[npt.NDArray[np.int64]]:
        """Ideal code lengths in 1/64 bit, rounded up, one array [codebook_size] a layer."""
        return [cost_steps(row) for row in self.frequencies]


def code_check(codes: Codes) -> int:
    """Return the 16-bit check of one layer's decoded codes [frames]: the low half of the CRC-32C of their u16 bytes."""
    return crc32c(codes.astype("<u2").tobytes()) & 0xFFFF


def pack_bits(codes: Codes, codebook_size: int) -> bytes:
    """Return codes [n] as a raw payload."""
    shifts = np.arange(_width(codebook_size) - 1, -1, -1, dtype=np.uint16)
    return np.packbits((codes[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def unpack_bits(payload: bytes, n_frames: int, codebook_size: int) -> Codes:
    """Return the codes, uint16 [n_frames], of a raw payload.

    Raises:
        DamageError: It has another length, doesn't end in zeros, or a code isn't in its codebook.
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
    """Range-codes one layer of one stream."""

    def __init__(self) -> None:
        self._encoder = queue.RangeEncoder()

    def write(self, codes: Codes, shares: Shares) -> None:
        """Code codes [n], each with its own frequencies less 1, float32 [n, codebook_size]."""
        if codes.size:
            self._encoder.encode(np.ascontiguousarray(codes, np.int32), family, np.ascontiguousarray(shares))

    def write_static(self, codes: Codes, model: Any) -> None:
        """Code codes [n] with one model of `StaticTables`."""
        self._encoder.encode(np.ascontiguousarray(codes, np.int32), model)

    def finish(self) -> bytes:
        """Return the shortest payload that decodes to the codes.

        constriction seals a stream with whole words, 17 bits on average, of which 14 prove to be unnecessary.
        """
        sealed: bytes = self._encoder.get_compressed().astype(">u4").tobytes()
        n_words, (lower, size) = self._encoder.pos()
        n_bytes = WORD_BYTES * (n_words + STATE_WORDS)
        inside = int.from_bytes(sealed, "big") << 8 * (n_bytes - len(sealed))
        return shortest(inside - (inside - lower) % (1 << 64), size, n_bytes)


def shortest(lower: int, size: int, n_bytes: int) -> bytes:
    """Return the shortest value in a coder's final interval, of equals the lowest: high byte first, zeros implied at its end.

    Args:
        lower: Start of the interval, a number of `n_bytes` bytes.
        size: Its size; any number in it decodes to the codes.
        n_bytes: Bytes of the code space.
    """
    n_dropped = (size.bit_length() - 1) // 8
    while n_dropped < n_bytes and -(-lower >> 8 * n_dropped + 8) << 8 * n_dropped + 8 < lower + size:
        n_dropped += 1
    value = -(-lower >> 8 * n_dropped)
    return value.to_bytes(n_bytes - n_dropped, "big").rstrip(b"\0")


def words_of(payload: bytes) -> npt.NDArray[np.uint32]:
    """Return a payload as words, with enough zeros after it for a decoder to start.

    Raises:
        DamageError: It ends in a zero byte, which no encoder writes.
    """
    if payload.endswith(b"\0"):
        raise DamageError("a payload ends in a zero byte")
    padding = -len(payload) % WORD_BYTES + STATE_WORDS * WORD_BYTES
    return np.frombuffer(payload + bytes(padding), ">u4").astype(np.uint32)


class PayloadReader:
    """Decodes one layer of one stream.

    Raises:
        DamageError: The payload can't be what an encoder wrote. (Most damage shows only in the layer's check.)
    """

    def __init__(self, payload: bytes) -> None:
        self._decoder = queue.RangeDecoder(words_of(payload))

    def read(self, shares: Shares) -> Codes:
        """Return codes, uint16 [n], each coded with its own frequencies less 1, float32 [n, codebook_size]."""
        return self._decode(family, shares) if len(shares) else np.zeros(0, np.uint16)

    def read_static(self, n_frames: int, model: Any) -> Codes:
        """Return codes, uint16 [n_frames], coded with one model of `StaticTables`."""
        return self._decode(model, n_frames)

    def _decode(self, model: Any, amount: Any) -> Codes:
        try:
            codes: Codes = self._decoder.decode(model, amount).astype(np.uint16)
        except AssertionError as error:  # how constriction 0.5 reports words that no encoder writes
            raise DamageError("a payload is damaged") from error
        return codes
