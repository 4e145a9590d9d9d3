"""Window segmentation: groups blocks into windows on the absolute grid and attaches the context that the model depends on.

Window w holds blocks `window_blocks` w to `window_blocks` (w + 1) - 1; the last window has as many as remain. At the ends of a file the
context is what the family defines: none where its network pads by itself, or the symmetric extension, in which sample N + i is sample
N - 1 - i (and likewise for codes). Zero padding instead would fade the first and last 10 ms or change the first codes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rvqcodec.codec.levelling import LevelledBlock, Samples, neighbours
from rvqcodec.codec.runner import Context
from rvqcodec.encoded import SILENT, CodedBlock, Codes
from rvqcodec.models.family import Traits

Block = TypeVar("Block", CodedBlock, LevelledBlock)
Number = TypeVar("Number", bound=np.generic)
Window = tuple[list[Block] | None, list[Block], list[Block] | None]
"""The blocks of the previous window, of this one and of the next."""


def windows(
    blocks: Iterable[Block], size: int, first: int = 0, kind: Callable[[Block], bool] = lambda block: False
) -> Iterator[Window[Block]]:
    """Yield the blocks of each window with those of the previous and of the next window.

    Args:
        blocks: Consecutive blocks.
        size: Blocks per window.
        first: Index of the first block on the grid.
        kind: Blocks for which it differs never share a window.
    """
    numbered = itertools.groupby(enumerate(blocks, first), lambda item: (item[0] // size, kind(item[1])))
    return neighbours([block for _, block in group] for _, group in numbered)


def samples_in_context(window: Window[LevelledBlock], traits: Traits) -> tuple[Samples, Context]:
    """Return a window's samples with context, float32 [streams, channels_per_stream, n], and the frames of context."""

    def joined(blocks: list[LevelledBlock] | None) -> Samples:
        pieces = [block.samples[..., : block.n_samples] for block in blocks or []]
        return np.concatenate([window[1][0].samples[..., :0], *pieces], -1)

    before, members, after = map(joined, window)
    context = traits.encoder_context or (0, 0)
    return in_context((before, members, after), context, traits.hop_length, traits.frame_multiple, traits.edges)


def frames_in_context(
    window: Window[CodedBlock], traits: Traits
) -> tuple[Codes, npt.NDArray[np.int64], npt.NDArray[np.bool_], Context]:
    """Return a window's frames with context.

    Returns:
        Codes, uint16 [streams, layers, frames]; layers to decode, [frames]; active frames, [streams, frames]; the frames of context.
    """
    n_streams, n_stored, _ = window[1][0].codes.shape

    def joined(blocks: list[CodedBlock] | None) -> npt.NDArray[np.int64]:
        """Return codes, layers and active frames as rows of one array, so that one call extends them all."""
        rows = [np.zeros((n_streams * n_stored + 1 + n_streams, 0), np.int64)]
        for block in blocks or []:
            n_frames = block.codes.shape[2]
            active = np.array([is_active(block, stream) and block.n_layers > 0 for stream in range(n_streams)])
            side = np.concatenate([[block.n_layers], active])[:, None].repeat(n_frames, 1)
            rows.append(np.concatenate([block.codes.reshape(-1, n_frames), side]))
        return np.concatenate(rows, 1)

    before, members, after = map(joined, window)
    rows, context = in_context((before, members, after), traits.decoder_context or (0, 0), 1, 1, traits.edges)
    codes = rows[: -1 - n_streams].reshape(n_streams, -1, rows.shape[1]).astype(np.uint16)
    return codes, rows[-1 - n_streams], rows[-n_streams:].astype(np.bool_), context


def in_context(
    parts: tuple[npt.NDArray[Number], npt.NDArray[Number], npt.NDArray[Number]],
    context: Context,
    unit: int,
    multiple: int,
    edges: str,
) -> tuple[npt.NDArray[Number], Context]:
    """Return a window with its context along the last axis, and how many frames of context it has on each side.

    Args:
        parts: The previous window, the window and the next one, [..., items]; empty beyond the ends of the file.
        context: Frames that the model depends on.
        unit: Items per frame.
        multiple: The number of frames in the window is rounded up to a multiple of it.
        edges: Extension beyond the ends of the file, `Traits.edges`.
    """
    before, members, after = parts
    n_frames = -(-members.shape[-1] // (unit * multiple)) * multiple
    kept = max(
        context[0], context[1] + multiple
    )  # the symmetric extension of a short last window reaches back before it
    before, after = before[..., -kept * unit :], after[..., : context[1] * unit]
    if edges == "symmetric":
        missing = n_frames * unit - members.shape[-1] + context[1] * unit - after.shape[-1]
        padding = (max(0, context[0] * unit - before.shape[-1]), missing)
        whole = np.concatenate([before, members, after], -1)
        padded = np.pad(whole, [(0, 0)] * (whole.ndim - 1) + [padding], mode="symmetric")
        return padded[..., max(0, before.shape[-1] - context[0] * unit) :], context
    before = before[..., max(0, before.shape[-1] - context[0] * unit) :]
    whole = np.concatenate([before, members, after], -1)
    left = before.shape[-1] // unit
    return whole, (left, -(-whole.shape[-1] // (unit * multiple)) * multiple - left - n_frames)


def is_lost(block: CodedBlock) -> bool:
    """Return whether a block's chunk was lost: it decodes to zeros, and stateful decoders restart after it."""
    return block.n_layers == 0


def is_active(block: CodedBlock | LevelledBlock, stream: int) -> bool:
    """Return whether a stream has codes in a block; without levels it always has."""
    return not block.levels.size or int(block.levels[1, stream]) != SILENT
