"""A second reader, written from SPEC.md with the standard library alone, finds in every vector what the first one finds."""

import json
from pathlib import Path

import pytest
from tiny import fitting_tables, range_decode, read_file

from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.pipeline.tables import load_network
from rvqcodec.weights.networks import read_network as read_arrays
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


def shared_out(weights):
    rate = ((1 << 24) - len(weights) << 24) // sum(weights)
    found = [1 + (w * rate >> 24) for w in weights]
    found[weights.index(max(weights))] += (1 << 24) - sum(found)
    return found


def prior(h, layer, frequencies):
    named = h["tables"] and h["tables"][0] != "0" * 16
    return list(map(int, frequencies[layer])) if named else [(1 << 24) // h["C"]] * h["C"]


def read_counts(piece, g, n, below, size):
    codes = []

    def next_frequencies():
        i, weights = len(codes), [1 + (f >> 11) for f in g]
        for j, code in enumerate(codes):
            weights[code] += 16 + 128 * (j > 0 and codes[j - 1] == codes[i - 1])
            weights[code] += 256 * (below is not None and below[j] == below[i])
        return shared_out(weights)

    for code in coded_one_by_one(piece, next_frequencies, n):
        codes.append(code)
    return codes


def read_network(piece, network, known, layer, n):
    shift, layers = network
    part = {name: value.tolist() for name, value in layers[layer].items()}
    strides, width = part["strides"], len(part["embedding"][0])
    passes = [range(0, n, 2 * strides[0]), *(range(s, n, 2 * s) for s in strides)]
    order = [(number, t) for number, frames in enumerate(passes) for t in frames]
    codes, place, seen = {}, iter(order), {t: list(k) for t, k in known.items()}

    def next_frequencies():
        p, t = next(place)
        steps = range(-2, 3) if p == 0 else [o * strides[p - 1] for o in (-3, -1, 0, 1, 3)]
        zero = [0] * width
        x = [max(-127, min(127, v)) for o in steps for v in (seen.get(t + o, zero) if 0 <= t + o < n else zero)]
        rows = zip(part["hidden"][p], part["hidden_scale"][p], part["hidden_bias"][p], strict=True)
        h = [max(0, min(127, dot(row, x) * a + c >> shift)) for row, a, c in rows]
        rows = zip(part["output"], part["output_scale"], part["output_bias"], strict=True)
        logs = [dot(row, h) * a + c >> shift for row, a, c in rows]
        return shared_out([power(max(logs) - value) for value in logs])

    waiting = []
    for (number, t), code in zip(order, coded_one_by_one(piece, next_frequencies, n), strict=True):
        codes[t] = code
        waiting.append((t, code))
        if t == passes[number][-1]:
            for learnt in waiting:
                learn(seen, network, layer, *learnt)
            waiting = []
    return [codes[t] for t in range(n)]


def learn(known, network, layer, frame, code):
    row = network[1][layer]["embedding"][code].tolist()
    known[frame] = [a + b for a, b in zip(known.get(frame, [0] * len(row)), row, strict=True)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def power(below):
    """Return floor(2^20 2^(-below / 64)): the largest w with w^64 <= 2^(1280 - below)."""
    w = round(2 ** (20 - below / 64)) + 1
    while w and w**64 << below > 1 << 1280:
        w -= 1
    return w


def coded_one_by_one(piece, next_frequencies, n):
    """Yield codes whose frequencies depend on those before, as section 6 says."""
    data = piece + bytes(8 + 4 * n)
    lower, size, point, position = 0, (1 << 64) - 1, int.from_bytes(data[:8], "big"), 8
    for _ in range(n):
        f, scale = next_frequencies(), size >> 24
        q, code = ((point - lower) % (1 << 64)) // scale, 0
        while q >= f[code]:
            q -= f[code]
            code += 1
        lower, size = (lower + scale * sum(f[:code])) % (1 << 64), scale * f[code]
        if size < 1 << 32:
            lower, size = lower << 32 & (1 << 64) - 1, size << 32
            point = (point << 32 | int.from_bytes(data[position : position + 4], "big")) & (1 << 64) - 1
            position += 4
        yield code


def read_chunk(payload, h, number, frequencies, network=None):
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
    codes, below, known = [], {}, {}
    for index, (size_and_mode, check) in enumerate(table):
        layer, stream = index // len(coded), coded[index % len(coded)]
        sounding = [f for f in range(n_frames) if levels[1 + f // h["F"]][stream]]
        piece = b.take(size_and_mode // 4)
        if size_and_mode % 4 == 0:
            bits = int.from_bytes(piece, "big") >> (8 * len(piece) - h["W"] * len(sounding))
            found = [bits >> h["W"] * i & (1 << h["W"]) - 1 for i in reversed(range(len(sounding)))]
        elif size_and_mode % 4 == 1:
            found = range_decode(piece, frequencies[layer], len(sounding))
        elif size_and_mode % 4 == 2:
            found = read_counts(piece, prior(h, layer, frequencies), len(sounding), below.get(stream), h["C"])
        else:
            found = read_network(piece, network, known.setdefault(stream, {}), layer, len(sounding))
        for frame, code in enumerate(found if network else ()):
            learn(known.setdefault(stream, {}), network, layer, frame, code)
        below[stream] = found
        assert crc32c(b"".join(code.to_bytes(2, "little") for code in found)) & 0xFFFF == check
        codes += [(layer, stream, first * h["F"] + frame, code) for frame, code in zip(sounding, found, strict=True)]
    assert b.at == len(payload)
    return samples, levels[1:-1], angles[1:-1], codes


@pytest.mark.parametrize("vector", VECTORS)
def test_a_second_reader_finds_the_same(vector):
    data = (FOLDER / f"{vector}.rvq").read_bytes()
    tables = StaticTables(*read_tables(FOLDER / "tiny.static.safetensors"))
    encoded = read_file(data, Tables(static=tables))
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


ENTROPY = [name for name in json.loads((FOLDER / "entropy.json").read_text("utf-8")) if name.startswith("entropy-")]


@pytest.mark.parametrize("vector", ENTROPY)
def test_a_second_reader_finds_the_same_in_every_entropy_mode(vector):
    data = (FOLDER / f"{vector}.rvq").read_bytes()
    path = FOLDER / "tiny-entropy.network-1.safetensors"
    tables = Tables(static=fitting_tables(4).static, network=load_network(path))
    encoded = read_file(data, tables if "static" in vector or "auto" in vector else Tables(network=tables.network))
    (_, head), *rest = read_sections(data)
    h, (_, *network) = read_head(head), read_arrays(path)
    chunks = [payload for kind, payload in rest if kind == b"CODE"]
    for number, payload in enumerate(chunks):
        *_, found = read_chunk(payload, h, number, tables.static.frequencies, network)
        assert found
        for layer, stream, frame, code in found:
            assert encoded.codes[stream, layer, frame] == code
