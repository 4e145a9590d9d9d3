"""Audio containers for output: their sample formats and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rvqcodec.errors import OutputError
from rvqcodec.formats.audio.pcm import SampleFormat

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_PCM_SUBTYPES = {
    SampleFormat.U8: "PCM_S8",
    SampleFormat.S16: "PCM_16",
    SampleFormat.S24: "PCM_24",
    SampleFormat.S32: "PCM_32",
    SampleFormat.F32: "FLOAT",
    SampleFormat.F64: "DOUBLE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of audio file.

    Attributes:
        name: For messages.
        library_format: Name in libsndfile, or "" for WAV, which has its own writer.
        lossy_subtype: Name in libsndfile of its only, lossy, encoding, or "".
        widest: The widest sample format, which replaces wider ones.
        holds_rate: Returns whether a sample rate in Hz is supported.
        max_channels: Limit on channels.
        max_bytes: Limit on bytes of samples, or None.
        can_be_empty: Whether readers accept a file without samples.
    """

    name: str
    library_format: str = ""
    lossy_subtype: str = ""
    widest: SampleFormat = SampleFormat.F64
    holds_rate: Callable[[int], bool] = lambda rate: True
    max_channels: int = 8
    max_bytes: int | None = None
    can_be_empty: bool = True

    def nearest(self, requested: SampleFormat) -> SampleFormat:
        """Return the supported sample format closest to the requested one; UNKNOWN for lossy encoding."""
        if self.lossy_subtype:
            return SampleFormat.UNKNOWN
        return min(requested, self.widest) if requested else SampleFormat.S16

    def subtype(self, written: SampleFormat) -> str:
        """Return the name in libsndfile of a sample format returned by `nearest`."""
        if self.library_format == "W64" and written is SampleFormat.U8:
            return "PCM_U8"
        return self.lossy_subtype or _PCM_SUBTYPES[written]

    def check(self, sample_rate: int, channels: int, n_bytes: int) -> None:
        """Check that the container can hold audio of these properties.

        Raises:
            OutputError: The sample rate, the channels or the size are outside its limits.
        """
        if not self.holds_rate(sample_rate):
            raise OutputError(f"{self.name} cannot hold a sample rate of {sample_rate} Hz", "--rate chooses another")
        if not 1 <= channels <= self.max_channels:
            raise OutputError(f"{self.name} cannot hold {channels} channels", "write .wav or .flac")
        self.check_size(n_bytes)

    def check_size(self, n_bytes: int) -> None:
        """Check the number of bytes of samples.

        Raises:
            OutputError: It exceeds the limit.
        """
        if self.max_bytes is not None and n_bytes > self.max_bytes:
            raise OutputError(f"{self.name} cannot hold more than 4 GiB", "write .wav, .w64, .caf or .flac")


def _flac_holds(rate: int) -> bool:
    # libFLAC writes other rates up to 1 MHz, but not as the streamable subset that its own reader requires.
    return rate <= 65535 or (rate <= 655350 and rate % 10 == 0)


# libsndfile 1.2.2 crashes when Vorbis is opened at a rate past 200 kHz, so limits are checked first.
_VORBIS = Container(
    name="Ogg Vorbis", library_format="OGG", lossy_subtype="VORBIS", holds_rate=lambda rate: rate <= 200000
)
_AIFF = Container(name="AIFF", library_format="AIFF", max_bytes=(1 << 32) - (1 << 20))

CONTAINERS = {
    ".wav": Container(name="WAV"),
    ".wave": Container(name="WAV"),
    ".rf64": Container(name="RF64"),
    ".w64": Container(name="W64", library_format="W64"),
    ".flac": Container(
        name="FLAC", library_format="FLAC", widest=SampleFormat.S24, holds_rate=_flac_holds, can_be_empty=False
    ),
    ".ogg": _VORBIS,
    ".oga": _VORBIS,
    ".opus": Container(
        name="Opus",
        library_format="OGG",
        lossy_subtype="OPUS",
        holds_rate=_OPUS_RATES.__contains__,
        can_be_empty=False,
    ),
    ".mp3": Container(
        name="MP3",
        library_format="MP3",
        lossy_subtype="MPEG_LAYER_III",
        holds_rate=_MP3_RATES.__contains__,
        max_channels=2,
        can_be_empty=False,
    ),
    ".aiff": _AIFF,
    ".aif": _AIFF,
    ".caf": Container(name="CAF", library_format="CAF"),
}


def container_of(suffix: str) -> Container:
    """Return the container of a file name extension, dot included.

    Raises:
        OutputError: The extension is unknown.
    """
    container = CONTAINERS.get(suffix.lower())
    if container is None:
        problem = f"{suffix} is not an audio file extension" if suffix else "the output's name has no extension"
        raise OutputError(problem, "use one of " + " ".join(CONTAINERS))
    return container
