import dataclasses

import numpy as np
import pytest

from rvqcodec.codec.context import windows
from rvqcodec.encoded import CodedBlock
from tests.tiny import same

SECOND = 8000


def wave(n_samples, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.random(n_samples // 5000 + 1), 5000)[:n_samples]
    return (0.3 * envelope * rng.standard_normal((channels, n_samples))).astype(np.float32)


def test_windows_lie_on_the_grid():
    found = list(windows(iter(range(3, 10)), 4, first=3))
    assert found == [(None, [3], [4, 5, 6, 7]), ([3], [4, 5, 6, 7], [8, 9]), ([4, 5, 6, 7], [8, 9], None)]


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_threads_change_neither_codes_nor_waves(codec, n_threads):
    audio = wave(7 * SECOND + 123)
    one = codec.encode(audio, 4, n_threads=1)
    assert same(codec.encode(audio, 4, n_threads=n_threads), one)
    assert np.array_equal(codec.decode(one, n_threads=n_threads), codec.decode(one, n_threads=1))


@pytest.mark.parametrize("n_seconds", [2, 4, 6])
def test_what_comes_later_changes_no_code_before(codec, n_seconds):
    """Codes of a window depend on the audio up to its context and the neighbouring levels alone."""
    audio = wave(9 * SECOND)
    whole = codec.encode(audio, 4)
    start = codec.encode(audio[:, : (n_seconds + 3) * SECOND], 4)
    assert np.array_equal(whole.codes[:, :, : n_seconds * 50], start.codes[:, :, : n_seconds * 50])


@pytest.mark.parametrize("n_samples", [0, 1, 7_999, 8_000, 8_001, 16_000, 40_000])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_length_comes_back(codec, n_samples, channels):
    encoded = codec.encode(wave(n_samples, channels), 3)
    decoded = codec.decode(encoded)
    assert decoded.shape == (channels, n_samples) and decoded.dtype == np.float32 and np.isfinite(decoded).all()
    assert encoded.codes.shape == (channels, 3, -(-n_samples // 160))


def test_silence_has_no_codes_and_decodes_to_zeros(codec):
    audio = wave(6 * SECOND, 1)
    audio[:, 2 * SECOND - 3000 : 5 * SECOND] = 0
    encoded = codec.encode(audio, 4)
    assert encoded.levels[0].tolist()[2:4] == [0, 0] and not encoded.codes[:, :, 100:200].any()
    decoded = codec.decode(encoded)
    assert not decoded[:, 2 * SECOND + 160 : 4 * SECOND - 160].any() and decoded[:, :SECOND].any()


@pytest.mark.parametrize("first_output", range(8))
def test_decoding_may_start_at_any_block(codec, first_output):
    encoded = codec.encode(wave(8 * SECOND), 4)
    blocks = list(encoded.blocks())
    whole = [samples for _, samples in codec.decode_blocks(blocks, 1)]
    first, stop = codec.traits.needed_blocks(first_output, first_output + 1)
    assert first == max(0, first_output // 2 * 2 - 1) and stop == first_output // 2 * 2 + 3
    part = [samples for _, samples in codec.decode_blocks(blocks[first:], 2, first, first_output)]
    assert len(part) == 8 - first_output
    assert all(np.array_equal(one, other) for one, other in zip(part, whole[first_output:], strict=True))


def test_damage_is_heard_no_further_than_the_context(codec):
    encoded = codec.encode(wave(8 * SECOND, 1), 4)
    blocks = list(encoded.blocks())
    lost = CodedBlock(codes=blocks[4].codes * 0, n_layers=0, levels=blocks[4].levels, angles=blocks[4].angles)
    whole = np.concatenate([s for _, s in codec.decode_blocks(blocks, 1)], 2)[0, 0]
    damaged = np.concatenate([s for _, s in codec.decode_blocks([*blocks[:4], lost, *blocks[5:]], 1)], 2)[0, 0]
    reach = codec.traits.decoder_context[0] * codec.traits.hop_length
    changed = np.flatnonzero(np.abs(whole - damaged) > 1e-6 * np.abs(whole).max())
    assert 4 * SECOND - reach <= changed.min() < 4 * SECOND + 160 and changed.max() < 5 * SECOND + reach


def test_layers_that_do_not_hold_are_not_used(codec):
    encoded = codec.encode(wave(3 * SECOND, 1), 4)
    fewer = dataclasses.replace(encoded, layers=encoded.layers - 2)
    codes = encoded.codes.copy()
    codes[:, 2:] = 7
    rubbish = dataclasses.replace(fewer, codes=codes)
    assert np.array_equal(codec.decode(fewer), codec.decode(rubbish))
    assert not np.array_equal(codec.decode(fewer), codec.decode(encoded))
