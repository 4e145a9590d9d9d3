import dataclasses

import numpy as np
import pytest

from rvqcodec.encoded import gather
from rvqcodec.signal import LayerGroup
from tests.tiny import TRAITS, make_encoded, make_signal, same

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
        ({"n_samples": 2600}, "block_frames contradicts"),
        ({"n_samples": 3600}, "has shape"),
        ({"block_frames": ENCODED.block_frames - np.uint16(1)}, "codes has shape"),
        ({"factors": np.ones((2, 3), np.float32)}, "factors has shape"),
        ({"codes": ENCODED.codes.astype(np.int64)}, "codes is int64, expected uint16"),
        ({"levels": ENCODED.levels.astype(np.float32)}, "levels is float32, expected uint8"),
        ({"codes": ENCODED.codes + np.uint16(16)}, "codes has a value that isn't below 16"),
        ({"angles": ENCODED.angles + np.uint16(512)}, "angles has a value that isn't below 512"),
        ({"layers": ENCODED.layers + np.uint8(1)}, "layers has a value that isn't below 5"),
    ],
)
def test_an_encoded_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ENCODED, **changes)


@pytest.mark.parametrize("trait", TRAITS)
@pytest.mark.parametrize("n_samples", [0, 1, 700, 1490, 2500, 2990])
def test_gather_inverts_blocks_of_any_signal(trait, n_samples):
    encoded = make_encoded(make_signal(**TRAITS[trait]), n_samples)
    assert same(gather(encoded.signal, encoded.blocks(), n_samples), encoded)


def test_the_grid_of_overlapping_blocks():
    """EnCodec at 48 kHz: blocks of 48,000 samples, 47,520 apart."""
    values = {"model_sample_rate": 48_000, "sample_rate": 48_000, "hop_length": 320, "frames_per_block": 150}
    signal = make_signal(**values, block_step=47_520)
    assert signal.overlap == 480 and signal.block_start(3) == 3 * 47_520
    frames = {47_520: [149], 47_521: [149, 1], 48_000: [150, 2], 95_041: [150, 149, 1], 96_000: [150, 150, 3]}
    for n_samples, expected in frames.items():
        assert signal.block_frames(n_samples).tolist() == expected
        assert signal.frames_until(n_samples) == sum(expected) and signal.blocks_until(n_samples) == len(expected)


def test_frames_are_a_multiple_where_the_codec_pads():
    signal = make_signal(**TRAITS["strides"])
    assert [signal.frames_until(n) for n in (1, 80, 81, 2000)] == [4, 4, 8, 100]
    assert signal.strides == (4, 2, 1, 1) and signal.codebook_sizes == (30, 16, 16, 16)
    assert signal.nominal_bitrate == 2 * (5 * 50 // 4 + 4 * 50 // 2 + 2 * 4 * 50) + 1, "exact, and rounded once"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 9}, "1 to 8 channels"),
        ({"channels": 1}, "can be rotated"),
        ({"levels": "none"}, "can be rotated"),
        ({"channels_per_stream": 2}, "can be rotated"),
        ({"groups": ()}, "there are 1 to 64"),
        (
            {"groups": (LayerGroup(n_layers=1, codebook_size=4), LayerGroup(n_layers=2, codebook_size=4))},
            "groups differ",
        ),
        ({"groups": (LayerGroup(n_layers=1, codebook_size=4, stride=2),)}, "divides the frame multiple"),
        ({"frame_multiple": 4}, "multiple of the frame multiple"),
        ({"block_step": 399}, "at most half"),
        ({"block_step": 801}, "at most half"),
        ({"sample_rate": 40}, "at least one source sample long"),
        ({"levels": "loud"}, "known kind"),
        ({"frames_per_block": 8193}, "1 to 8192 frames"),
    ],
)
def test_a_signal_is_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        make_signal(**changes)


def test_coarse_codes_repeat():
    encoded = make_encoded(make_signal(**TRAITS["strides"]), 1000)
    codes = encoded.codes.copy()
    codes[0, 0, 0] = (int(codes[0, 0, 0]) + 1) % 30
    with pytest.raises(ValueError, match="stride 4 aren't constant"):
        dataclasses.replace(encoded, codes=codes)
    with pytest.raises(ValueError, match="isn't finite and positive"):
        louder = make_encoded(make_signal(**TRAITS["overlap"]), 1000)
        dataclasses.replace(louder, factors=louder.factors * np.float32(0))
