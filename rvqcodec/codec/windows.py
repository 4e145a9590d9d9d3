"""Runs a codec's networks over blocks, in fixed windows on the grid with real context on both sides.

The windows are the model's, whatever the chunks, threads and sizes of reads: window w holds the blocks
`window_blocks` w to `window_blocks` (w + 1) - 1, the last window as many as are left. Each stream of each window is one call
of the network, by one thread: so its shape, and with it every rounding, depends on the place in the audio alone. Only a
GPU, which rounds in its own way anyhow, gets several of them at once (`batching`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.codec.levelling import LevelledBlock, Samples, neighbours
from rvqcodec.encoded import SILENT, CodedBlock, Codes

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec

STREAM_STRIDE = 1 << 32
"""Frames between the noise of one stream and that of the next: more than any file has."""

Block = TypeVar("Block", CodedBlock, LevelledBlock)
Window = tuple[list[Block] | None, list[Block], list[Block] | None]


def windows(blocks: Iterable[Block], size: int, first: int = 0) -> Iterator[Window[Block]]:
    """Yield the blocks of each window with those of the window before and of the one after.

    Args:
        blocks: Blocks that follow one another.
        size: Blocks of a window.
        first: Number of the first block on the grid.
    """
    numbered = itertools.groupby(enumerate(blocks, first), lambda item: item[0] // size)
    return neighbours([block for _, block in group] for _, group in numbered)


def code_blocks(
    codec: Codec, blocks: Iterable[LevelledBlock], n_layers: int, n_candidates: int, n_threads: int
) -> Iterator[CodedBlock]:
    """Yield the blocks coded, in their order.

    Args:
        codec: The model.
        blocks: Levelled blocks from the start of the audio on.
        n_layers: Layers to code.
        n_candidates: Candidates of the quantizer's search.
        n_threads: Windows that are worked on side by side.
    """
    runner = codec.batcher or codec

    def start(window: Window[LevelledBlock]) -> tuple[list[LevelledBlock], list[Future[Codes] | None]]:
        wave = _samples_in_context(window, codec.config.encoder_context * codec.config.hop_length)
        silent = np.all([block.levels[1] == SILENT for block in window[1]], axis=0)
        jobs = [
            None if quiet else pool.submit(runner.encode_window, stream, n_layers, n_candidates)
            for stream, quiet in zip(wave, silent, strict=True)
        ]
        return window[1], jobs

    with _pool(n_threads) as pool:
        for members, jobs in _ahead(start, windows(blocks, codec.config.window_blocks), n_threads):
            yield from _cut_codes(
                members, [None if job is None else job.result() for job in jobs], n_layers, codec.config.hop_length
            )


def decode_blocks(
    codec: Codec, blocks: Iterable[CodedBlock], n_threads: int, first: int = 0, first_wanted: int = 0
) -> Iterator[tuple[CodedBlock, Samples]]:
    """Yield each block with its decoded streams, float32 [streams, block size], in their order.

    Args:
        codec: The model.
        blocks: Coded blocks that follow one another.
        n_threads: Windows that are worked on side by side.
        first: Number on the grid of the first of `blocks`; at most one before the window of `first_wanted`, or of a window before that.
        first_wanted: Number of the first block to yield; the windows before its own aren't run.
    """
    runner = codec.batcher or codec
    size = codec.config.window_blocks
    context = codec.config.decoder_context

    def start(numbered: tuple[int, Window[CodedBlock]]) -> tuple[list[CodedBlock], list[Future[Samples] | None]]:
        index, window = numbered
        codes, n_layers, sounding = _frames_in_context(window, codec)
        begin = index * size * codec.config.frame_rate - context
        heard: npt.NDArray[np.bool_] = np.any(sounding[:, context - 1 : 1 - context], axis=1)
        jobs = [
            pool.submit(runner.decode_window, codes[stream], n_layers, sounding[stream], begin + stream * STREAM_STRIDE)
            if heard[stream]
            else None
            for stream in range(len(codes))
        ]
        return window[1], jobs

    number = first_wanted // size * size
    grouped = itertools.islice(windows(blocks, size, first), number // size - first // size, None)
    with _pool(n_threads) as pool:
        for members, jobs in _ahead(start, enumerate(grouped, number // size), n_threads):
            n_samples = len(members) * codec.config.frame_rate * codec.config.hop_length
            streams = np.stack([np.zeros(n_samples, np.float32) if job is None else job.result() for job in jobs])
            for block, samples in zip(members, np.split(streams, len(members), 1), strict=True):
                if number >= first_wanted:
                    yield block, samples
                number += 1


@contextlib.contextmanager
def _pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads with one intra-op thread each: two of those on two windows beat two intra-op threads on one.

    What hasn't begun when the block ends is dropped, so that an interrupt waits for no more than the running windows.
    """
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


Item = TypeVar("Item")
Started = TypeVar("Started")


def _ahead(start: Callable[[Item], Started], items: Iterable[Item], n_ahead: int) -> Iterator[Started]:
    """Start items in order, `n_ahead` before the one that is waited for."""
    started: deque[Started] = deque()
    for item in items:
        started.append(start(item))
        if len(started) > n_ahead:
            yield started.popleft()
    yield from started


def _samples_in_context(window: Window[LevelledBlock], context: int) -> Samples:
    """Return a window's samples with `context` more on both sides, zeros where there is no audio, [streams, n]."""
    before, members, after = window
    none = np.zeros((len(members[0].samples), context), np.float32)
    head = before[-1].samples[:, -context:] if before else none
    tail = after[0].samples[:, :context] if after else none
    return np.concatenate([head, *(block.samples for block in members), tail], 1)


def _frames_in_context(
    window: Window[CodedBlock], codec: Codec
) -> tuple[Codes, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return a window's codes [streams, layers, frames], layers [frames] and which frames sound [streams, frames], with context."""
    before, members, after = window
    size, context = codec.config.frame_rate, codec.config.decoder_context
    blocks = [before[-1] if before else None, *members, after[0] if after else None]
    n_streams, n_stored, _ = members[0].codes.shape
    codes = np.zeros((n_streams, n_stored, len(blocks) * size), np.uint16)
    n_layers = np.full(len(blocks) * size, n_stored, np.int64)
    sounding = np.zeros((n_streams, len(blocks) * size), np.bool_)
    for place, block in enumerate(blocks):
        if block is not None:
            frames = slice(place * size, place * size + block.codes.shape[2])
            codes[:, :, frames] = block.codes
            n_layers[frames] = block.n_layers
            coded = np.not_equal(block.levels[1:2], SILENT).T
            sounding[:, frames] = coded & (block.n_layers > 0)
    kept = slice(size - context, (len(blocks) - 1) * size + context)
    return codes[:, :, kept], n_layers[kept], sounding[:, kept]


def _cut_codes(
    members: list[LevelledBlock], codes: list[Codes | None], n_layers: int, hop_length: int
) -> Iterator[CodedBlock]:
    """Cut a window's codes into its blocks, zeros where a stream is silent."""
    size = members[0].samples.shape[1] // hop_length
    for place, block in enumerate(members):
        n_frames = -(-block.n_samples // hop_length)
        cut = np.zeros((len(codes), n_layers, n_frames), np.uint16)
        for stream, found in enumerate(codes):
            if found is not None and block.levels[1, stream] != SILENT:
                cut[stream] = found[:, place * size : place * size + n_frames]
        yield CodedBlock(codes=cut, n_layers=n_layers, levels=block.levels, angles=block.angles)
