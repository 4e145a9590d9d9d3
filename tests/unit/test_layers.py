"""A chunk's layers as payloads: which mode is taken, what each needs, and that all give the codes back."""

import numpy as np
import pytest

from rvqcodec.errors import DamageError, ModelError
from rvqcodec.formats.entropy.counts import CountModel, MixedFrequencies, RangeDecoder, RangeEncoder, running_counts
from rvqcodec.formats.entropy.frequencies import TOTAL
from rvqcodec.formats.entropy.layers import EMPTY_TABLES, NO_TABLES, LayerCoder, Tables
from rvqcodec.formats.entropy.payload import Mode, StaticTables
from tests.entropies import TABLES_ID, make_network, make_tables, network_of_sizes, tables_of_sizes

EVEN = np.array([[TOTAL // 2, TOTAL // 4, TOTAL // 8, TOTAL // 8]], np.uint32)
SMALL = Tables(static=StaticTables(TABLES_ID, EVEN))
ALL = Tables(static=make_tables(3, 16).static, network=make_network())


def u16(*codes):
    return np.array(codes, np.uint16)


def coder(tables, size, *lengths):
    return LayerCoder(tables, [size] * 4, [1] * 4, lengths, use_network=True)


def encoded(streams, tables=ALL, entropy="auto", size=16):
    """Return modes and payloads by layer of streams of codes [layers, frames]."""
    writer = coder(tables, size, *(codes.shape[1] for codes in streams))
    return [writer.encode([codes[layer] for codes in streams], entropy) for layer in range(len(streams[0]))]


def walks(*lengths):
    """Return streams of three layers: slow walks, their echoes, and noise."""
    rng = np.random.default_rng(1)
    walks = [np.cumsum(rng.random(n) < 0.2) % 16 for n in lengths]
    return [np.stack([walk, (walk + 3) % 16, rng.integers(0, 16, len(walk))]).astype(np.uint16) for walk in walks]


@pytest.mark.parametrize("entropy", ["raw", "static", "counts", "network", "auto"])
@pytest.mark.parametrize("lengths", [(60,), (100, 7), (1, 300, 50)])
def test_every_mode_gives_the_codes_back(entropy, lengths):
    streams = walks(*lengths)
    layers = encoded(streams, entropy=entropy)
    reader = coder(ALL, 16, *lengths)
    for number, layer in enumerate(layers):
        assert entropy == "auto" or {mode for mode, _ in layer} == {Mode[entropy.upper()]}
        found = reader.decode([payload for _, payload in layer], [mode for mode, _ in layer])
        for codes, row in zip(streams, found, strict=True):
            assert np.array_equal(codes[number], row)


def test_modes_of_streams_and_layers_mix():
    streams = walks(80, 90)
    writer, reader = coder(ALL, 16, 80, 90), coder(ALL, 16, 80, 90)
    for layer, entropy in enumerate(("raw", "network", "counts")):
        whole = writer.encode([codes[layer] for codes in streams], "network")
        plain = coder(ALL, 16, 80)
        plain.layer = layer
        mixed = [plain.encode([streams[0][layer]], entropy)[0] if entropy == "raw" else whole[0], whole[1]]
        found = reader.decode([payload for _, payload in mixed], [mode for mode, _ in mixed])
        assert all(np.array_equal(row, codes[layer]) for row, codes in zip(found, streams, strict=True))


@pytest.mark.parametrize("entropy", ["static", "counts", "network", "auto"])
def test_fewer_layers_have_the_same_bytes(entropy):
    streams = walks(70, 30)
    assert encoded([codes[:2] for codes in streams], entropy=entropy) == encoded(streams, entropy=entropy)[:2]


def test_a_stream_does_not_depend_on_those_beside_it():
    one, two = walks(70, 30)
    assert [layer[0] for layer in encoded([one, two])] == [layer[0] for layer in encoded([one])]


def test_the_cheaper_mode_is_chosen_by_integers():
    def chosen(codes, tables=SMALL, size=4):
        return coder(tables, size, len(codes)).encode([codes], "auto")[0][0]

    assert SMALL.static.costs[0].tolist() == [64, 128, 192, 192]
    assert chosen(u16(0, 0, 3)) == Mode.STATIC
    assert chosen(u16(1)) == Mode.RAW, "on a tie the simpler one"
    assert chosen(u16(3, 3, 1)) == Mode.RAW
    assert chosen(np.tile(u16(3, 2), 50)) == Mode.COUNTS, "what repeats"
    assert chosen(u16(0, 0, 3), Tables()) == Mode.RAW
    assert chosen(u16(0, 0, 3), SMALL, 8) == Mode.RAW, "the tables are of another codebook"


def test_auto_is_the_smallest():
    streams = walks(400)
    sizes = {
        entropy: [len(layer[0][1]) for layer in encoded(streams, entropy=entropy)]
        for entropy in ("raw", "static", "counts", "network", "auto")
    }
    for layer in range(3):
        assert sizes["auto"][layer] <= min(found[layer] for found in sizes.values()) + 1


def test_what_is_not_at_hand_is_said():
    for entropy, tables, problem in (
        ("static", EMPTY_TABLES, "mode static needs static entropy tables that are not available"),
        ("network", SMALL, "mode network needs an entropy network that is not available"),
    ):
        with pytest.raises(ModelError, match=problem):
            coder(tables, 4, 2).encode([u16(1, 2)], entropy)
        with pytest.raises(ModelError, match=problem):
            coder(tables, 4, 2).decode([b"\1"], [Mode[entropy.upper()]])
    absent = Tables(static=SMALL.static, absent=(NO_TABLES, "f" * 8))
    with pytest.raises(ModelError, match=r"the file names ffffffff"):
        coder(absent, 4, 2).decode([b"\1"], [3])
    assert coder(absent, 4, 2).decode([b"\1"], [2])[0].size == 2, "only what needs it is refused"
    with pytest.raises(ModelError, match="the file names f"):
        coder(Tables(absent=("f" * 8,)), 4, 2).decode([b"\1"], [2])
    with pytest.raises(ModelError, match="not available"):
        encoded([np.zeros((4, 5), np.uint16)], entropy="network")


def test_codes_must_be_in_their_codebook():
    with pytest.raises(ValueError, match="outside its codebook of 4"):
        coder(SMALL, 4, 1).encode([u16(4)], "raw")


def test_no_codes_are_no_bytes():
    for mode in Mode:
        assert coder(ALL, 16, 0).encode([u16()], mode.name.lower()) == [(mode, b"")]
        assert coder(ALL, 16, 0).decode([b""], [mode])[0].size == 0
        if mode != Mode.NETWORK:
            with pytest.raises(DamageError, match="a payload without codes"):
                coder(ALL, 16, 0).decode([b"x"], [mode])


def test_ids_say_what_they_are_by_their_place():
    assert EMPTY_TABLES.ids == () and SMALL.ids == (TABLES_ID,)
    assert ALL.ids == (TABLES_ID, "ff0000ff") and Tables(network=make_network()).ids == (NO_TABLES, "ff0000ff")


def weights_of(model, codes):
    """Return all weights of each code by the definition, one list a frame."""
    found = []
    for i in range(len(codes)):
        weights = model.prior.copy()
        for j in range(i):
            weights[codes[j]] += 16 + 128 * (j > 0 and codes[j - 1] == codes[i - 1])
            weights[codes[j]] += 256 * (model.lower is not None and model.lower[j] == model.lower[i])
        found.append(weights)
    return found


@pytest.mark.parametrize("size", [2, 5, 64, 100])
def test_counts_are_what_is_defined(size):
    rng = np.random.default_rng(size)
    codes = (rng.geometric(0.1, 200) % size).astype(np.uint16)
    for below in (None, (rng.geometric(0.2, 200) % 7).astype(np.uint16)):
        model = CountModel(np.full(size, TOTAL // size, np.uint32), below)
        walk = MixedFrequencies(model.prior, below)
        for code, weights in zip(codes.tolist(), weights_of(model, codes), strict=True):
            ends = np.cumsum(weights)
            assert walk.total() == ends[-1] and [walk.of(s) for s in range(size)] == weights.tolist()
            assert walk.interval(code) == (ends[code] - weights[code], weights[code])
            for point in {0, int(ends[-1]) - 1, int(ends[code]) - 1, int(ends[code] - weights[code])}:
                found = int(np.searchsorted(ends, point, "right"))
                assert walk.find(point) == (found, ends[found] - weights[found])
            walk.update(code)


def test_counts_cost_what_they_code():
    rng = np.random.default_rng(0)
    codes = (rng.geometric(0.1, 300) % 64).astype(np.uint16)
    for below in (None, (rng.geometric(0.2, 300) % 64).astype(np.uint16)):
        model = CountModel(np.full(64, TOTAL // 64, np.uint32), below)
        exact = sum(64 * np.log2(w.sum() / w[code]) for code, w in zip(codes, weights_of(model, codes), strict=True))
        assert abs(model.cost(codes) - exact) < 300
        payload = model.encode(codes)
        assert exact / 512 - 1 <= len(payload) <= exact / 512 + 1.1
        assert np.array_equal(model.decode(payload, 300), codes)


def test_a_coder_carries():
    coder, total = RangeEncoder(), (1 << 22) + 7
    intervals = [(total - 1, 1), *[(total - 2, 1)] * 40, *[(total - 1, 1)] * 9]
    for below, weight in intervals:
        coder.encode(below, weight, total)
    decoder = RangeDecoder(coder.finish())
    for below, weight in intervals:
        assert below <= decoder.target(total) < below + weight
        decoder.consume(below, weight)


def test_damage_of_counts_is_noticed():
    model = CountModel(np.full(5, TOTAL // 5, np.uint32), None)
    with pytest.raises(DamageError, match="ends in a zero byte"):
        model.decode(b"\1\0", 3)
    with pytest.raises(DamageError, match="a payload is damaged"):
        for length in range(8, 60):
            model.decode(b"\xff" * length, 40)


def test_layers_of_other_sizes_and_strides():
    rng = np.random.default_rng(3)
    sizes, strides = [30, 16, 5], [4, 2, 1]
    rows = [rng.integers(0, size, 48 // stride).astype(np.uint16) for size, stride in zip(sizes, strides, strict=True)]
    for entropy in ("raw", "counts", "auto", "static"):
        tables = tables_of_sizes(sizes)
        writer, reader = (LayerCoder(tables, sizes, strides, [48], use_network=True) for _ in range(2))
        for row in rows:
            ((mode, payload),) = writer.encode([row], entropy)
            assert np.array_equal(reader.decode([payload], [mode])[0], row)
    with pytest.raises(ModelError, match="network"):
        LayerCoder(Tables(network=network_of_sizes(sizes)), sizes, strides, [48], use_network=True).encode(
            rows[:1], "network"
        )


def test_a_network_predicts_until_a_layer_of_another_size():
    network = network_of_sizes([30, 16, 5])
    assert [network.n_fitting(sizes) for sizes in ([30], [30, 16, 5, 5], [30, 5, 5], [16, 16])] == [1, 3, 1, 0]


def test_running_counts():
    assert running_counts(np.array([5, 3, 5, 5, 3], np.int64)).tolist() == [0, 0, 1, 2, 1]
    assert running_counts(np.zeros(0, np.int64)).size == 0
