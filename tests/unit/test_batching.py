"""Windows gathered into batches, forced on the CPU, where roundings are all that may differ."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rvqcodec.codec.batching import Batcher
from rvqcodec.errors import DeviceError
from tests.tiny import tiny_codec


@pytest.fixture
def codec():
    return tiny_codec()


def waves(count, seconds, channels=1):
    generator = np.random.default_rng(count)
    return [generator.standard_normal((channels, int(seconds * 8000))).astype(np.float32) * 0.1 for _ in range(count)]


def alone_and_together(codec, sounds, n_layers=3, n_threads=3):
    """Return what files are coded and decoded to one after the other, and side by side."""
    alone = [codec.encode(wave, n_layers, 2) for wave in sounds]
    backs = [codec.decode(encoded) for encoded in alone]
    codec.batcher = Batcher(codec, 4)
    with ThreadPoolExecutor(len(sounds)) as pool:
        together = list(pool.map(lambda wave: codec.encode(wave, n_layers, 2, n_threads), sounds))
        decoded = list(pool.map(lambda encoded: codec.decode(encoded, n_threads), alone))
    return alone, backs, together, decoded


def test_files_side_by_side_are_as_files_alone(codec):
    """Lengths differ, mono and stereo, with silence between: what is padded changes nothing."""
    sounds = [*waves(4, 7.3), *waves(3, 4.1, 2), *waves(2, 0.3)]
    sounds[1][:, 15_000:45_000] = 0
    alone, backs, together, decoded = alone_and_together(codec, sounds)
    for one, other in zip(alone, together, strict=True):
        assert (one.codes == other.codes).mean() > 0.99 and np.array_equal(one.levels, other.levels)
    for one, other in zip(backs, decoded, strict=True):
        assert np.allclose(one, other, atol=1e-4)


def gathered(codec, monkeypatch, name, calls, size):
    """Return what calls give that wait together, the sizes of their batches, and the batcher; the first runs ahead, alone."""
    sizes, entered, gate = [], threading.Event(), threading.Event()
    real = getattr(codec, name)

    def counted(batch, *rest):
        entered.set()
        assert gate.wait(10)
        sizes.append(len(batch))
        return real(batch, *rest)

    monkeypatch.setattr(codec, name, counted)
    batcher = Batcher(codec, size)
    with ThreadPoolExecutor(len(calls)) as pool:
        jobs = [pool.submit(calls[0], batcher)]
        assert entered.wait(10)
        jobs += [pool.submit(call, batcher) for call in calls[1:]]
        deadline = time.monotonic() + 10
        while sum(map(len, batcher._pending.values())) < len(calls) - 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        gate.set()
        return [job.result(10) for job in jobs], sizes, batcher


def encoding(wave, n_layers=2, context=(0, 0)):
    """Return a call that codes one window of samples [n]."""
    return lambda runner: runner.encode_windows(wave[None, None], n_layers, 2, context)


def decoding(context, n_frames, seed):
    """Return a call that decodes one window of made-up codes, of which some frames have none."""
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, 16, (1, 4, n_frames + sum(context))).astype(np.uint16)
    active = generator.random((1, codes.shape[2])) < 0.9
    layers = generator.integers(0, 5, active.shape)
    return lambda runner: runner.decode_windows(codes, layers, active, np.array([seed << 20]), context)


def test_what_waits_is_gathered_up_to_a_size(codec, monkeypatch):
    context = codec.traits.encoder_context
    sounds = [wave[0] for wave in waves(9, 0.72)]
    alone = [encoding(sound, 2, context)(codec) for sound in sounds]
    calls = [encoding(sound, 2, context) for sound in sounds]
    found, sizes, _ = gathered(codec, monkeypatch, "encode_windows", calls, 5)
    assert sizes == [1, 5, 3]
    assert all(one.shape == (1, 2, 10) and one.dtype == np.uint16 for one in found)
    assert all((one == other).mean() > 0.9 for one, other in zip(alone, found, strict=True))


def test_windows_of_one_length_are_decoded_in_one_batch_and_others_apart(codec, monkeypatch):
    context = codec.traits.decoder_context
    calls = [decoding(context, 40 if seed % 3 else 20, seed) for seed in range(10)]
    alone = [call(codec) for call in calls]
    found, sizes, _ = gathered(codec, monkeypatch, "decode_windows", calls, 64)
    assert sizes[0] == 1 and sorted(sizes[1:]) == [3, 6]
    for one, other in zip(alone, found, strict=True):
        assert one.shape == other.shape and np.allclose(one, other, atol=1e-4 * np.abs(one).max())


def test_windows_of_other_settings_are_apart(codec, monkeypatch):
    wave = waves(1, 3)[0][0]
    calls = [encoding(wave, n % 2 + 2) for n in range(9)]
    found, sizes, _ = gathered(codec, monkeypatch, "encode_windows", calls, 64)
    assert sorted(sizes) == [1, 4, 4] and [codes.shape[1] for codes in found] == [2, 3] * 4 + [2]


def test_too_little_memory_halves_the_batch_for_good(codec, monkeypatch):
    real = codec.encode_windows

    def small(batch, *rest):
        if len(batch) > 2:
            raise DeviceError("no memory is left for the model")
        return real(batch, *rest)

    calls = [encoding(wave[0]) for wave in waves(9, 3)]
    alone = [call(codec) for call in calls]
    monkeypatch.setattr(codec, "encode_windows", small)
    found, sizes, batcher = gathered(codec, monkeypatch, "encode_windows", calls, 64)
    assert sizes == [1, 8, 4, 2, 2, 4, 2, 2] and batcher.size == 2
    assert all((one == other).mean() > 0.98 for one, other in zip(alone, found, strict=True))


def test_an_error_reaches_the_window_that_it_belongs_to_alone(codec, monkeypatch):
    real = codec.encode_windows

    def picky(batch, *rest):
        if not batch.any((1, 2)).all():
            raise ValueError("zeros")
        return real(batch, *rest)

    def caught(call):
        def run(runner):
            try:
                return call(runner)
            except ValueError as error:
                return error

        return run

    sounds = [wave[0] for wave in waves(9, 3)]
    sounds[5][:] = 0
    monkeypatch.setattr(codec, "encode_windows", picky)
    found, _, batcher = gathered(codec, monkeypatch, "encode_windows", [caught(encoding(s)) for s in sounds], 64)
    assert [isinstance(one, ValueError) for one in found] == [n == 5 for n in range(9)] and batcher.size == 64


def test_no_thread_is_left(codec):
    batcher = codec.batcher = Batcher(codec)
    codec.encode(waves(1, 9)[0], 2, 1, 4)
    deadline = time.monotonic() + 10
    while batcher._is_running and time.monotonic() < deadline:
        time.sleep(0.001)
    for thread in threading.enumerate():
        if thread.name == "batches":
            thread.join(10)
    assert threading.active_count() == 1
