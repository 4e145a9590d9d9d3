"""Windowed and stateful inference: runs a model over blocks in fixed windows, with context on both sides or with carried state.

The windows belong to the model and never depend on chunks, threads or read sizes (`context`). Each stream of each window is one call of
the network on one thread, so its shape, and with it every rounding, depends on the position in the audio alone. Only a GPU, whose
rounding differs anyway, runs several at once (`batching`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch

from rvqcodec.codec.context import Window, frames_in_context, is_active, is_lost, samples_in_context, windows
from rvqcodec.codec.levelling import LevelledBlock, Samples
from rvqcodec.codec.runner import WindowRunner
from rvqcodec.encoded import CodedBlock, Codes
from rvqcodec.models.family import Traits

STREAM_STRIDE = 1 << 32
"""Offset of the frame index, which seeds the noise, from stream to stream: more frames than any file has."""

Item = TypeVar("Item")
Started = TypeVar("Started")


class _States:
    """The state of each stream; None in families without state."""

    def __init__(self, runner: WindowRunner) -> None:
        self._runner = runner
        self._states: dict[int, Any] = {}

    def of(self, stream: int) -> Any:
        if not self._runner.traits.stateful:
            return None
        if stream not in self._states:
            self._states[stream] = self._runner.start()
        return self._states[stream]

    def reset(self) -> None:
        self._states.clear()


def encode_blocks(
    runner: WindowRunner, blocks: Iterable[LevelledBlock], n_layers: int, beam_width: int, n_threads: int
) -> Iterator[CodedBlock]:
    """Yield the coded blocks in order.

    Args:
        runner: The model.
        blocks: Levelled blocks from the start of the audio.
        n_layers: Layers to code.
        beam_width: Of the quantizer search.
        n_threads: Windows in flight; in stateful families, streams.

    Raises:
        DeviceError: The device failed or is out of memory.
    """
    traits, states = runner.traits, _States(runner)

    def start(window: Window[LevelledBlock]) -> tuple[list[LevelledBlock], list[Future[Codes] | None]]:
        waves, context = samples_in_context(window, traits)

        def run(stream: int) -> Future[Codes]:
            wave, state = waves[stream][None], states.of(stream)
            return pool.submit(runner.encode_windows, wave, n_layers, beam_width, context, state)

        active = [any(is_active(block, stream) for block in window[1]) for stream in range(len(waves))]
        return window[1], [run(stream) if active[stream] else None for stream in range(len(waves))]

    with _pool(n_threads) as pool:
        for members, jobs in _prefetch(start, windows(blocks, traits.window_blocks), _n_ahead(traits, n_threads)):
            codes = [None if job is None else job.result()[0] for job in jobs]
            yield from _split_codes(members, codes, n_layers, traits)


def decode_blocks(
    runner: WindowRunner, blocks: Iterable[CodedBlock], n_threads: int, first: int = 0, first_output: int = 0
) -> Iterator[tuple[CodedBlock, Samples]]:
    """Yield each block with its decoded streams, float32 [streams, channels_per_stream, block size], in order.

    Args:
        runner: The model.
        blocks: Consecutive coded blocks.
        n_threads: Windows in flight; in stateful families, streams.
        first: Index on the grid of the first of `blocks`, at most what `Traits.needed_blocks` gives for `first_output`.
        first_output: Index of the first block to yield; windows before its own are run only to carry state.

    Raises:
        DeviceError: The device failed or is out of memory.
    """
    traits, states = runner.traits, _States(runner)

    def start(placed: tuple[int, Window[CodedBlock]]) -> tuple[int, list[CodedBlock], list[Future[Samples] | None]]:
        number, window = placed
        codes, n_layers, active, context = frames_in_context(window, traits)
        if traits.stateful and is_lost(window[1][0]):
            states.reset()
            return number, window[1], [None] * len(codes)

        def run(stream: int) -> Future[Samples]:
            index = np.array([number * traits.frames_per_block - context[0] + stream * STREAM_STRIDE])
            arrays = (codes[stream][None], n_layers[None], active[stream][None], index)
            return pool.submit(runner.decode_windows, *arrays, context, states.of(stream))

        needed = [traits.stateful or bool(own.any()) for own in active]
        return number, window[1], [run(stream) if needed[stream] else None for stream in range(len(codes))]

    with _pool(n_threads) as pool:
        placed = _placed(blocks, first, first_output, traits)
        for number, members, jobs in _prefetch(start, placed, _n_ahead(traits, n_threads)):
            for place, (block, samples) in enumerate(_split_samples(members, jobs, traits), number):
                if place >= first_output:
                    yield block, samples


def _placed(
    blocks: Iterable[CodedBlock], first: int, first_output: int, traits: Traits
) -> Iterator[tuple[int, Window[CodedBlock]]]:
    """Yield the windows to decode, each with the index of its first block; in stateful families lost blocks have windows of their own."""
    size = traits.window_blocks
    start = 0 if traits.stateful else first_output // size * size
    grouped = windows(blocks, size, first, is_lost) if traits.stateful else windows(blocks, size, first)
    for window in itertools.islice(grouped, start // size - first // size, None):
        yield start, window
        start += len(window[1])


def _split_codes(
    members: list[LevelledBlock], codes: list[Codes | None], n_layers: int, traits: Traits
) -> Iterator[CodedBlock]:
    """Yield the blocks of a window with their codes, zeros where a stream is silent."""
    start, unit = 0, traits.hop_length * traits.frame_multiple
    for block in members:
        n_frames = -(-block.n_samples // unit) * traits.frame_multiple
        cut = np.zeros((len(codes), n_layers, n_frames), np.uint16)
        for stream, found in enumerate(codes):
            if found is not None and is_active(block, stream):
                cut[stream] = found[:, start : start + n_frames]
        start += n_frames
        yield CodedBlock(codes=cut, n_layers=n_layers, levels=block.levels, angles=block.angles)


def _split_samples(
    members: list[CodedBlock], jobs: list[Future[Samples] | None], traits: Traits
) -> Iterator[tuple[CodedBlock, Samples]]:
    """Yield the blocks of a window with their samples, zeros where a stream has no codes."""
    ends = np.cumsum([block.codes.shape[2] * traits.hop_length for block in members])
    zeros = np.zeros((traits.channels_per_stream, int(ends[-1])), np.float32)
    streams = np.stack([zeros if job is None else job.result()[0] for job in jobs])
    yield from zip(members, np.split(streams, ends[:-1], 2), strict=True)


def _n_ahead(traits: Traits, n_threads: int) -> int:
    return 0 if traits.stateful else n_threads


@contextlib.contextmanager
def _pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads with one intra-op thread each: two of those on two windows beat two intra-op threads on one.

    Jobs that have not started when the block ends are cancelled, so an interrupt waits for the running windows only.
    """
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prefetch(start: Callable[[Item], Started], items: Iterable[Item], n_ahead: int) -> Iterator[Started]:
    """Start items in order, `n_ahead` ahead of the one whose result is awaited."""
    started: deque[Started] = deque()
    for item in items:
        started.append(start(item))
        if len(started) > n_ahead:
            yield started.popleft()
    yield from started
