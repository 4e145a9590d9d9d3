"""TFLite parser: operators in execution order and float32 constants of a flatbuffer, with numpy only.

Input is untrusted: every offset and length is checked against the file, and the sum of all lengths against a limit.

Source: flatbuffers.dev (internals), tensorflow/lite/schema/schema.fbs (the numbers of fields, operators and types).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvqcodec.errors import ModelError

ADD, CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV = 0, 3, 4, 9, 67
FLOAT32, MAX_DIMENSIONS = 0, 8
MAX_FILE_BYTES = 1 << 26
MAX_ITEMS = 1 << 20
"""Limit on tables, inputs, outputs and dimensions of a file, counted by reference."""

Constant = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: its code and the indices of its input and output tensors; -1: none."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Operators in execution order, and the float32 constants by tensor index."""

    operators: tuple[Operator, ...]
    constants: dict[int, Constant]


def read_tflite(path: Path) -> list[Graph]:
    """Return the graphs of a TFLite file.

    Raises:
        ModelError: The file is missing, too large, or not a valid TFLite file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES or data[4:8] != b"TFL3":
        raise ModelError(f"{path} is not a TFLite file of at most {MAX_FILE_BYTES >> 20} MiB")
    try:
        return parse_tflite(data)
    except _DamageError as error:
        raise ModelError(f"{path} is damaged: {error}") from error


def parse_tflite(data: bytes) -> list[Graph]:
    """Return the graphs in the bytes of a TFLite file; constants are views of `data`."""
    file = _Flatbuffer(data)
    model = file.follow(0)
    # the first field is a byte, from before there were 128 operators
    codes = [max(file.field(code, 0, 1), file.field(code, 3, 4)) for code in file.tables(model, 1)]
    buffers = file.tables(model, 4)
    return [_graph(file, graph, codes, buffers) for graph in file.tables(model, 2)]


class _DamageError(Exception):
    """The bytes contradict themselves."""


def _graph(file: _Flatbuffer, graph: int, codes: list[int], buffers: list[int]) -> Graph:
    operators = [
        Operator(
            _at(codes, file.field(operator, 0, 4), "operator code"),
            file.integers(operator, 1),
            file.integers(operator, 2),
        )
        for operator in file.tables(graph, 3)
    ]
    constants = {}
    for number, tensor in enumerate(file.tables(graph, 0)):
        shape = file.integers(tensor, 0)
        content = file.content(_at(buffers, file.field(tensor, 2, 4), "buffer"), 0)
        if content and file.field(tensor, 1, 1) == FLOAT32:
            if len(shape) > MAX_DIMENSIONS or min(shape, default=1) < 0 or 4 * prod(shape) != len(content):
                raise _DamageError("a tensor's shape and its content differ in size")
            constants[number] = np.frombuffer(content, "<f4").reshape(shape)
    return Graph(tuple(operators), constants)


def _at(items: list[int], index: int, what: str) -> int:
    if index >= len(items):
        raise _DamageError(f"there is no {what} {index}")
    return items[index]


class _Flatbuffer:
    """Tables and vectors of a flatbuffer; positions are byte offsets."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.items_left = MAX_ITEMS

    def bytes(self, position: int, size: int) -> memoryview:
        """Return `size` bytes at a position."""
        if position < 0 or position + size > len(self.data):
            raise _DamageError("an offset or a length exceeds the file")
        return self.data[position : position + size]

    def number(self, position: int, size: int, *, signed: bool = False) -> int:
        """Return the number at a position."""
        return int.from_bytes(self.bytes(position, size), "little", signed=signed)

    def follow(self, position: int) -> int:
        """Return the target of the offset at a position."""
        return position + self.number(position, 4)

    def place(self, table: int, field: int) -> int | None:
        """Return the position of a table's field, or None if it is absent."""
        vtable = table - self.number(table, 4, signed=True)
        entry = 4 + 2 * field
        offset = self.number(vtable + entry, 2) if entry < self.number(vtable, 2) else 0
        return table + offset if offset else None

    def field(self, table: int, field: int, size: int) -> int:
        """Return a table's field, an unsigned integer of `size` bytes; 0 if it is absent."""
        place = self.place(table, field)
        return 0 if place is None else self.number(place, size)

    def content(self, table: int, field: int, size: int = 1) -> memoryview:
        """Return the bytes of a table's vector of items of `size` bytes; empty if it is absent."""
        place = self.place(table, field)
        if place is None:
            return self.data[:0]
        vector = self.follow(place)
        return self.bytes(vector + 4, size * self.number(vector, 4))

    def integers(self, table: int, field: int) -> tuple[int, ...]:
        """Return a table's vector of signed 32-bit numbers."""
        return tuple(np.frombuffer(self._counted(table, field), "<i4").tolist())

    def tables(self, table: int, field: int) -> list[int]:
        """Return the positions of the tables of a table's vector."""
        content = self._counted(table, field)
        if not content:
            return []
        start = self.follow(self.place(table, field) or 0) + 4
        return [self.follow(position) for position in range(start, start + len(content), 4)]

    def _counted(self, table: int, field: int) -> memoryview:
        content = self.content(table, field, 4)
        self.items_left -= len(content) // 4
        if self.items_left < 0:
            raise _DamageError("it has too many items")
        return content
