"""Windows gathered into batches, forced on the CPU, where roundings are all that may differ."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny import tiny_codec

from rvqcodec.errors import DeviceError
from rvqcodec.models.batching import Batcher


@pytest.fixture
def codec():
    return tiny_codec()


def waves(count, seconds, channels=1):
    generator = np.random.default_rng(count)
    return [generator.standard_normal((channels, int(seconds * 800))).astype(np.float32) * 0.1 for _ in range(count)]


def test_files_side_by_side_are_as_files_alone(codec):
    sounds = [*waves(4, 7.3), *waves(3, 4.1, 2), *waves(2, 0.3)]
    alone = [codec.encode(wave, 3, 2) for wave in sounds]
    backs = [codec.decode(encoded) for encoded in alone]
    codec.batcher = Batcher(codec, 4)
    with ThreadPoolExecutor(len(sounds)) as pool:
        together = list(pool.map(lambda wave: codec.encode(wave, 3, 2, 3), sounds))
        decoded = list(pool.map(lambda encoded: codec.decode(encoded, 3), alone))
    for one, other in zip(alone, together, strict=True):
        assert (one.codes == other.codes).mean() > 0.99 and np.array_equal(one.levels, other.levels)
    for one, other in zip(backs, decoded, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_what_waits_is_gathered_up_to_a_size(codec, monkeypatch):
    sizes, gate = [], threading.Event()
    real = codec.encode_windows

    def counted(batch, *settings):
        gate.wait(10)
        sizes.append(len(batch))
        return real(batch, *settings)

    monkeypatch.setattr(codec, "encode_windows", counted)
    batcher = Batcher(codec, 4)
    wave = np.zeros((100 + 2 * codec.config.encoder_context) * codec.config.hop_length, np.float32)
    with ThreadPoolExecutor(9) as pool:
        jobs = [pool.submit(batcher.encode_window, wave, 2, 1) for _ in range(9)]
        while len(batcher._waiting[("encode", wave.shape, 2, 1)]) < 8:
            pass
        gate.set()
        assert all(np.array_equal(job.result(), jobs[0].result()) for job in jobs)
    assert sum(sizes) == 9 and max(sizes) == 4 and len(sizes) <= 5


def test_too_little_memory_halves_the_batch_and_errors_reach_their_window(codec, monkeypatch):
    real = codec.encode_windows

    def small(batch, n_layers, n_candidates):
        if len(batch) > 2 or n_layers == 1:
            raise DeviceError("no memory is left for the model")
        return real(batch, n_layers, n_candidates)

    monkeypatch.setattr(codec, "encode_windows", small)
    batcher = codec.batcher = Batcher(codec, 16)
    expected = tiny_codec().encode(waves(1, 40)[0], 2, 1)
    assert np.array_equal(codec.encode(waves(1, 40)[0], 2, 1, 8).codes, expected.codes) and batcher.size <= 16
    with pytest.raises(DeviceError, match="no memory"):
        codec.encode(waves(1, 40)[0], 1, 1, 8)
