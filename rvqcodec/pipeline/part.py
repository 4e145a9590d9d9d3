"""The part of a file that is decoded: in source samples, in blocks with the resampler's preroll, and in output samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rvqcodec.codec.levelling import Samples
from rvqcodec.errors import ArgumentError
from rvqcodec.formats.audio.resample import PREROLL_S
from rvqcodec.formats.rvq.stream import Tail
from rvqcodec.pipeline.options import DecodeOptions
from rvqcodec.signal import Signal
from rvqcodec.times import format_time, parse_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which part of a file is decoded.

    rate: Of the output, Hz.
    start, end: First source sample, and the one after the last; None where only the file's end tells it.
    first_fed, stop: First block that the decoder gets, and the one after the last.
    """

    signal: Signal
    rate: int
    start: int
    end: int | None
    first_fed: int
    stop: int | None

    @property
    def n_skipped(self) -> int:
        """Output samples before the part in what the decoder gives."""
        signal = self.signal
        return signal.scaled(self.start, self.rate) - signal.scaled(signal.block_start(self.first_fed), self.rate)

    def n_samples(self, tail: Tail | None) -> int | None:
        """Return the output samples of the part, or None where nobody knows yet."""
        ends = [end for end in (self.end, tail.end.n_samples if tail else None) if end is not None]
        if not ends:
            return None
        return max(0, self.signal.scaled(min(ends), self.rate) - self.signal.scaled(self.start, self.rate))

    def refuse_late_start(self, tail: Tail) -> None:
        """Refuse a part that starts after the file's end.

        Raises:
            ValueError: It does.
        """
        n_samples, rate = tail.end.n_samples, self.signal.sample_rate
        if self.start > n_samples:
            raise ValueError(f"the part to decode starts after the end at {format_time(n_samples / rate)}")


def part_of(options: DecodeOptions, signal: Signal, tail: Tail | None) -> Part:
    """Return the part that was asked for.

    Args:
        options: Where it starts and ends, and its rate.
        signal: What the file codes.
        tail: What stands at the file's end, or None where it isn't known yet.

    Raises:
        ValueError: A time is none, or the part starts after the end.
    """
    start = parse_time(options.start, signal.sample_rate)
    end = None if options.end is None else parse_time(options.end, signal.sample_rate)
    if options.duration is not None:
        end = start + parse_time(options.duration, signal.sample_rate)
    if end is not None and end < start:
        raise ArgumentError("the part to decode ends before it starts", {"end": options.end})
    if tail is not None:
        end = tail.end.n_samples if end is None else min(end, tail.end.n_samples)
    preroll = int(-(-PREROLL_S // signal.block_s))
    part = Part(
        signal=signal,
        rate=options.sample_rate or signal.sample_rate,
        start=start,
        end=end,
        first_fed=max(0, signal.blocks_until(start + 1) - 1 - preroll),
        stop=None if end is None else signal.blocks_until(end) + preroll,
    )
    if tail is not None:
        part.refuse_late_start(tail)
    return part


def cut(pieces: Iterable[Samples], n_skipped: int, expected: Callable[[], int | None]) -> Iterator[Samples]:
    """Drop the first samples and all past the expected ones.

    Args:
        pieces: Samples [n, channels].
        n_skipped: Samples to drop at the start.
        expected: Tells how many are kept, or None where that isn't known yet: a pipe tells it with its last piece.
    """
    n_done = 0
    for whole in pieces:
        piece = whole[n_skipped:]
        n_skipped -= len(whole) - len(piece)
        limit = expected()
        piece = piece if limit is None else piece[: limit - n_done]
        n_done += len(piece)
        if len(piece):
            yield piece
        if n_done == limit:
            return
