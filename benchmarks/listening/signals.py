"""The critical signals of `listening`: mono at 48 kHz, made from formulas, a General MIDI sound font and recorded voices."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from rvqcodec.training.corpus.archives import read_package
from rvqcodec.training.corpus.corpus import decode, find_package

RATE = 48_000
SINES_HZ = (100, 440, 1000, 3000, 8000)
SINE_S = 3
SWEEP_HZ = (20, 20_000)
PEAK = 0.5

FONT, VOICES = "fluid-soundfont-gm", "tuxpaint-stamps-default"
FONT_SOURCE = f"rendered with fluidsynth from FluidR3 by Frank Wen (Debian {FONT}), MIT"
VOICE_SOURCE = f"Tux Paint stamps (Debian {VOICES}), GPL-2+"
VOICE = "usr/share/tuxpaint/stamps/symbols/chess/w_4_knight_desc_{}.ogg"
MADE = "made by the command"
DRUM_CHANNEL = 9
TICKS_PER_S = 1000

Wave = npt.NDArray[np.float64]
Note = tuple[float, float, int, int]  # start and length in seconds, MIDI key, velocity


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """One test signal: its name, mono wave at 48 kHz, and where it is from."""

    name: str
    wave: Wave
    source: str = MADE


def excerpts(debs: Path) -> list[Excerpt]:
    """Return all signals; packages lie in `debs` or are downloaded there."""
    return [*synthetic(), *voices(find_package(debs, VOICES)), *instruments(find_package(debs, FONT))]


def synthetic() -> list[Excerpt]:
    """Return the signals that formulas make."""
    waves = {
        "silence": np.zeros(3 * RATE),
        "quiet noise": 10 ** (-70 / 20) * noise(10, 0.0),
        "white noise": 0.1 * noise(20, 0.0),
        "pink noise": 0.1 * noise(20, 0.5),
        "sines": np.concatenate([faded(sine(hz, SINE_S)) for hz in SINES_HZ]),
        "sweep": faded(sweep(10)),
        "clicks": clicks(5),
    }
    return [Excerpt(name=name, wave=wave) for name, wave in waves.items()]


def noise(seconds: float, slope: float) -> Wave:
    """Return noise of RMS 1 whose amplitude falls with frequency to the power of `slope`: 0 is white, 0.5 pink."""
    n = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(n))
    shaped: Wave = np.fft.irfft(spectrum * np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20) ** -slope, n)
    shaped /= shaped.std()
    return shaped


def sine(hz: float, seconds: float) -> Wave:
    """Return a sine of peak 0.25."""
    wave: Wave = 0.25 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)
    return wave


def sweep(seconds: float) -> Wave:
    """Return a sine of peak 0.25 that rises by the same number of octaves each second."""
    low, high = SWEEP_HZ
    t, octaves = np.arange(int(seconds * RATE)) / RATE, np.log(high / low) / seconds
    wave: Wave = 0.25 * np.sin(2 * np.pi * low * np.expm1(octaves * t) / octaves)
    return wave


def faded(wave: Wave) -> Wave:
    """Return a wave whose first and last 10 ms rise and fall."""
    place = np.arange(len(wave))
    return wave * np.clip(np.minimum(place, place[::-1]) / (0.01 * RATE), 0, 1)


def clicks(seconds: float) -> Wave:
    """Return single samples of 0.8, 0.217 s apart, so that they fall anywhere in a frame."""
    wave = np.zeros(int(seconds * RATE))
    wave[RATE // 10 :: round(0.217 * RATE)] = 0.8
    return wave


def voices(package: Path) -> list[Excerpt]:
    """Return a man who reads French and a woman who reads Romanian, 8 s each."""
    names = {VOICE.format("fr"): "male voice", VOICE.format("ro"): "female voice"}
    found = {path: data for path, data in read_package(package) if path in names}
    waves = {name: decode(path, found[path])[0][: 8 * RATE] for path, name in names.items()}
    return [Excerpt(name=name, wave=levelled(wave), source=VOICE_SOURCE) for name, wave in waves.items()]


def instruments(package: Path) -> list[Excerpt]:
    """Return pieces for the instruments that codecs are tried with."""
    tune = [0.27 * np.array([n, 1]) for n in range(20)]
    keys = [72, 76, 79, 84, 88, 84, 79, 76, 74, 77, 81, 86, 89, 86, 81, 77, 72, 79, 84, 96]
    melody: list[Note] = [(start, length, key, 100) for (start, length), key in zip(tune, keys, strict=True)]
    chords: list[Note] = [
        (2.0 * n, 1.9, key, 100) for n, chord in enumerate(((60, 67, 76), (62, 69, 77), (60, 72, 79))) for key in chord
    ]
    beat = {36: (0, 6, 10), 38: (4, 12), 42: tuple(range(0, 16, 2)), 49: (0,)}
    drums: list[Note] = [
        (0.115 * (step + 16 * bar), 0.1, key, 110) for bar in range(3) for key, steps in beat.items() for step in steps
    ]
    pieces: dict[str, tuple[int | None, list[Note]]] = {
        "castanets": (None, [(0.1 + 0.237 * n, 0.1, 85, 110) for n in range(24)]),
        "applause": (126, [(0.0, 6.0, 60, 100)]),
        "choir": (52, chords),
        "glockenspiel": (9, melody),
        "harpsichord": (6, [(start, length, key - 12, velocity) for start, length, key, velocity in melody]),
        "drums": (None, drums),
    }
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
        (font,) = Path(folder).rglob("*.sf2")
        waves = {name: rendered(font, *piece) for name, piece in pieces.items()}
    return [Excerpt(name=name, wave=levelled(wave), source=FONT_SOURCE) for name, wave in waves.items()]


def rendered(font: Path, program: int | None, notes: list[Note]) -> Wave:
    """Return notes, played dry by a General MIDI program (from 0) or, where there is none, by the drum kit."""
    with tempfile.TemporaryDirectory() as folder:
        score, out = Path(folder) / "a.mid", Path(folder) / "a.wav"
        score.write_bytes(midi(program, notes))
        command = ["fluidsynth", "-niq", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-O", "float"]
        subprocess.run([*command, "-F", str(out), str(font), str(score)], check=True, capture_output=True)
        wave: Wave = soundfile.read(out, always_2d=True)[0].mean(1)
    end = max(start + length for start, length, _, _ in notes)
    return wave[: int((end + 0.5) * RATE)]


def midi(program: int | None, notes: list[Note]) -> bytes:
    """Return a MIDI file of one track."""
    channel = DRUM_CHANNEL if program is None else 0
    events = [(start, bytes([0x90 | channel, key, velocity])) for start, _, key, velocity in notes]
    events += [(start + length, bytes([0x80 | channel, key, 0])) for start, length, key, _ in notes]
    if program is not None:
        events.append((-1.0, bytes([0xC0 | channel, program])))
    track, now = b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big"), 0
    for seconds, event in sorted(events):
        then = max(0, round(seconds * TICKS_PER_S))
        track += variable_length(then - now) + event
        now = then
    track += b"\x00\xff\x2f\x00"
    head = b"MThd" + bytes([0, 0, 0, 6, 0, 0, 0, 1]) + TICKS_PER_S.to_bytes(2, "big")
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def variable_length(number: int) -> bytes:
    """Return a number as MIDI writes it: 7 bits a byte, the highest first, all but the last marked."""
    last = bytes([number & 0x7F])
    while number := number >> 7:
        last = bytes([0x80 | number & 0x7F]) + last
    return last


def levelled(wave: npt.NDArray[np.generic]) -> Wave:
    """Return a wave with the peak 0.5."""
    real: Wave = wave.astype(np.float64)
    real *= PEAK / np.abs(real).max()
    return real
