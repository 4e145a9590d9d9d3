import dataclasses

import numpy as np
import pytest
from tiny import make_encoded, make_signal, same

from rvqcodec.encoded import gather

ENCODED = make_encoded(make_signal(), 2500)


def test_a_signal_knows_its_grid():
    signal = make_signal()
    assert signal.block_s == 1.0 and signal.n_streams == 2 and signal.nominal_bitrate == 1600
    assert [signal.block_start(block) for block in (0, 1, 9)] == [0, 1000, 9000]
    assert [signal.frames_until(n) for n in (0, 1, 20, 21, 1000, 1001)] == [0, 1, 1, 2, 50, 51]
    assert [signal.blocks_until(n) for n in (0, 1, 1000, 1001)] == [0, 1, 1, 2]
    assert [signal.scaled(n, 800) for n in (0, 1, 5, 6)] == [0, 1, 4, 5]


@pytest.mark.parametrize(("codebook_size", "bitrate"), [(2, 400), (1000, 4000), (1024, 4000), (1025, 4400)])
def test_nominal_bitrate_counts_whole_bits(codebook_size, bitrate):
    assert make_signal(codebook_size=codebook_size).nominal_bitrate == bitrate


def test_blocks_know_their_neighbours():
    first, second, third = ENCODED.blocks()
    assert not first.levels[0].any() and not third.levels[2].any()
    assert np.array_equal(first.levels[1:], second.levels[:2]) and np.array_equal(second.levels[1:], third.levels[:2])
    assert first.angles.tolist() == [ENCODED.angles[0], *ENCODED.angles[:2]]
    assert third.angles.tolist() == [*ENCODED.angles[1:], ENCODED.angles[2]]
    assert [block.codes.shape[2] for block in (first, second, third)] == [50, 50, 25]


@pytest.mark.parametrize("n_samples", [0, 1, 1000, 2500])
def test_gather_inverts_blocks(n_samples):
    encoded = make_encoded(make_signal(channels=3, rotated=False), n_samples)
    assert same(gather(encoded.signal, encoded.blocks(), n_samples), encoded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codes": ENCODED.codes[:, :3]}, "codes has shape"),
        ({"levels": ENCODED.levels[:1]}, "levels has shape"),
        ({"angles": ENCODED.angles[:0]}, "angles has shape"),
        ({"layers": ENCODED.layers[:1]}, "layers has shape"),
        ({"n_samples": 2600}, "codes has shape"),
        ({"codes": ENCODED.codes.astype(np.int64)}, "codes is int64, not uint16"),
        ({"levels": ENCODED.levels.astype(np.float32)}, "levels is float32, not uint8"),
        ({"codes": ENCODED.codes + np.uint16(16)}, "codes holds a number that is not below 16"),
        ({"angles": ENCODED.angles + np.uint16(512)}, "angles holds a number that is not below 512"),
        ({"layers": ENCODED.layers + np.uint8(1)}, "layers holds a number that is not below 5"),
    ],
)
def test_an_encoded_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ENCODED, **changes)
