"""Entropy coding of codebook indices, one flushed payload per layer; the only module that knows constriction.

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
from rvqcodec.formats.sections import crc32c

PRECISION = 24
TOTAL = 1 << PRECISION
WORD_BYTES = 4
COST_STEPS = 64

Frequencies = npt.NDArray[np.uint32]
queue = constriction.stream.queue


class Mode(enum.IntEnum):
    """How a layer's codes are coded. 2 and 3 are reserved for integer count mixing and the integer network."""

    RAW = 0
    STATIC = 1


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
        floats = np.ascontiguousarray((self.frequencies - 1).astype(np.float32))
        return [queue_model(row) for row in floats]

    @functools.cached_property
    def costs(self) -> npt.NDArray[np.int64]:
        """Ideal code lengths in 1/64 bit, rounded up, [layers, codebook_size]: exact integer logarithms."""
        unique, places = np.unique(self.frequencies, return_inverse=True)
        steps = [PRECISION * COST_STEPS - (int(f) ** COST_STEPS).bit_length() + 1 for f in unique]
        return np.array(steps, np.int64)[places].reshape(self.frequencies.shape)


def queue_model(counts: npt.NDArray[np.float32]) -> Any:
    """Return constriction's model of counts f - 1, C-contiguous float32 [codebook_size]."""
    return constriction.stream.model.Categorical(counts, perfect=False)


def code_check(codes: Codes) -> int:
    """Return the 16-bit check of one layer's decoded codes [frames]: the low half of the CRC-32C of their u16 bytes."""
    return crc32c(codes.astype("<u2").tobytes()) & 0xFFFF


def choose_mode(codes: Codes, layer: int, codebook_size: int, tables: StaticTables | None, entropy: str) -> Mode:
    """Return the mode for one layer's codes [frames].

    Args:
        codes: The codes.
        layer: Which layer, from 0.
        codebook_size: Entries of the layer's codebook.
        tables: The static tables at hand, if any.
        entropy: "raw", "static", or "auto", which takes the least ideal code length, on a tie the simpler mode.

    Raises:
        ModelError: "static" is asked for and there are no tables for this layer.
    """
    usable = tables is not None and tables.fit(layer, codebook_size)
    if entropy == "raw" or (entropy == "auto" and not usable):
        return Mode.RAW
    if tables is None or not usable:
        raise ModelError("the model has no static entropy tables", "use --entropy raw")
    if entropy == "static":
        return Mode.STATIC
    raw_cost = len(codes) * (codebook_size - 1).bit_length() * COST_STEPS
    return Mode.STATIC if int(tables.costs[layer, codes].sum()) < raw_cost else Mode.RAW


def encode_layer(codes: Codes, layer: int, mode: Mode, codebook_size: int, tables: StaticTables | None) -> bytes:
    """Return one layer's codes [frames] as one payload.

    Raises:
        ValueError: A code isn't in its codebook.
        ModelError: The tables that the mode needs aren't there.
    """
    if codes.size and int(codes.max()) >= codebook_size:
        raise ValueError(f"code {int(codes.max())} in a codebook of {codebook_size}")
    if not codes.size:
        return b""
    if mode == Mode.RAW:
        return _pack_bits(codes, (codebook_size - 1).bit_length())
    return _range_encode(codes, _model(tables, layer, codebook_size))


def decode_layer(
    payload: bytes, n_frames: int, layer: int, mode: int, codebook_size: int, tables: StaticTables | None
) -> Codes:
    """Return one layer's codes, uint16 [n_frames].

    Raises:
        DamageError: The payload can't be what an encoder wrote. (Most damage shows only in the layer's check.)
        ModelError: The mode, or the tables that it needs, aren't at hand.
    """
    if not n_frames:
        if payload:
            raise DamageError("bytes where no code is")
        return np.zeros(0, np.uint16)
    if mode == Mode.RAW:
        return _unpack_bits(payload, n_frames, codebook_size)
    if mode != Mode.STATIC:
        raise ModelError(f"entropy mode {mode} is not known to this version", "upgrade rvqcodec")
    return _range_decode(payload, n_frames, _model(tables, layer, codebook_size))


def _model(tables: StaticTables | None, layer: int, codebook_size: int) -> Any:
    if tables is None or not tables.fit(layer, codebook_size):
        raise ModelError("the static entropy tables that the file uses are not at hand")
    return tables.models[layer]


def _pack_bits(codes: Codes, width: int) -> bytes:
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint16)
    return np.packbits((codes[:, None] >> shifts & 1).astype(np.uint8)).tobytes()


def _unpack_bits(payload: bytes, n_frames: int, codebook_size: int) -> Codes:
    width = (codebook_size - 1).bit_length()
    if len(payload) != -(-n_frames * width // 8):
        raise DamageError("a raw payload has the wrong length")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8), count=n_frames * width).reshape(n_frames, width)
    codes: Codes = (bits.astype(np.uint16) << np.arange(width - 1, -1, -1, dtype=np.uint16)).sum(1, dtype=np.uint16)
    if int(codes.max()) >= codebook_size:
        raise DamageError("a raw code is not in its codebook")
    return codes


def _range_encode(codes: Codes, model: Any) -> bytes:
    """Return the shortest payload that decodes to `codes`: bytes, high byte first, zeros implied at the end.

    constriction seals a stream with whole words, 17 bits on average; of those, 14 prove to be unnecessary.
    """
    encoder = queue.RangeEncoder()
    encoder.encode(np.ascontiguousarray(codes, np.int32), model)
    sealed: bytes = encoder.get_compressed().astype(">u4").tobytes()
    value = int.from_bytes(sealed, "big")
    for n_bytes in range(max(0, len(sealed) - WORD_BYTES), len(sealed)):
        below = value >> 8 * (len(sealed) - n_bytes)
        for short in (below, below + 1):
            if short < 1 << 8 * n_bytes:
                payload = short.to_bytes(n_bytes, "big").rstrip(b"\0")
                if _decodes_to(payload, codes, model):
                    return payload
    return sealed.rstrip(b"\0")


def _decodes_to(payload: bytes, codes: Codes, model: Any) -> bool:
    try:
        return np.array_equal(_range_decode(payload, len(codes), model), codes)
    except DamageError:
        return False


def _range_decode(payload: bytes, n_frames: int, model: Any) -> Codes:
    if payload.endswith(b"\0"):
        raise DamageError("a payload ends in a zero byte")
    padding = -len(payload) % WORD_BYTES + 2 * WORD_BYTES
    words = np.frombuffer(payload + bytes(padding), ">u4").astype(np.uint32)
    try:
        codes: Codes = queue.RangeDecoder(words).decode(model, n_frames).astype(np.uint16)
    except AssertionError as error:  # how constriction 0.5 reports words that no encoder writes
        raise DamageError("a payload is damaged") from error
    return codes
