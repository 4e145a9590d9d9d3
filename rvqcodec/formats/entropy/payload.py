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
        frequencies: uint32 [layers, codebook_size], each >= 1, each row's sum 2^24.

    Raises:
        ModelError: The frequencies break a rule.
    """

    id: str
    frequencies: Frequencies

    def __post_init__(self) -> None:
        table = self.frequencies
        if table.ndim != 2 or table.dtype != np.uint32 or table.shape[1] < 2 or (table < 1).any():
            raise ModelError("static entropy tables must be positive uint32 numbers [layers, codebook_size]")
        if (table.sum(1, dtype=np.uint64) != TOTAL).any():
            raise ModelError("static entropy tables must sum to 2^24 in each layer")

    def fit(self, layer: int, codebook_size: int) -> bool:
        """Tell whether there is a table for a layer, of that many entries."""
        return layer < len(self.frequencies) and self.frequencies.shape[1] == codebook_size

    @functools.cached_property
    def models(self) -> list[Any]:
        """The tables as constriction's models, one a layer."""
        shares = np.ascontiguousarray((self.frequencies - 1).astype(np.float32))
        return [constriction.stream.model.Categorical(row, perfect=False) for row in shares]

    @functools.cached_property
    def costs(self) -> npt.NDArray[np.int64]:
        """Ideal code lengths in 1/64 bit, rounded up, [layers, codebook_size]."""
        return cost_steps(self.frequencies)


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
        DamageError: It has another length, or a code isn't in its codebook.
    """
    width = _width(codebook_size)
    if len(payload) != -(-n_frames * width // 8):
        raise DamageError("a raw payload has the wrong length")
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
        """Return the shortest payload that decodes to the codes: bytes, high byte first, zeros implied at the end.

        constriction seals a stream with whole words, 17 bits on average; of those, 14 prove to be unnecessary: any number
        in the coder's last interval will do.
        """
        sealed: bytes = self._encoder.get_compressed().astype(">u4").tobytes()
        n_words, (lower, size) = self._encoder.pos()
        n_bytes_exact = WORD_BYTES * (n_words + STATE_WORDS)
        value = int.from_bytes(sealed, "big")
        exact = value << 8 * (n_bytes_exact - len(sealed))
        first = exact - (exact - lower) % (1 << 64)
        for n_bytes in range(max(0, len(sealed) - WORD_BYTES), len(sealed)):
            below = value >> 8 * (len(sealed) - n_bytes)
            for short in (below, below + 1):
                fits = first <= short << 8 * (n_bytes_exact - n_bytes) < first + size
                if fits and short < 1 << 8 * n_bytes:
                    return short.to_bytes(n_bytes, "big").rstrip(b"\0")
        return sealed.rstrip(b"\0")


class PayloadReader:
    """Decodes one layer of one stream.

    Raises:
        DamageError: The payload can't be what an encoder wrote. (Most damage shows only in the layer's check.)
    """

    def __init__(self, payload: bytes) -> None:
        if payload.endswith(b"\0"):
            raise DamageError("a payload ends in a zero byte")
        padding = -len(payload) % WORD_BYTES + STATE_WORDS * WORD_BYTES
        self._decoder = queue.RangeDecoder(np.frombuffer(payload + bytes(padding), ">u4").astype(np.uint32))

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
