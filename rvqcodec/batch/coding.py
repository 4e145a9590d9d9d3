"""Encoding and decoding of one file of a run."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rvqcodec.batch import resume
from rvqcodec.batch.job import Done, Job, Progress
from rvqcodec.batch.work import Codecs, Making, Settings, Write, source_of, target_of
from rvqcodec.errors import FormatError
from rvqcodec.formats.audio.mark import Mark, write_mark
from rvqcodec.formats.audio.reader import AudioReader, open_reader, reader_of
from rvqcodec.formats.rvq.stream import RvqReader
from rvqcodec.formats.rvq.verify import verify
from rvqcodec.pipeline.coding import decode, encode, model_of
from rvqcodec.pipeline.opening import Opened, Target, is_new_file, open_rvq
from rvqcodec.pipeline.options import DecodeOptions, EncodeOptions
from rvqcodec.pipeline.result import Result
from rvqcodec.pipeline.tables import tables_for
from rvqcodec.weights.registry import DEFAULT_MODEL, ModelFile, find_model


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeWork:
    """Audio to .rvq files."""

    settings: Settings
    options: EncodeOptions
    bytes_per_worker: int = 4 << 20

    def threaded(self, n_threads: int) -> EncodeWork:
        """Return the same work with `n_threads` threads, where no number was given."""
        return replace(self, options=replace(self.options, n_threads=self.options.n_threads or n_threads))

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Encode one file."""
        model = find_model(self.settings.model or DEFAULT_MODEL)
        with ExitStack() as stack:
            target = target_of(stack, job, self.settings)
            audio = stack.enter_context(open_reader(source_of(job)))
            if audio.n_samples is not None:
                progress(0.0, audio.n_samples / audio.sample_rate)
            making = Making(
                find=lambda existing: resume.find_encoded(existing, audio, model, self.options),
                ready=lambda: self._ready(audio, model, codecs, progress),
                check=functools.partial(_check_encoded, model.path),
            )
            return replace(making.run(job, target, self.settings), model=_named(model))

    def _ready(self, audio: AudioReader, model: ModelFile, codecs: Codecs, progress: Progress) -> Write:
        codec = codecs.get(model)
        seal = functools.partial(_check_encoded, model.path) if self.settings.remove else None
        return lambda target: encode(audio, target, codec, self.options, progress, seal)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeWork:
    """.rvq files to audio."""

    settings: Settings
    options: DecodeOptions
    bytes_per_worker: int = 1 << 16

    def threaded(self, n_threads: int) -> DecodeWork:
        """Return the same work with `n_threads` threads, where no number was given."""
        return replace(self, options=replace(self.options, n_threads=self.options.n_threads or n_threads))

    def run(self, job: Job, codecs: Codecs, progress: Progress) -> Done:
        """Decode one file."""
        with ExitStack() as stack:
            target = target_of(stack, job, self.settings)
            opened = stack.enter_context(open_rvq(source_of(job)))
            if opened.tail is not None:
                progress(0.0, opened.tail.end.n_samples / opened.header.signal.sample_rate)
            model = find_model(self.settings.model) if self.settings.model else model_of(opened.header)
            making = Making(
                find=lambda existing: resume.find_decoded(existing, opened, self._settings_hash(model)),
                ready=lambda: self._ready(job, opened, model, codecs, progress),
                check=_check_decoded,
            )
            return replace(making.run(job, target, self.settings), model=_named(model))

    def _ready(self, job: Job, opened: Opened, model: ModelFile, codecs: Codecs, progress: Progress) -> Write:
        codec = codecs.get(model)

        def write(target: Target) -> Result:
            is_marked = self.settings.mark and job.source_path is not None and opened.tail is not None
            mark = Mark(opened.provenance(), self._settings_hash(model)) if is_marked and is_new_file(target) else None
            return decode(opened, target, codec, self.options, progress, functools.partial(self._seal, mark))

        return write

    def _seal(self, mark: Mark | None, file: BinaryIO, result: Result) -> None:
        if mark is not None:
            write_mark(file, mark)
        if self.settings.remove:
            file.flush()
            _check_decoded(file, result)

    def _settings_hash(self, model: ModelFile) -> bytes:
        return resume.decode_settings(model, self.options)


def _named(model: ModelFile) -> str:
    return f"{model.name} ({model.fingerprint})"


def _check_encoded(weights: Path, file: BinaryIO, _: Result) -> None:
    """Read back and check all codes of an output."""
    file.seek(0)
    tables = tables_for(RvqReader(file).header, weights)
    file.seek(0)
    verify(file, tables, deep=True)


def _check_decoded(file: BinaryIO, result: Result) -> None:
    """Read back an output's header, and compare its length where its container tells it exactly."""
    with reader_of(file) as reader:
        if reader.sample_format and reader.n_samples != result.n_samples:
            raise FormatError("the output is shorter than it should be, so the input stays")
