"""A second reader, written from SPEC.md with the standard library alone, finds in every vector what the first one finds."""

import json
from pathlib import Path

import pytest
from tiny import range_decode, read_file

from rvqcodec.formats.entropy import StaticTables
from rvqcodec.weights.tables import read_tables

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = sorted(json.loads((FOLDER / "tiny.json").read_text(encoding="utf-8"))["vectors"])


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def ceil(a, b):
    return -(-a // b)


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data)
        return self.data[self.at - n : self.at]

    def u(self, n):
        return int.from_bytes(self.take(n), "little")

    def varint(self):
        value, shift = 0, 0
        while True:
            byte = self.u(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self):
        value = self.varint()
        return -(value + 1) // 2 if value & 1 else value // 2


def read_sections(data):
    assert data[:8] == bytes.fromhex("895256510d0a1a0a")
    source = Bytes(data[8:])
    while source.at < len(source.data):
        kind = source.take(4)
        length = source.u(4)
        payload = source.take(length)
        assert source.u(4) == crc32c(kind + length.to_bytes(4, "little") + payload)
        yield kind, payload


def read_head(payload):
    b = Bytes(payload)
    sizes = {
        "major": 1,
        "minor": 1,
        "r": 4,
        "S": 1,
        "format": 1,
        "rotated": 1,
        "K": 1,
        "C": 2,
        "R": 4,
        "H": 2,
        "F": 2,
        "B": 2,
    }
    head = {name: b.u(size) for name, size in sizes.items()}
    head["C"] += 1
    head["W"] = (head["C"] - 1).bit_length()
    assert b.u(4) == head["S"] * head["K"] * head["W"] * head["R"] // head["H"] and b.u(2) == 0
    head["fingerprint"] = b.take(8).hex()
    head["tables"] = [b.take(8).hex() for _ in range(b.u(1))]
    head["name"] = b.take(b.u(1)).decode()
    assert b.at == len(payload)
    return head


def read_chunk(payload, h, number, frequencies):
    """Return samples, levels, angles and codes[layer][stream] of one chunk, None where there is none."""
    b = Bytes(payload)

    def start(block):
        return block * h["F"] * h["H"] * h["r"] // h["R"]

    assert b.varint() == number
    n_layers, samples, first = b.u(1), b.varint(), number * h["B"]
    n_frames = ceil((start(first) + samples) * h["R"], h["r"] * h["H"]) - first * h["F"]
    n_blocks = ceil(n_frames, h["F"])
    levels = [list(b.take(h["S"])) for _ in range(n_blocks + 2)]
    angles, angle = [], 0
    for _ in range(n_blocks + 2 if h["rotated"] else 0):
        angle = (angle + b.signed()) % 512
        angles.append(angle)
    coded = [s for s in range(h["S"]) if any(levels[1 + block][s] for block in range(n_blocks))]
    table = [(b.varint(), b.u(2)) for _ in range(n_layers * len(coded))]
    assert crc32c(payload[: b.at]) == b.u(4)
    codes = []
    for index, (size_and_mode, check) in enumerate(table):
        layer, stream = index // len(coded), coded[index % len(coded)]
        sounding = [f for f in range(n_frames) if levels[1 + f // h["F"]][stream]]
        piece = b.take(size_and_mode // 4)
        if size_and_mode % 4 == 0:
            bits = int.from_bytes(piece, "big") >> (8 * len(piece) - h["W"] * len(sounding))
            found = [bits >> h["W"] * i & (1 << h["W"]) - 1 for i in reversed(range(len(sounding)))]
        else:
            found = range_decode(piece, frequencies[layer], len(sounding))
        assert crc32c(b"".join(code.to_bytes(2, "little") for code in found)) & 0xFFFF == check
        codes += [(layer, stream, first * h["F"] + frame, code) for frame, code in zip(sounding, found, strict=True)]
    assert b.at == len(payload)
    return samples, levels[1:-1], angles[1:-1], codes


@pytest.mark.parametrize("vector", VECTORS)
def test_a_second_reader_finds_the_same(vector):
    data = (FOLDER / f"{vector}.rvq").read_bytes()
    tables = StaticTables(*read_tables(FOLDER / "tiny.static.safetensors"))
    encoded = read_file(data, tables)
    (_, head), *rest = read_sections(data)
    h = read_head(head)
    chunks = [payload for kind, payload in rest if kind == b"CODE"]
    read = [read_chunk(payload, h, number, tables.frequencies) for number, payload in enumerate(chunks)]
    assert (h["name"], h["fingerprint"], h["r"], h["K"]) == ("tiny", encoded.signal.fingerprint, 800, 4)
    assert sum(samples for samples, *_ in read) == encoded.n_samples
    assert [levels for _, found, _, _ in read for levels in found] == encoded.levels.T.tolist()
    assert [angle for _, _, found, _ in read for angle in found] == encoded.angles.tolist()
    codes = {tuple(place): code for *_, found in read for *place, code in found}
    assert codes or vector == "tiny-empty"
    for (layer, stream, frame), code in codes.items():
        assert encoded.codes[stream, layer, frame] == code
    assert int((encoded.codes != 0).sum()) == sum(code != 0 for code in codes.values())
    index = Bytes(rest[-2][1])
    sizes, size = [], 0
    for _ in range(index.varint()):
        size += index.signed()
        sizes.append(size)
    assert rest[-2][0] == b"INDX" and sizes == [len(payload) + 12 for payload in chunks]
    assert rest[-1][0] == b"END." and len(rest[-1][1]) == 29
    assert int.from_bytes(rest[-1][1][:8], "little") == encoded.n_samples
