"""The straight line from audio to an .rvq file and back, in constant memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rvqcodec.codec.levelling import Samples, level_blocks, neighbours, restore_block
from rvqcodec.encoded import CodedBlock
from rvqcodec.formats.audio.reader import MIN_SAMPLE_RATE, AudioReader, SampleFormat, open_reader
from rvqcodec.formats.audio.resample import PREROLL_S, reblock, resample
from rvqcodec.formats.audio.tags import write_tags
from rvqcodec.formats.audio.writer import AudioWriter
from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.files import check_output
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.pipeline.opening import Place, open_audio_output, open_output, open_rvq
from rvqcodec.pipeline.stored import DEFAULT_CHUNK_S, batched, check_entropy, chunk_header
from rvqcodec.pipeline.tables import tables_for, tables_to_write
from rvqcodec.signal import MAX_SAMPLE_RATE
from rvqcodec.times import format_time, parse_time
from rvqcodec.version import __version__
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_fingerprint, find_model

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec
    from rvqcodec.models.family import Traits

EFFORTS = {"fast": 1, "default": 4, "best": 16}
Progress = Callable[[float], None]
Seal = Callable[[Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeOptions:
    """How to encode.

    n_layers: Layers to code; the model's default when absent.
    bitrate_kbps: Nominal bitrate of all channels together: the nearest that layers reach, instead of `n_layers`.
    effort: "fast", "default" or "best": a beam width of 1, 4 or 16 in the quantizer's search.
    entropy: "raw", "static", "counts" or "network"; "auto" takes the smallest for each layer of a chunk.
    chunk_s: Seconds of a chunk; changes no code.
    n_threads: Windows that are worked on side by side; changes no code. 0 takes the machine's cores.
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
        if self.bitrate_kbps is not None and not 0 < self.bitrate_kbps < float("inf"):
            raise ValueError(f"{self.bitrate_kbps:g} is not a bitrate in kbps")
        if self.effort not in EFFORTS:
            raise ValueError(f"effort {self.effort!r} is none of {', '.join(EFFORTS)}")
        check_entropy(self.entropy)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How to decode.

    start, end, duration: Part of the audio: seconds, or text as in `times`. `end` and `duration` exclude each other.
    sample_rate: Of the output in Hz; 0 takes the source's.
    sample_format: Of the output; None takes the source's, 16 bit where it had less or was lossy.
    n_threads: Windows that are worked on side by side. 0 takes the machine's cores.
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
        if self.sample_rate and not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise ValueError(
                f"a sample rate of {self.sample_rate} Hz: {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} are possible"
            )


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


def load_codec(name: str = DEFAULT_MODEL, device: str = "auto") -> Codec:
    """Return a model that is ready to run.

    Args:
        name: A model's name (`rvq models list`) or the path of a weights file.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ModelError: The model is unknown or damaged.
        DeviceError: The device isn't there.
    """
    return _load(find_model(name), device)


def load_for(header: Header, device: str = "auto") -> Codec:
    """Return the model that a file names, ready to run.

    Raises:
        ModelError: It isn't at hand.
        DeviceError: The device isn't there.
    """
    return _load(find_fingerprint(header.signal.fingerprint, header.signal.model), device)


def _load(model: ModelFile, device: str) -> Codec:
    from rvqcodec.codec.codec import Codec  # here, since these import torch
    from rvqcodec.weights.load import load_model

    return Codec(load_model(model, device), model.name)


def encode_file(
    source: Place,
    target: Place,
    codec: Codec | None = None,
    options: EncodeOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Encode audio to an .rvq file.

    Args:
        source: A file, or a stream such as standard input.
        target: A file, written whole or not at all, or a stream.
        codec: The model; the default one when absent.
        options: How.
        overwrite: Whether an existing target is replaced.
        progress: Called now and then with the seconds of audio done.

    Raises:
        AudioError: The source can't be read.
        OutputError: The target exists or can't be written.
        ValueError: An option is out of range.
    """
    with ExitStack() as stack:
        file = open_output(stack, source, target, overwrite)
        reader = stack.enter_context(open_reader(Path(source) if isinstance(source, str) else source))
        codec = codec or load_codec()
        return _encode(reader, file, codec, options or EncodeOptions(), progress or _silent)


def _encode(audio: AudioReader, file: BinaryIO, codec: Codec, options: EncodeOptions, progress: Progress) -> Result:
    tables = tables_to_write(codec.fingerprint, options.entropy)
    header = header_for(audio, codec.name, codec.fingerprint, codec.traits, options, tables)
    traits, signal, n_layers = codec.traits, header.signal, header.signal.n_layers
    writer = RvqWriter(file, header)
    counter = _Counter()
    at_model_rate = resample(counter.count(audio.blocks()), audio.sample_rate, traits.sample_rate, audio.channels)
    levelled = level_blocks(reblock(at_model_rate, traits.block_size), traits, signal.rotated)
    coded = codec.encode_blocks(levelled, n_layers, EFFORTS[options.effort], options.n_threads or default_threads())
    for number, (_, chunk, after) in enumerate(neighbours(batched(coded, header.chunk_blocks))):
        end = counter.n_samples if after is None else header.chunk_start(number + 1)
        writer.write_blocks(chunk, end - header.chunk_start(number), tables, options.entropy)
        progress(end / audio.sample_rate)
    n_bytes, digest = audio.provenance()
    source = Source(n_bytes=n_bytes, digest=digest, effort=EFFORTS[options.effort], encoder=f"rvqcodec {__version__}")
    writer.finish(audio.tags() if options.tags else {}, source)
    return _result(header, counter.n_samples, writer.n_bytes)


def header_for(
    audio: AudioReader,
    model: str,
    fingerprint: str,
    traits: Traits,
    options: EncodeOptions,
    tables: Tables,
) -> Header:
    """Return the header that the encoded audio has; no torch.

    Raises:
        ValueError: An option is out of range.
    """
    n_layers = traits.default_layers if options.n_layers is None else options.n_layers
    if options.bitrate_kbps is not None:
        n_layers = traits.layers_for_bitrate(options.bitrate_kbps, audio.channels)
    signal = traits.signal(model, fingerprint, audio.sample_rate, audio.channels, n_layers, int(audio.sample_format))
    return chunk_header(signal, options.chunk_s, tables)


def decode_file(
    source: Place,
    target: Place,
    codec: Codec | None = None,
    options: DecodeOptions | None = None,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
    seal: Seal | None = None,
) -> Result:
    """Decode an .rvq file to audio; the target's suffix chooses the container.

    Args:
        source: A file, or a stream such as standard input, which may still grow.
        target: A file, written whole or not at all, or a stream, which gets WAV.
        codec: The model; the one that the file names when absent.
        options: How, and which part.
        device: Where the model runs when it is loaded here.
        overwrite: Whether an existing target is replaced.
        progress: Called now and then with the seconds of audio done.
        seal: Called with the path of the finished file before it gets its name.

    Raises:
        FormatError: The source is damaged or truncated.
        ModelError: The model or the entropy tables that the file names aren't at hand.
        OutputError: The target exists or can't be written.
        ValueError: An option is out of range.
    """
    options = options or DecodeOptions()
    with ExitStack() as stack:
        file = open_rvq(stack, source)
        if isinstance(target, (str, Path)):
            check_output(Path(source) if isinstance(source, (str, Path)) else None, Path(target), overwrite=overwrite)
        reader = RvqReader(file)
        codec = codec or load_for(reader.header, device)
        codec.check(reader.header.signal)
        return _decode(reader, target, codec, options, overwrite, progress or _silent, seal)


def _decode(
    reader: RvqReader,
    target: Place,
    codec: Codec,
    options: DecodeOptions,
    overwrite: bool,
    progress: Progress,
    seal: Seal | None,
) -> Result:
    signal, traits = reader.header.signal, codec.traits
    rate = options.sample_rate or signal.sample_rate
    tail = reader.read_tail() if reader.file.seekable() else None
    start, end = _span(options, signal.sample_rate, tail)
    preroll = -(-PREROLL_S // signal.block_s)
    first_fed = max(0, signal.blocks_until(start + 1) - 1 - int(preroll))
    stop = None if end is None else signal.blocks_until(end) + int(preroll)
    first, coded = _coded_blocks(reader, tail, first_fed, stop, traits)
    decoded = codec.decode_blocks(coded, options.n_threads or default_threads(), first, first_fed)
    restored = (restore_block(streams, block, traits, signal.channels) for block, streams in decoded)
    resampled = resample(restored, traits.sample_rate, rate, signal.channels)

    def n_wanted() -> int | None:
        known = tail or reader.tail
        ends = [stop for stop in (end, known.end.n_samples if known else None) if stop is not None]
        return max(0, signal.scaled(min(ends), rate) - signal.scaled(start, rate)) if ends else None

    n_skipped = signal.scaled(start, rate) - signal.scaled(signal.block_start(first_fed), rate)
    wanted = _cut(resampled, n_skipped, n_wanted)
    with open_audio_output(
        target,
        signal,
        sample_rate=rate,
        sample_format=options.sample_format,
        start=start,
        n_samples=n_wanted() if tail else None,
        tags=tail.tags if tail and options.tags else {},
        overwrite=overwrite,
    ) as (writer, path):
        n_samples = _write_all(writer, wanted, rate, progress)
        found = tail or reader.tail
        if found is not None:
            _refuse_late_start(start, found.end.n_samples, signal.sample_rate)
        if options.tags and path is not None and found is not None:
            write_tags(path, found.tags)
        if seal is not None and path is not None:
            seal(path)
    n_source, size = (found.end.n_samples, reader.size(found)) if found else (0, 0)
    return _result(reader.header, n_source, size, n_samples, rate, writer.n_clipped)


def _coded_blocks(
    reader: RvqReader, tail: Tail | None, first_fed: int, stop: int | None, traits: Traits
) -> tuple[int, Iterator[CodedBlock]]:
    """Return the number of the first block that is read, and the blocks that it takes to decode `first_fed` to `stop` - 1.

    A file that can seek is read from the chunk that holds the first of them, a pipe from its start.
    """
    header, tables = reader.header, tables_for(reader.header)
    first_read, last = traits.needed_blocks(first_fed, first_fed + 1 if stop is None else stop)
    if tail is None or (first_read == 0 and last >= header.signal.blocks_until(tail.end.n_samples)):
        reader.rewind()
        return 0, reader.blocks(tables)
    chunk = first_read // header.chunk_blocks
    first = chunk * header.chunk_blocks
    chunks = reader.seek_chunks(tail, chunk, tables)
    blocks = itertools.chain.from_iterable(reader.decoded_blocks(found, tables) for found in chunks)
    return first, itertools.islice(blocks, last - first)


def _span(options: DecodeOptions, sample_rate: int, tail: Tail | None) -> tuple[int, int | None]:
    """Return the first source sample wanted and the one after the last; None is the end that only the file's end tells."""
    if options.end is not None and options.duration is not None:
        raise ValueError("--end and --duration exclude each other")
    start = parse_time(options.start, sample_rate)
    end = None if options.end is None else parse_time(options.end, sample_rate)
    if options.duration is not None:
        end = start + parse_time(options.duration, sample_rate)
    if end is not None and end < start:
        raise ValueError("the part to decode ends before it starts")
    if tail is None:
        return start, end
    n_samples = tail.end.n_samples
    _refuse_late_start(start, n_samples, sample_rate)
    return start, n_samples if end is None else min(end, n_samples)


def _refuse_late_start(start: int, n_samples: int, sample_rate: int) -> None:
    if start > n_samples:
        raise ValueError(f"the part to decode starts after the end at {format_time(n_samples / sample_rate)}")


def _cut(pieces: Iterable[Samples], n_skipped: int, n_wanted: Callable[[], int | None]) -> Iterator[Samples]:
    """Drop the first samples and all past the wanted ones, whose number a pipe tells only with its last piece."""
    n_done = 0
    for whole in pieces:
        piece = whole[n_skipped:]
        n_skipped -= len(whole) - len(piece)
        limit = n_wanted()
        piece = piece if limit is None else piece[: limit - n_done]
        n_done += len(piece)
        if len(piece):
            yield piece
        if n_done == limit:
            return


def _write_all(writer: AudioWriter, pieces: Iterable[Samples], rate: int, progress: Progress) -> int:
    n_samples = 0
    for piece in pieces:
        writer.write(piece)
        n_samples += len(piece)
        progress(n_samples / rate)
    writer.close()
    return n_samples


def default_threads() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Counter:
    """Counts the samples of blocks that pass by."""

    def __init__(self) -> None:
        self.n_samples = 0

    def count(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        for block in blocks:
            self.n_samples += len(block)
            yield block


def _silent(_: float) -> None:
    """Report no progress."""


def _result(
    header: Header, n_source: int, n_bytes: int, n_samples: int | None = None, rate: int = 0, n_clipped: int = 0
) -> Result:
    signal = header.signal
    source_s = n_source / signal.sample_rate
    written = n_source if n_samples is None else n_samples
    return Result(
        duration_s=written / (rate or signal.sample_rate),
        n_samples=written,
        sample_rate=rate or signal.sample_rate,
        channels=signal.channels,
        n_layers=signal.n_layers,
        n_bytes=n_bytes,
        nominal_kbps=signal.nominal_bitrate / 1000,
        actual_kbps=8 * n_bytes / source_s / 1000 if source_s else 0.0,
        n_clipped=n_clipped,
    )
