"""Audio files and pipes for tests of reading and writing."""

from __future__ import annotations

import struct

import numpy as np
import soundfile as sf

from rvqcodec.formats.audio.pcm import SampleFormat
from rvqcodec.formats.audio.reader import open_reader, open_writer
from rvqcodec.formats.audio.wav import pack_chunk
from tests.streams import Pipe


def pipe(data, size=1000):
    """Return bytes as a stream that can't seek and gives up to `size` of them at a time."""
    return Pipe(data, size)


def riff(data_size, riff_size, data, tail=b"", fmt=None):
    fmt = fmt or struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff_size) + b"WAVE" + pack_chunk(b"fmt ", fmt)
    return head + b"data" + struct.pack("<I", data_size) + data + tail


def noise(n_samples, channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (n_samples, channels)).astype(np.float32)


def read(source):
    with open_reader(source) as reader:
        blocks = list(reader.blocks())
        assert all(len(block) == reader.sample_rate for block in blocks[:-1])
        assert all(block.dtype == np.float32 and block.flags.c_contiguous for block in blocks)
        joined = np.concatenate([np.zeros((0, reader.channels), np.float32), *blocks])
        assert reader.n_samples == len(joined)
        return reader, joined


def write(target, samples, sample_format=SampleFormat.S16, sample_rate=8000, size=1000, **options):
    with open_writer(
        target, sample_rate=sample_rate, channels=samples.shape[1], sample_format=sample_format, **options
    ) as writer:
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])
    return writer


def make(path, kind, subtype, samples, rate=8000):
    sf.write(path, samples.astype(np.float64), rate, subtype, format=kind)
    return path
