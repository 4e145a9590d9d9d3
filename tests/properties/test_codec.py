"""What no option may change: codes by layers, efforts, threads and chunks; samples by levels and angles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvqcodec.codec.levelling import level_blocks, restore_block
from rvqcodec.encoded import CodedBlock
from rvqcodec.errors import DamageError
from rvqcodec.formats.entropy.layers import LayerCoder, Tables
from tests.entropies import make_network, make_tables
from tests.streams import read_file, write_file
from tests.tiny import same, tiny_config


@st.composite
def waves(draw, max_channels=3):
    """Return a wave [channels, n] whose loudness and place change, with stretches of silence."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    channels, n_samples = draw(st.integers(1, max_channels)), draw(st.integers(0, 40_000))
    pieces = draw(st.lists(st.sampled_from([0.0, 1e-5, 1e-3, 0.05, 0.5, 3.0]), min_size=1, max_size=8))
    loudness = np.repeat(pieces, -(-n_samples // len(pieces)))[:n_samples]
    mixing = rng.standard_normal((channels, channels)) if draw(st.booleans()) else np.eye(channels)
    return (mixing @ rng.standard_normal((channels, n_samples)) * loudness).astype(np.float32)


@settings(max_examples=12)
@given(wave=waves(), n_layers=st.integers(1, 4), beam_width=st.sampled_from([1, 4, 16]))
def test_codes_of_fewer_layers_are_the_first_of_those_of_more(codec, wave, n_layers, beam_width):
    whole = codec.encode(wave, 4, beam_width)
    fewer = codec.encode(wave, n_layers, beam_width)
    assert np.array_equal(fewer.codes, whole.codes[:, :n_layers])
    assert np.array_equal(fewer.levels, whole.levels) and np.array_equal(fewer.angles, whole.angles)


@settings(max_examples=12)
@given(wave=waves(), n_threads=st.integers(1, 5), chunk_blocks=st.integers(1, 6))
def test_threads_and_chunks_change_nothing(codec, wave, n_threads, chunk_blocks):
    one, other = codec.encode(wave, 4), codec.encode(wave, 4, n_threads=n_threads)
    assert same(one, other)
    stored = read_file(write_file(other, chunk_blocks=chunk_blocks))
    assert same(stored, one)
    decoded = codec.decode(one)
    assert np.array_equal(codec.decode(stored, n_threads=n_threads), decoded)
    assert decoded.shape == wave.shape and np.isfinite(decoded).all()


@given(wave=waves(max_channels=2))
def test_restoring_gives_the_samples_back(wave):
    """Of blocks in which every stream sounds; what is silent is 40 dB under the other stream, or not there."""
    traits = tiny_config().traits()
    size, channels = traits.block_size, len(wave)
    cut = [wave.T[start : start + size] for start in range(0, wave.shape[1], size)]
    blocks = list(level_blocks(cut, traits, channels == 2))
    none = np.zeros((channels, 0, 0), np.uint16)
    for samples, block in zip(cut, blocks, strict=True):
        coded = CodedBlock(codes=none, n_layers=1, levels=block.levels, angles=block.angles)
        found = restore_block(block.samples, coded, traits, channels)[: len(samples)]
        scale = np.sqrt(2.0) * max(1.0, float(np.abs(samples).max()))
        if block.levels[1].all():
            assert np.abs(found - samples).max() <= 1e-5 * scale
        lost = float(np.square(found - samples).sum(dtype=float))
        assert lost <= 1.1e-4 * float(np.square(samples).sum(dtype=float)) + 1e-9 * samples.size


@settings(max_examples=300)
@given(payload=st.binary(max_size=40), n_frames=st.integers(1, 60), skew=st.sampled_from([0.1, 2, 400]))
def test_any_payload_decodes_or_is_damage(payload, n_frames, skew):
    tables = Tables(static=make_tables(1, 20, skew=skew).static, network=make_network(size=20))
    for mode in range(4):
        try:
            (codes,) = LayerCoder(tables, [20], [1], [n_frames], use_network=True).decode([payload], [mode])
        except DamageError:
            continue
        assert codes.shape == (n_frames,) and codes.max() < 20


@pytest.mark.parametrize("n_frames", [1, 8192])
def test_the_longest_layer_of_nothing(n_frames):
    coder = LayerCoder(make_tables(1, 20), [20], [1], [n_frames], use_network=False)
    assert not coder.decode([b""], [1])[0].any()
