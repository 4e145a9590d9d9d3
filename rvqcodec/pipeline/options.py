"""Options of encoding and decoding, validated on construction; no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rvqcodec.errors import ArgumentError
from rvqcodec.formats.audio.pcm import MIN_SAMPLE_RATE, SampleFormat
from rvqcodec.formats.entropy.layers import ENTROPIES
from rvqcodec.signal import MAX_SAMPLE_RATE

DEFAULT_CHUNK_S = 10
EFFORTS = {"fast": 1, "default": 4, "best": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How to encode.

    n_layers: Layers to code; the model's default when absent.
    bitrate_kbps: Nominal bitrate of all channels together, to the nearest whole layer, instead of `n_layers`.
    effort: "fast", "default" or "best": a beam width of 1, 4 or 16 in the quantizer's search.
    entropy: "raw", "static", "counts" or "network"; "auto" takes the smallest for each layer of a chunk.
    chunk_s: Seconds of a chunk; doesn't affect the codes.
    n_threads: Windows coded in parallel; doesn't affect the codes. 0: one per core.
    tags: Whether title, artist and the like are carried over.
    """

    n_layers: int | None = None
    bitrate_kbps: float | None = None
    effort: str = "default"
    entropy: str = "auto"
    chunk_s: int = DEFAULT_CHUNK_S
    n_threads: int = 0
    tags: bool = True

    def __post_init__(self) -> None:
        if self.n_layers is not None and self.bitrate_kbps is not None:
            raise ArgumentError(
                "are mutually exclusive", {"n_layers": self.n_layers, "bitrate_kbps": self.bitrate_kbps}
            )
        if self.bitrate_kbps is not None and not 0 < self.bitrate_kbps < float("inf"):
            raise ArgumentError("expected a bitrate above 0 kbps", {"bitrate_kbps": self.bitrate_kbps})
        check_choice("effort", self.effort, EFFORTS)
        check_choice("entropy", self.entropy, ENTROPIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How to decode.

    start, end, duration: Part of the audio: seconds, or text as in `times`. `end` and `duration` are mutually exclusive.
    sample_rate: Of the output in Hz; 0 takes the source's.
    sample_format: Of the output; None takes the source's, 16 bit where it had less or was lossy.
    n_threads: Windows coded in parallel. 0: one per core.
    tags: Whether title, artist and the like are carried over.
    """

    start: float | str = 0
    end: float | str | None = None
    duration: float | str | None = None
    sample_rate: int = 0
    sample_format: SampleFormat | None = None
    n_threads: int = 0
    tags: bool = True

    def __post_init__(self) -> None:
        if self.end is not None and self.duration is not None:
            raise ArgumentError("are mutually exclusive", {"end": self.end, "duration": self.duration})
        if self.sample_rate and not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            problem = f"expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
            raise ArgumentError(problem, {"sample_rate": self.sample_rate})


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the names to choose from.

    Raises:
        ArgumentError: It isn't.
    """
    names = list(choices)
    if value not in names:
        raise ArgumentError(f"expected one of {', '.join(names)}", {name: value})
