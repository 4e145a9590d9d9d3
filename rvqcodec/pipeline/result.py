"""Results of coding: length, bitrates and size of a file, the same for all verbs; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.signal import Signal
from rvqcodec.times import kbps


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was done: seconds of audio, samples per channel and bytes written, and the bitrates in kbps (of the .rvq file).

    n_clipped: Decoded samples that were past full scale.
    """

    duration_s: float
    n_samples: int
    sample_rate: int
    channels: int
    n_layers: int
    n_bytes: int
    nominal_kbps: float
    actual_kbps: float
    n_clipped: int = 0


def coded_result(signal: Signal, n_samples: int, n_bytes: int) -> Result:
    """Return the result of an .rvq file.

    Args:
        signal: What it codes.
        n_samples: Source samples per channel.
        n_bytes: Its size.
    """
    duration_s = n_samples / signal.sample_rate
    return Result(
        duration_s=duration_s,
        n_samples=n_samples,
        sample_rate=signal.sample_rate,
        channels=signal.channels,
        n_layers=signal.n_layers,
        n_bytes=n_bytes,
        nominal_kbps=signal.nominal_bitrate / 1000,
        actual_kbps=kbps(n_bytes, duration_s),
    )


def read_result(reader: RvqReader, tail: Tail | None) -> Result:
    """Return the result of an .rvq file whose end was read; of a pipe that had none, lengths are 0."""
    n_samples, n_bytes = (tail.end.n_samples, reader.size(tail)) if tail is not None else (0, 0)
    return coded_result(reader.header.signal, n_samples, n_bytes)


def written_result(writer: RvqWriter) -> Result:
    """Return the result of an .rvq file that was written whole."""
    return coded_result(writer.header.signal, writer.tally.n_samples, writer.n_bytes)
