"""The straight line from audio to an .rvq file and back, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from rvqcodec.codec.levelling import Samples, level_blocks, neighbours, restore_block
from rvqcodec.encoded import CodedBlock
from rvqcodec.formats.audio.pcm import SampleFormat
from rvqcodec.formats.audio.reader import AudioReader, open_reader
from rvqcodec.formats.audio.resample import reblock, resample
from rvqcodec.formats.audio.tags import write_tags
from rvqcodec.formats.audio.writer import AudioWriter, open_writer
from rvqcodec.formats.entropy.layers import Tables
from rvqcodec.formats.files import Output
from rvqcodec.formats.rvq.header import Header
from rvqcodec.formats.rvq.stream import RvqReader, Tail
from rvqcodec.formats.rvq.tail import Source
from rvqcodec.formats.rvq.writer import RvqWriter
from rvqcodec.pipeline.opening import Opened, Place, Target, is_new_file, open_rvq, opened_output, output_at
from rvqcodec.pipeline.options import EFFORTS, DecodeOptions, EncodeOptions
from rvqcodec.pipeline.part import Part, cut, part_of
from rvqcodec.pipeline.result import Result, coded_result, read_result
from rvqcodec.pipeline.stored import batched, chunk_header
from rvqcodec.pipeline.tables import tables_for, tables_to_write
from rvqcodec.pipeline.threads import default_threads
from rvqcodec.version import __version__
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_fingerprint, find_model

if TYPE_CHECKING:
    from rvqcodec.codec.codec import Codec
    from rvqcodec.models.family import Traits

Progress = Callable[[float], None]
Seal = Callable[[BinaryIO, Result], None]
"""Looks at an output that is whole, and may add to it, before it gets its name."""
WIDENED = {
    SampleFormat.UNKNOWN: SampleFormat.S16,
    SampleFormat.U8: SampleFormat.S16,
    SampleFormat.F64: SampleFormat.F32,
}


class Model(Protocol):
    """What a file's header says of a model: a codec that is ready to run, or a weights file."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def fingerprint(self) -> str:
        """What its codes mean, as 16 hex digits."""

    @property
    def traits(self) -> Traits:
        """What engine and format have to know of it."""


def load_codec(name: str = DEFAULT_MODEL, device: str = "auto") -> Codec:
    """Return a model that is ready to run.

    Args:
        name: A model's name (`rvq models list`) or the path of a weights file.
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        ModelError: The model is unknown or damaged.
        DeviceError: The device isn't there.
    """
    return load(find_model(name), device)


def load(model: ModelFile, device: str = "auto") -> Codec:
    """Return the model in a weights file, ready to run.

    Raises:
        ModelError: It is damaged.
        DeviceError: The device isn't there.
    """
    from rvqcodec.codec.codec import Codec  # here, since these import torch
    from rvqcodec.weights.load import load_model

    return Codec(load_model(model, device), model.name, model.path)


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
        target: A file, written atomically, or a stream.
        codec: The model; the default one when absent.
        options: How.
        overwrite: Whether an existing target is replaced.
        progress: Called now and then with the seconds of audio done.

    Raises:
        AudioError: The source can't be read.
        OutputError: The target exists or can't be written.
        ValueError: An option is out of range.
    """
    output = output_at(target, source, overwrite=overwrite)
    with open_reader(Path(source) if isinstance(source, str) else source) as audio:
        return encode(audio, output, codec or load_codec(), options or EncodeOptions(), progress or _silent)


def encode(
    audio: AudioReader,
    target: Target,
    codec: Codec,
    options: EncodeOptions,
    progress: Progress,
    seal: Seal | None = None,
) -> Result:
    """Encode audio that is open already; `seal` sees the finished file before it gets its name."""
    with opened_output(target) as file:
        result = _encode(audio, file, codec, options, progress)
        if seal is not None and is_new_file(target):
            file.flush()
            seal(file, result)
        return result


def _encode(audio: AudioReader, file: BinaryIO, codec: Codec, options: EncodeOptions, progress: Progress) -> Result:
    tables = tables_to_write(codec.fingerprint, options.entropy, codec.path)
    header = header_for(audio, codec, options, tables)
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
    beam_width, encoder = EFFORTS[options.effort], f"rvqcodec {__version__}"
    source = Source(n_bytes=n_bytes, digest=digest, beam_width=beam_width, encoder=encoder)
    writer.finish(audio.tags() if options.tags else {}, source)
    return coded_result(signal, counter.n_samples, writer.n_bytes)


def header_for(audio: AudioReader, model: Model, options: EncodeOptions, tables: Tables) -> Header:
    """Return the header that the encoded audio has; no torch.

    Raises:
        ArgumentError: An option is out of range.
    """
    n_layers = model.traits.default_layers if options.n_layers is None else options.n_layers
    if options.bitrate_kbps is not None:
        n_layers = model.traits.layers_for_bitrate(options.bitrate_kbps, audio.channels)
    signal = model.traits.signal(
        model.name, model.fingerprint, audio.sample_rate, audio.channels, n_layers, int(audio.sample_format)
    )
    return chunk_header(signal, options.chunk_s, tables)


def check_options(model: Model, options: EncodeOptions) -> None:
    """Refuse what a model can't do with any audio, while its weights and torch aren't loaded.

    Raises:
        ArgumentError: The layers or the length of a chunk are out of range.
    """
    traits = model.traits
    n_layers = traits.default_layers if options.n_layers is None else options.n_layers
    chunk_header(traits.signal(model.name, "", traits.sample_rate, 1, n_layers), options.chunk_s, Tables())


def decode_file(
    source: Place,
    target: Place,
    codec: Codec | None = None,
    options: DecodeOptions | None = None,
    *,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Decode an .rvq file to audio; the target's suffix chooses the container.

    Args:
        source: A file, or a stream such as standard input, which may still grow.
        target: A file, written atomically, or a stream, which gets WAV.
        codec: The model; the one that the file names when absent.
        options: How, and which part.
        device: Where the model runs when it is loaded here.
        overwrite: Whether an existing target is replaced.
        progress: Called now and then with the seconds of audio done.

    Raises:
        FormatError: The source is damaged or truncated.
        ModelError: The model or the entropy tables that the file names aren't at hand.
        OutputError: The target exists or can't be written.
        ValueError: An option is out of range.
    """
    output = output_at(target, source, overwrite=overwrite)
    with open_rvq(source) as opened:
        codec = codec or load(model_of(opened.header), device)
        return decode(opened, output, codec, options or DecodeOptions(), progress or _silent)


def model_of(header: Header) -> ModelFile:
    """Return the model that a file names.

    Raises:
        ModelError: It isn't at hand.
    """
    return find_fingerprint(header.signal.fingerprint, header.signal.model)


def decode(
    opened: Opened,
    target: Target,
    codec: Codec,
    options: DecodeOptions,
    progress: Progress,
    seal: Seal | None = None,
) -> Result:
    """Decode an .rvq file that is open already; `seal` sees the finished file before it gets its name."""
    reader, signal = opened.reader, opened.header.signal
    codec.check(signal)
    part = part_of(options, signal, opened.tail)
    first, coded = _coded_blocks(opened, part, codec)
    decoded = codec.decode_blocks(coded, options.n_threads or default_threads(), first, part.first_fed)
    restored = (restore_block(streams, block, codec.traits, signal.channels) for block, streams in decoded)
    resampled = resample(restored, codec.traits.sample_rate, part.rate, signal.channels)
    pieces = cut(resampled, part.n_skipped, lambda: part.n_samples(opened.tail or reader.tail))
    with opened_output(target) as file:
        with _audio_writer(file, target, part, opened.tail, options) as writer:
            n_samples = _write_all(writer, pieces, part.rate, progress)
        tail = opened.tail or reader.tail
        if tail is not None:
            part.refuse_late_start(tail)
        result = _decoded_result(read_result(reader, tail), n_samples, part.rate, writer.n_clipped)
        if is_new_file(target):
            if options.tags and tail is not None:
                write_tags(file, tail.tags)
            if seal is not None:
                file.flush()
                seal(file, result)
        return result


def _decoded_result(coded: Result, n_samples: int, rate: int, n_clipped: int) -> Result:
    return replace(coded, n_samples=n_samples, sample_rate=rate, duration_s=n_samples / rate, n_clipped=n_clipped)


def _coded_blocks(opened: Opened, part: Part, codec: Codec) -> tuple[int, Iterator[CodedBlock]]:
    """Return the number of the first block that is read, and the blocks that it takes to decode a part.

    A file that can seek is read from the chunk that holds the first of them, a pipe from its start.
    """
    reader, header, tail = opened.reader, opened.header, opened.tail
    tables = tables_for(header, codec.path)
    first_read, last = codec.traits.needed_blocks(
        part.first_fed, part.first_fed + 1 if part.stop is None else part.stop
    )
    if tail is None or (first_read == 0 and last >= header.signal.blocks_until(tail.end.n_samples)):
        return 0, reader.blocks(tables)
    chunk = first_read // header.chunk_blocks
    first = chunk * header.chunk_blocks
    blocks = _blocks_from(reader, tail, chunk, tables)
    return first, itertools.islice(blocks, last - first)


def _blocks_from(reader: RvqReader, tail: Tail, chunk: int, tables: Tables) -> Iterator[CodedBlock]:
    for found in reader.seek_chunks(tail, chunk, tables):
        yield from reader.decoded_blocks(found, tables)


def _audio_writer(file: BinaryIO, target: Target, part: Part, tail: Tail | None, options: DecodeOptions) -> AudioWriter:
    """Return what writes the part; files get their tags when they are whole, streams before the samples."""
    signal, source_format = part.signal, SampleFormat(part.signal.sample_format)
    is_file = is_new_file(target)
    return open_writer(
        file,
        sample_rate=part.rate,
        channels=signal.channels,
        sample_format=options.sample_format or WIDENED.get(source_format, source_format),
        n_samples=part.n_samples(tail) if tail else None,
        suffix=target.target.suffix if isinstance(target, Output) else None,
        first_sample=signal.scaled(part.start, part.rate),
        tags=tail.tags if tail and options.tags and not is_file else None,
        is_file=is_file,
    )


def _write_all(writer: AudioWriter, pieces: Iterable[Samples], rate: int, progress: Progress) -> int:
    n_samples = 0
    for piece in pieces:
        writer.write(piece)
        n_samples += len(piece)
        progress(n_samples / rate)
    writer.close()
    return n_samples


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
