"""Beyond the ends of a file stands the file, mirrored, for samples and for codes: never zeros, and never at a chunk's border."""

import dataclasses

import numpy as np
import pytest

from rvqcodec.codec.context import in_context
from rvqcodec.codec.levelling import level_blocks
from rvqcodec.codec.windows import STREAM_STRIDE
from tests.streams import read_file, write_file
from tests.tiny import same

HOP, SECOND = 160, 8000
SHORT = [1, 50, 160, 161, 1000, 3000, 7999, 8000, 12_345, 16_000]
LONG = [16_001, 16_100, 18_500, 24_077, 40_000]
"""Numbers of samples of files of one window, and of several."""


def mirrored(array, left, right):
    """Return an array whose last axis goes on at both ends: item N + i is item N - 1 - i, again and again."""
    n = array.shape[-1]
    place = np.arange(-left, n + right) % (2 * n)
    return array[..., np.where(place < n, place, 2 * n - 1 - place)]


def wave(n_samples, channels=1):
    rng = np.random.default_rng(n_samples)
    return (0.1 * np.cumsum(rng.standard_normal((channels, n_samples)), 1) / np.sqrt(n_samples) + 0.02).astype(
        np.float32
    )


def levelled(codec, audio):
    """Return the levelled streams of a wave [channels, n], [streams, n]."""
    cut = (audio.T[start : start + SECOND] for start in range(0, audio.shape[1], SECOND))
    blocks = level_blocks(cut, codec.traits, len(audio) == 2)
    return np.concatenate([block.samples[:, 0, : block.n_samples] for block in blocks], 1)


def in_one_pass(codec, encoded):
    """Return the streams of codes that go on, mirrored, at both ends, [streams, n]."""
    left, right = codec.traits.decoder_context
    n_frames = encoded.codes.shape[2]
    per_frame = np.repeat(encoded.layers.astype(np.int64), 50)[:n_frames]
    sounds = np.repeat(encoded.levels > 0, 50, 1)[:, :n_frames] & (per_frame > 0)
    found = []
    for stream, codes in enumerate(encoded.codes):
        arrays = [mirrored(x, left, right)[None] for x in (codes, per_frame, sounds[stream])]
        place = np.array([stream * STREAM_STRIDE - left])
        found.append(codec.decode_windows(*arrays, place, (left, right))[0, 0])
    return np.stack(found)


@pytest.mark.parametrize("n_samples", SHORT + LONG)
def test_codes_are_those_of_the_mirrored_wave(codec, n_samples):
    audio = wave(n_samples)
    left, right = codec.traits.encoder_context
    n_frames = -(-n_samples // HOP)
    whole = mirrored(levelled(codec, audio), left * HOP, n_frames * HOP - n_samples + right * HOP)
    expected = codec.encode_windows(whole[:, None], 4, 4, (left, right))
    found = codec.encode(audio).codes
    assert found.shape == expected.shape == (1, 4, n_frames)
    if n_samples in SHORT:
        assert np.array_equal(found, expected)
    else:  # windows are of other shapes, and round in other ways
        assert (found == expected).mean() > 0.99


@pytest.mark.parametrize("n_samples", SHORT + LONG)
@pytest.mark.parametrize("channels", [1, 2])
def test_waves_are_those_of_the_mirrored_codes(codec, n_samples, channels):
    encoded = codec.encode(wave(n_samples, channels))
    found = np.concatenate([streams[:, 0] for _, streams in codec.decode_blocks(encoded.blocks(), 1)], 1)
    expected = in_one_pass(codec, encoded)
    assert found.shape == expected.shape == (channels, -(-n_samples // HOP) * HOP)
    assert np.abs(found - expected).max() <= (0 if n_samples in SHORT else 1e-4) * np.abs(expected).max()


@pytest.mark.parametrize("layers", [[0, 3, 4], [4, 2, 0], [1, 0, 2]])
def test_layers_and_lost_blocks_are_mirrored_with_their_codes(codec, layers):
    encoded = dataclasses.replace(codec.encode(wave(2 * SECOND + 700)), layers=np.array(layers, np.uint8))
    found = np.concatenate([streams[:, 0] for _, streams in codec.decode_blocks(encoded.blocks(), 1)], 1)
    expected = in_one_pass(codec, encoded)
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("n_samples", [50, 8000, 16_100, 40_000])
@pytest.mark.parametrize(("n_threads", "chunk_blocks"), [(2, 1), (3, 2), (1, 3)])
def test_threads_and_chunks_have_no_ends(codec, n_samples, n_threads, chunk_blocks):
    audio = wave(n_samples, 2)
    encoded = codec.encode(audio)
    stored = read_file(write_file(codec.encode(audio, n_threads=n_threads), chunk_blocks=chunk_blocks))
    assert same(stored, encoded)
    assert np.array_equal(codec.decode(stored, n_threads), codec.decode(encoded))


def test_a_decode_from_the_middle_has_no_end_there(codec):
    blocks = list(codec.encode(wave(6 * SECOND)).blocks())
    whole = [streams for _, streams in codec.decode_blocks(blocks, 1)]
    (_, found) = next(iter(codec.decode_blocks(blocks[1:], 1, 1, 2)))
    assert np.array_equal(found, whole[2])


@pytest.mark.parametrize("context", [(2, 2), (0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("n_items", [1, 7, 39, 40, 41, 77, 80, 81, 120])
def test_windows_in_context_are_cuts_of_the_mirrored_file(context, multiple, n_items):
    """For families of any context, and where a file is filled up to several frames of five items."""
    unit, size = 5, 40
    items, grain = np.arange(n_items), unit * multiple
    n_frames = -(-n_items // grain) * multiple
    whole = mirrored(items, context[0] * unit, n_frames * unit - n_items + context[1] * unit)
    cut = [items[start : start + size] for start in range(0, n_items, size)]
    for number, members in enumerate(cut):
        before = cut[number - 1] if number else items[:0]
        after = cut[number + 1] if number + 1 < len(cut) else items[:0]
        found, around = in_context((before, members, after), context, unit, multiple, "symmetric")
        own = -(-len(members) // grain) * grain
        start = number * size
        assert around == context
        assert found.tolist() == whole[start : start + own + sum(context) * unit].tolist()


@pytest.mark.parametrize("n_items", [1, 39, 40, 77, 120])
def test_where_the_network_pads_the_file_just_ends(n_items):
    unit, size, context = 5, 40, (2, 1)
    items = np.arange(n_items)
    cut = [items[start : start + size] for start in range(0, n_items, size)]
    for number, members in enumerate(cut):
        before = cut[number - 1] if number else items[:0]
        after = cut[number + 1] if number + 1 < len(cut) else items[:0]
        found, (left, right) = in_context((before, members, after), context, unit, 1, "network")
        stop = min(n_items, number * size + len(members) + unit)
        assert found.tolist() == items[max(0, number * size - 2 * unit) : stop].tolist()
        assert left == (2 if number else 0) and right == -(-(stop - number * size - len(members)) // unit)
