"""Codecs as they are used: a wave file in, a coded file and a decoded wave file out, both timed.

rvq runs in this process on one thread, without the start of the interpreter and the loading of the model; opusenc, opusdec, lame and
ffmpeg are started anew for each file, which costs them some milliseconds.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from rvqcodec.codec.codec import Codec
from rvqcodec.formats.audio.pcm import SampleFormat
from rvqcodec.pipeline.coding import DecodeOptions, EncodeOptions, decode_file, encode_file, load_codec

RATE = 48_000
SUFFIXES = {"opus": ".opus", "mp3": ".mp3"}
MOST_LAG = 4800
CLEARLY_BETTER = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """One codec at one setting.

    codec: "opus", "mp3", or what an rvq model is called in the results.
    setting: Layers for rvq, else kbps.
    model: Name or weights file of an rvq model.
    entropy: Entropy mode of an rvq model.
    """

    codec: str
    setting: int
    model: str = ""
    entropy: str = "auto"


@dataclass(frozen=True, slots=True)
class Coded:
    """Size of a coded file, and seconds of both ways."""

    n_bytes: int
    encode_s: float
    decode_s: float


def code(coding: Coding, wav: Path, decoded: Path) -> Coded:
    """Encode a wave file, decode it to `decoded`, float32 at 48 kHz, and return size and times."""
    coded = decoded.with_suffix(SUFFIXES.get(coding.codec, ".rvq"))
    encode, decode = _ways(coding, wav, coded, decoded)
    encode_s = _timed(encode)
    return Coded(coded.stat().st_size, encode_s, _timed(decode))


def _ways(coding: Coding, wav: Path, coded: Path, decoded: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    kbps = str(coding.setting)
    if coding.codec == "opus":
        encode = ["opusenc", "--quiet", "--vbr", "--bitrate", kbps, "--padding", "0", str(wav), str(coded)]
        decode = ["opusdec", "--quiet", "--float", "--rate", str(RATE), str(coded), str(decoded)]
        return lambda: _run(encode), lambda: _run(decode)
    if coding.codec == "mp3":
        encode = ["lame", "--quiet", "--abr", kbps, "-q", "2", str(wav), str(coded)]
        decode = ["ffmpeg", "-v", "error", "-y", "-i", str(coded), "-ar", str(RATE), "-c:a", "pcm_f32le", str(decoded)]
        return lambda: _run(encode), lambda: _run(decode)
    codec = _codec(coding.model)
    how = EncodeOptions(n_layers=coding.setting, entropy=coding.entropy, n_threads=1)
    back = DecodeOptions(sample_format=SampleFormat.F32, n_threads=1)
    return (
        lambda: encode_file(wav, coded, codec, how, overwrite=True),
        lambda: decode_file(coded, decoded, codec, back, overwrite=True),
    )


@cache
def _codec(model: str) -> Codec:
    """Return a model, loaded and run once, so that nothing of its first use is timed."""
    import torch

    torch.set_num_threads(1)
    return load_codec(model, "cpu")


def warm_up(coding: Coding, folder: Path) -> None:
    """Run a codec on a second of noise: what is loaded or compiled at first use isn't timed later."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(folder / "noise.wav", noise, RATE, "PCM_16")
    code(coding, folder / "noise.wav", folder / "noise.back.wav")


def lag_of(reference: np.ndarray, decoded: np.ndarray) -> int:
    """Return by how many samples `decoded` is late, 0 unless another place fits clearly better.

    Args:
        reference: float [n_samples].
        decoded: float [n_samples], nearly as long.
    """
    n = min(len(reference), len(decoded))
    size = 1 << (n + MOST_LAG).bit_length()
    product = np.conj(np.fft.rfft(reference[:n], size)) * np.fft.rfft(decoded[:n], size)
    correlation = np.fft.irfft(product, size)
    lags = np.arange(-MOST_LAG, MOST_LAG + 1)
    values = correlation[lags]
    best = int(values.argmax())
    return int(lags[best]) if values[best] > CLEARLY_BETTER * max(correlation[0], 0) else 0


def shifted(wave: np.ndarray, lag: int, n_samples: int) -> np.ndarray:
    """Return a wave `lag` samples earlier, cut or filled with silence to `n_samples`."""
    moved = wave[lag:] if lag >= 0 else np.concatenate([np.zeros(-lag, wave.dtype), wave])
    return np.pad(moved[:n_samples], (0, max(0, n_samples - len(moved))))


def align(wav: Path, decoded: Path, shift: bool) -> int:
    """Return how late a decoded file is; where `shift` is set, and always in length, make it fit.

    MP3 alone is shifted: what its decoder leaves of the delay isn't the codec's fault. The other formats promise to be in place.
    """
    reference, _ = soundfile.read(wav, dtype="float32")
    wave, _ = soundfile.read(decoded, dtype="float32")
    lag = lag_of(reference, wave)
    soundfile.write(decoded, shifted(wave, lag if shift else 0, len(reference)), RATE, "FLOAT")
    return lag


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _run(command: list[str]) -> None:
    process = subprocess.run(command, capture_output=True, check=False)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {process.stderr.decode(errors='replace').strip()}")
