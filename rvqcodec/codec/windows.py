"""Runs a model over blocks, in fixed windows on the grid: with real context on both sides, or with state from window to window.

The windows are the model's, whatever the chunks, threads and sizes of reads: window w holds the blocks
`window_blocks` w to `window_blocks` (w + 1) - 1, the last window as many as are left. Each stream of each window is one call
of the network, by one thread: so its shape, and with it every rounding, depends on the place in the audio alone. Only a
GPU, which rounds in its own way anyhow, gets several of them at once (`batching`).

Beyond the ends of a file stands what the family says: nothing, where its network pads by itself, or the file mirrored: sample N + i is
sample N - 1 - i, and likewise for codes. Zeros there would fade its first and last 10 ms, or change its first codes.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.codec.levelling import LevelledBlock, Samples, neighbours
from rvqcodec.encoded import SILENT, CodedBlock, Codes

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec, Context
    from rvqcodec.models.family import Traits

STREAM_STRIDE = 1 << 32
"""Frames between the noise of one stream and that of the next: more than any file has."""

Block = TypeVar("Block", CodedBlock, LevelledBlock)
Window = tuple[list[Block] | None, list[Block], list[Block] | None]


def windows(
    blocks: Iterable[Block], size: int, first: int = 0, kind: Callable[[Block], bool] = lambda block: False
) -> Iterator[Window[Block]]:
    """Yield the blocks of each window with those of the window before and of the one after.

    Args:
        blocks: Blocks that follow one another.
        size: Blocks of a window.
        first: Number of the first block on the grid.
        kind: Blocks that differ in it are in windows of their own.
    """
    numbered = itertools.groupby(enumerate(blocks, first), lambda item: (item[0] // size, kind(item[1])))
    return neighbours([block for _, block in group] for _, group in numbered)


def code_blocks(
    codec: Codec, blocks: Iterable[LevelledBlock], n_layers: int, beam_width: int, n_threads: int
) -> Iterator[CodedBlock]:
    """Yield the blocks coded, in their order.

    Args:
        codec: The model.
        blocks: Levelled blocks from the start of the audio on.
        n_layers: Layers to code.
        beam_width: Of the quantizer's search.
        n_threads: Windows that are worked on side by side; of families that carry state, streams.
    """
    runner, traits = codec.batcher or codec, codec.traits
    states: dict[int, Any] = {}

    def start(window: Window[LevelledBlock]) -> tuple[list[LevelledBlock], list[Future[Codes] | None]]:
        waves, context = _samples_in_context(window, traits)
        jobs = [
            pool.submit(
                runner.encode_windows, waves[stream][None], n_layers, beam_width, context, _state(codec, states, stream)
            )
            if any(_is_active(block, stream) for block in window[1])
            else None
            for stream in range(len(waves))
        ]
        return window[1], jobs

    with _pool(n_threads) as pool:
        for members, jobs in _ahead(start, windows(blocks, traits.window_blocks), _n_ahead(traits, n_threads)):
            yield from _cut_codes(members, [None if job is None else job.result()[0] for job in jobs], n_layers, traits)


def decode_blocks(
    codec: Codec, blocks: Iterable[CodedBlock], n_threads: int, first: int = 0, first_wanted: int = 0
) -> Iterator[tuple[CodedBlock, Samples]]:
    """Yield each block with its decoded streams, float32 [streams, channels_per_stream, block size], in their order.

    Args:
        codec: The model.
        blocks: Coded blocks that follow one another.
        n_threads: Windows that are worked on side by side; of families that carry state, streams.
        first: Number on the grid of the first of `blocks`, at most what `Traits.needed_blocks` says for `first_wanted`.
        first_wanted: Number of the first block to yield; windows before its own aren't run unless state has to be carried.
    """
    runner, traits = codec.batcher or codec, codec.traits
    size = traits.window_blocks
    states: dict[int, Any] = {}

    def start(window: Window[CodedBlock]) -> tuple[list[CodedBlock], list[Future[Samples] | None]]:
        codes, n_layers, active, context = _frames_in_context(window, traits)
        begin = next(starts) * traits.frames_per_block - context[0]
        for _ in window[1][1:]:
            next(starts)
        if traits.stateful and _is_lost(window[1][0]):
            states.clear()
            return window[1], [None] * len(codes)

        def run(stream: int) -> Future[Samples]:
            place = np.array([begin + stream * STREAM_STRIDE])
            one, own, state = codes[stream][None], active[stream][None], _state(codec, states, stream)
            return pool.submit(runner.decode_windows, one, n_layers[None], own, place, context, state)

        heard = [traits.stateful or bool(own.any()) for own in active]
        return window[1], [run(stream) if heard[stream] else None for stream in range(len(codes))]

    number = 0 if traits.stateful else first_wanted // size * size
    starts = itertools.count(number)
    parted = windows(blocks, size, first, _is_lost) if traits.stateful else windows(blocks, size, first)
    grouped = itertools.islice(parted, number // size - first // size, None)
    with _pool(n_threads) as pool:
        for members, jobs in _ahead(start, grouped, _n_ahead(traits, n_threads)):
            n_samples = sum(block.codes.shape[2] for block in members) * traits.hop_length
            none = np.zeros((traits.channels_per_stream, n_samples), np.float32)
            streams = np.stack([none if job is None else job.result()[0] for job in jobs])
            ends = np.cumsum([block.codes.shape[2] * traits.hop_length for block in members])[:-1]
            for block, samples in zip(members, np.split(streams, ends, 2), strict=True):
                if number >= first_wanted:
                    yield block, samples
                number += 1


def _n_ahead(traits: Traits, n_threads: int) -> int:
    return 0 if traits.stateful else n_threads


def _state(codec: Codec, states: dict[int, Any], stream: int) -> Any:
    """Return the state of a stream, or None for families without any."""
    if not codec.traits.stateful:
        return None
    if stream not in states:
        states[stream] = codec.model.start()
    return states[stream]


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


Number = TypeVar("Number", bound=np.generic)


def _in_context(
    parts: tuple[npt.NDArray[Number], npt.NDArray[Number], npt.NDArray[Number]],
    context: Context,
    unit: int,
    multiple: int,
    edges: str,
) -> tuple[npt.NDArray[Number], Context]:
    """Return a window with its context along the last axis, and how many frames of that there are on each side.

    Args:
        parts: What lies before, in and after the window, as much of it as there is.
        context: Frames that the model depends on.
        unit: Items of a frame.
        multiple: Frames that the window has a multiple of.
        edges: What stands where the file ends, `Traits.edges`.
    """
    before, members, after = parts
    n_frames = -(-members.shape[-1] // (unit * multiple)) * multiple
    kept = max(context[0], context[1] + multiple)  # a short last window is filled up from before it
    before, after = before[..., -kept * unit :], after[..., : context[1] * unit]
    if edges == "symmetric":
        wanted = (context[0] * unit, n_frames * unit - members.shape[-1] + context[1] * unit - after.shape[-1])
        padding = (max(0, wanted[0] - before.shape[-1]), wanted[1])
        whole = np.concatenate([before, members, after], -1)
        padded = np.pad(whole, [(0, 0)] * (whole.ndim - 1) + [padding], mode="symmetric")
        return padded[..., max(0, before.shape[-1] - wanted[0]) :], context
    before = before[..., max(0, before.shape[-1] - context[0] * unit) :]
    whole = np.concatenate([before, members, after], -1)
    left = before.shape[-1] // unit
    return whole, (left, -(-whole.shape[-1] // (unit * multiple)) * multiple - left - n_frames)


def _samples_in_context(window: Window[LevelledBlock], traits: Traits) -> tuple[Samples, Context]:
    """Return a window's samples with their context, [streams, channels_per_stream, n], and the context's frames."""

    def joined(blocks: list[LevelledBlock] | None) -> Samples:
        pieces = [block.samples[..., : block.n_samples] for block in blocks or []]
        return np.concatenate([window[1][0].samples[..., :0], *pieces], -1)

    before, members, after = map(joined, window)
    context = traits.encoder_context or (0, 0)
    return _in_context((before, members, after), context, traits.hop_length, traits.frame_multiple, traits.edges)


def _frames_in_context(
    window: Window[CodedBlock], traits: Traits
) -> tuple[Codes, npt.NDArray[np.int64], npt.NDArray[np.bool_], Context]:
    """Return a window's codes [streams, layers, frames], layers [frames], active frames [streams, frames], with context, and that."""
    n_streams, n_stored, _ = window[1][0].codes.shape

    def joined(blocks: list[CodedBlock] | None) -> npt.NDArray[np.int64]:
        """Return codes, layers and active frames in rows of one array, so that one call mirrors them all."""
        rows = [np.zeros((n_streams * n_stored + 1 + n_streams, 0), np.int64)]
        for block in blocks or []:
            n_frames = block.codes.shape[2]
            active = np.array([_is_active(block, stream) and block.n_layers > 0 for stream in range(n_streams)])
            side = np.concatenate([[block.n_layers], active])[:, None].repeat(n_frames, 1)
            rows.append(np.concatenate([block.codes.reshape(-1, n_frames), side]))
        return np.concatenate(rows, 1)

    before, members, after = map(joined, window)
    context = traits.decoder_context or (0, 0)
    rows, context = _in_context((before, members, after), context, 1, 1, traits.edges)
    codes = rows[: -1 - n_streams].reshape(n_streams, -1, rows.shape[1]).astype(np.uint16)
    return codes, rows[-1 - n_streams], rows[-n_streams:].astype(np.bool_), context


def _is_lost(block: CodedBlock) -> bool:
    """Tell whether a block's chunk was lost: it decodes to zeros, and state starts anew behind it."""
    return block.n_layers == 0


def _is_active(block: CodedBlock | LevelledBlock, stream: int) -> bool:
    """Tell whether a stream has codes in a block: always, where there are no levels."""
    return not block.levels.size or int(block.levels[1, stream]) != SILENT


def _cut_codes(
    members: list[LevelledBlock], codes: list[Codes | None], n_layers: int, traits: Traits
) -> Iterator[CodedBlock]:
    """Cut a window's codes into its blocks, zeros where a stream is silent."""
    start, unit = 0, traits.hop_length * traits.frame_multiple
    for block in members:
        n_frames = -(-block.n_samples // unit) * traits.frame_multiple
        cut = np.zeros((len(codes), n_layers, n_frames), np.uint16)
        for stream, found in enumerate(codes):
            if found is not None and _is_active(block, stream):
                cut[stream] = found[:, start : start + n_frames]
        start += n_frames
        yield CodedBlock(codes=cut, n_layers=n_layers, levels=block.levels, angles=block.angles)
