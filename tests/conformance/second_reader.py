"""A reader of .rvq files written from SPEC.md with the standard library alone; it asserts where a file breaks a rule."""

import struct


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
                assert byte or shift == 7
                return value

    def signed(self):
        value = self.varint()
        return -(value + 1) // 2 if value & 1 else value // 2


def read_sections(data):
    assert data[:8] == bytes.fromhex("895256510d0a1a0a")
    source = Bytes(data[8:])
    while source.at < len(source.data):
        first = source.at
        kind = source.take(4)
        payload = source.take(source.varint())
        assert crc32c(source.data[first : source.at]) == source.u(4)
        yield kind, payload, source.at - first


def read_head(payload):
    b = Bytes(payload)
    assert b.u(2) == 1
    flags, source = b.u(1), b.u(1)
    h = {"levels": ("none", "rms", "factor")[flags & 3], "rotated": flags >> 2 & 1, "scalable": flags >> 3 & 1}
    h["channels"], h["format"] = (source & 15) + 1, source >> 4
    h["S"] = ceil(h["channels"], 1 + (flags >> 4 & 1))
    h |= {name: b.varint() for name in ("R", "r", "H", "F", "Q", "V", "B")}
    h["r"], h["P"] = h["r"] or h["R"], h["F"] * h["H"] - h["V"]
    h["layers"], last = [], 0
    while not last:
        first, size = b.u(1), b.varint() + 1
        last, stride = first >> 7, b.u(1) if h["Q"] > 1 else 1
        h["layers"] += [(size, stride)] * ((first & 63) + 1)
    h["K"], h["fingerprint"] = len(h["layers"]), b.take(8).hex()
    h["static"], h["network"] = (b.take(4) if flags >> bit & 1 else None for bit in (5, 6))
    h["name"] = b.take(b.varint()).decode()
    assert b.at == len(payload) and not flags >> 7
    return h


def normalised(weights):
    rate = ((1 << 24) - len(weights) << 24) // sum(weights)
    found = [1 + (w * rate >> 24) for w in weights]
    found[weights.index(max(weights))] += (1 << 24) - sum(found)
    return found


def range_decode(piece, n, next_frequencies):
    """Yield n codes as section 6 says."""
    assert not piece.endswith(b"\0")
    data = Bytes(piece + bytes(8 + 4 * n))
    offset, size = int.from_bytes(data.take(8), "big"), (1 << 64) - 1
    for _ in range(n):
        f = next_frequencies()
        scale = size // sum(f)
        q, code, lower = offset // scale, 0, 0
        while q >= lower + f[code]:
            lower += f[code]
            code += 1
        offset -= scale * lower
        size = scale * f[code]
        if size < 1 << 32:
            size, offset = size << 32, offset << 32 | int.from_bytes(data.take(4), "big")
        yield code


def read_counts(piece, g, n, below):
    codes = []

    def next_frequencies():
        i, weights = len(codes), [1 + (f >> 11) for f in g]
        for j, code in enumerate(codes):
            weights[code] += 16 + 128 * (j > 0 and codes[j - 1] == codes[i - 1])
            weights[code] += 256 * (below is not None and below[j] == below[i])
        return weights

    for code in range_decode(piece, n, next_frequencies):
        codes.append(code)
    return codes


def read_network(piece, network, known, layer, n):
    part = network.layers[layer]
    strides, width = part.strides, len(part.embedding[0])
    hidden, output = part.hidden.tolist(), part.output.tolist()
    passes = [range(0, n, 2 * strides[0]), *(range(s, n, 2 * s) for s in strides)]
    order = [(number, t) for number, frames in enumerate(passes) for t in frames]
    codes, place, seen = {}, iter(order), {t: list(k) for t, k in known.items()}

    def next_frequencies():
        p, t = next(place)
        steps = range(-2, 3) if p == 0 else [o * strides[p - 1] for o in (-3, -1, 0, 1, 3)]
        zero = [0] * width
        x = [max(-127, min(127, v)) for o in steps for v in (seen.get(t + o, zero) if 0 <= t + o < n else zero)]
        rows = zip(hidden[p], part.hidden_scale[p].tolist(), part.hidden_bias[p].tolist(), strict=True)
        h = [max(0, min(127, dot(row, x) * a + c >> network.shift)) for row, a, c in rows]
        rows = zip(output, part.output_scale.tolist(), part.output_bias.tolist(), strict=True)
        logs = [dot(row, h) * a + c >> network.shift for row, a, c in rows]
        return normalised([power(max(logs) - value) for value in logs])

    waiting = []
    for (number, t), code in zip(order, range_decode(piece, n, next_frequencies), strict=True):
        codes[t] = code
        waiting.append((t, code))
        if t == passes[number][-1]:
            for decoded in waiting:
                update(seen, network, layer, *decoded)
            waiting = []
    return [codes[t] for t in range(n)]


def update(known, network, layer, frame, code):
    row = network.layers[layer].embedding[code].tolist()
    known[frame] = [a + b for a, b in zip(known.get(frame, [0] * len(row)), row, strict=True)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def power(below):
    """Return floor(2^20 2^(-below / 64)): the largest w with w^64 <= 2^(1280 - below)."""
    w = round(2 ** (20 - below / 64)) + 1
    while w and w**64 << below > 1 << 1280:
        w -= 1
    return w


def read_chunk(payload, h, number, tables):
    b = Bytes(payload)
    assert b.varint() == number
    k, samples, first = b.u(1), b.varint(), number * h["B"]
    n_model = ceil((first * h["P"] * h["r"] // h["R"] + samples) * h["R"], h["r"])
    n = ceil(n_model, h["P"]) - first
    lengths = [h["Q"] * ceil(n_model - (first + i) * h["P"], h["H"] * h["Q"]) for i in range(n)]
    lengths = [min(h["F"], length) for length in lengths]
    if h["V"]:
        missing = [b.varint() for _ in range(min(n, 2))]
        lengths = [h["F"]] * (n - len(missing)) + [h["F"] - m for m in missing]
    levels = [list(b.take(h["S"])) for _ in range(n + 2)] if h["levels"] == "rms" else [[1] * h["S"]] * (n + 2)
    angles, angle = [], 0
    for _ in range(n + 2 if h["rotated"] else 0):
        angle = (angle + b.signed()) % 512
        angles.append(angle)
    factors = [struct.unpack(f"<{h['S']}f", b.take(4 * h["S"])) for _ in range(n if h["levels"] == "factor" else 0)]
    active = [[f for f, block in enumerate(blocks_of(lengths)) if levels[1 + block][s]] for s in range(h["S"])]
    coded = [s for s in range(h["S"]) if active[s]]
    table = [(b.varint(), b.u(2)) for _ in range(k * len(coded))]
    assert crc32c(payload[: b.at]) == b.u(4)
    codes, below, known = {}, {}, {s: {} for s in coded}
    for index, (entry, check) in enumerate(table):
        layer, s = index // len(coded), coded[index % len(coded)]
        found = read_payload(b.take(entry // 8), entry % 8, h, layer, len(active[s]), below.get(s), known[s], tables)
        if tables.network and h["network"]:
            for t, code in enumerate(found):
                update(known[s], tables.network, layer, t, code)
        below[s] = found
        assert crc32c(b"".join(code.to_bytes(2, "little") for code in found)) & 0xFFFF == check
        for place, frame in enumerate(active[s]):
            codes[s, layer, frame] = found[place // h["layers"][layer][1]]
    assert b.at == len(payload)
    return samples, lengths, levels[1:-1], angles[1:-1], factors, codes, {entry % 8 for entry, _ in table}


def blocks_of(lengths):
    return [block for block, length in enumerate(lengths) for _ in range(length)]


def read_payload(piece, mode, h, layer, n_frames, below, known, tables):
    size, stride = h["layers"][layer]
    n, width = n_frames // stride, (size - 1).bit_length()
    rows = tables.static.frequencies if h["static"] else ()
    g = rows[layer].tolist() if layer < len(rows) and len(rows[layer]) == size else [(1 << 24) // size] * size
    if mode == 0:
        bits = int.from_bytes(piece, "big") >> (8 * len(piece) - width * n)
        return [bits >> width * i & (1 << width) - 1 for i in reversed(range(n))]
    if mode == 1:
        return list(range_decode(piece, n, lambda: g))
    if mode == 2:
        lower = below and [below[i * stride // h["layers"][layer - 1][1]] for i in range(n)]
        return read_counts(piece, g, n, lower)
    return read_network(piece, tables.network, known, layer, n)


def read_end(payload):
    b = Bytes(payload)
    samples, n_chunks, sizes, size = b.varint(), b.varint(), [], 0
    for _ in range(n_chunks - 1):
        size += b.signed()
        sizes.append(size)
    modes, optional, at = b.u(1), b.varint(), b.at
    assert Bytes(payload[at:][::-1]).varint() == at
    return samples, n_chunks, sizes, {m for m in range(8) if modes >> m & 1}, optional
