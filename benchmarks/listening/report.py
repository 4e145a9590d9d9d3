"""The report of a listening test without ears: a section for each sort of defect, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.listening.measures import (
    OCTAVES_HZ,
    Wave,
    level_db,
    lines,
    new_peaks,
    octave_errors,
    pre_echo,
    ripple_db,
    sweep_errors,
    tone_errors,
)
from benchmarks.listening.signals import RATE, SINE_S, SINES_HZ, Excerpt

FRAME_HZ, TRANSFORM_HZ = 50, 150
PICTURED_LAYERS = (6, 14)

Run = tuple[str, int]  # model and layers
Waves = dict[str, Wave]


def report(signals: list[Excerpt], runs: dict[Run, Waves], pictures: list[Path], seen: str) -> str:
    """Return the report as Markdown."""
    originals = {signal.name: signal.wave for signal in signals}
    sections = {
        "Signals": sources(signals),
        "Levels (dBFS, RMS)": levels(originals, runs),
        f"Noise (lines at multiples of {FRAME_HZ} Hz over what is 4 to 20 Hz away, and ripple of 75 Hz, dB)": noise_lines(
            originals, runs
        ),
        "Sines (level error in dB / noise to tone in dB)": sines(originals, runs),
        "Sweep (median level error in dB / noise to tone in dB, by octave)": swept(originals, runs),
        "Pre-echo (dB, RMS 5 to 20 ms before an attack)": pre_echoes(originals, runs),
        "Dullness (level of an octave less the original's, dB)": dullness(originals, runs),
        "Birdies (peaks a second above 4 kHz that the original lacks / peaks of the original that are lost)": birdies(
            originals, runs
        ),
        "Spectrograms": gallery(pictures),
        "What is seen": seen,
    }
    head = "# Listening test without ears\n\nWritten by `python -m benchmarks.listening`; the last section by hand.\n"
    return head + "".join(f"\n## {title}\n\n{text.strip()}\n" for title, text in sections.items())


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table."""
    names = list(head)
    cells: list[Iterable[object]] = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in cells)


def sources(signals: list[Excerpt]) -> str:
    rows = [(signal.name, f"{len(signal.wave) / RATE:.1f}", signal.source) for signal in signals]
    return table(("signal", "seconds", "source and licence"), rows)


def levels(originals: Waves, runs: dict[Run, Waves]) -> str:
    names = ("silence", "quiet noise", "white noise", "pink noise")
    rows = [("original", "", *(f"{level_db(originals[name]):.1f}" for name in names))]
    rows += [(*map(str, run), *(f"{level_db(waves[name]):.1f}" for name in names)) for run, waves in runs.items()]
    return table(("model", "layers", *names), rows)


def noise_lines(originals: Waves, runs: dict[Run, Waves]) -> str:
    multiples = np.arange(FRAME_HZ, 20_000, FRAME_HZ)
    of_transform = multiples % TRANSFORM_HZ == 0
    labelled: dict[tuple[str, str], Waves] = {("original", ""): originals}
    labelled |= {(model, str(n_layers)): waves for (model, n_layers), waves in runs.items()}
    rows = []
    for name in ("white noise", "pink noise", "quiet noise"):
        for label, waves in labelled.items():
            found = [lines(waves[name], multiples[inside]) for inside in (~of_transform, of_transform)]
            cells = [
                f"{line.median_db:.1f}, {line.worst_db:.1f} at {line.worst_hz} Hz, {line.n_heard}" for line in found
            ]
            rows.append((name, *label, *cells, f"{ripple_db(waves[name]):.2f}"))
    heads = (f"{which} {TRANSFORM_HZ} Hz: median below 3 kHz, worst, n over 6 dB" for which in ("not of", "of"))
    return table(("signal", "model", "layers", *heads, "ripple"), rows)


def sines(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for run, waves in runs.items():
        cells = []
        for number, hz in enumerate(SINES_HZ):
            inside = slice(int((number + 1 / 6) * SINE_S * RATE), int((number + 5 / 6) * SINE_S * RATE))
            errors = tone_errors(originals["sines"][inside], waves["sines"][inside], hz)
            cells.append(f"{errors.level_db:+.1f} / {errors.noise_to_tone_db:.0f}")
        rows.append((*run, *cells))
    return table(("model", "layers", *(f"{hz} Hz" for hz in SINES_HZ)), rows)


def swept(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for run, waves in runs.items():
        found = sweep_errors(originals["sweep"], waves["sweep"])
        rows.append((*run, *(f"{errors.level_db:+.1f} / {errors.noise_to_tone_db:.0f}" for errors in found.values())))
    return table(("model", "layers", *(f"{hz} Hz" for hz in OCTAVES_HZ)), rows)


def pre_echoes(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name in ("clicks", "castanets", "drums"):
        for run, waves in runs.items():
            found = pre_echo(originals[name], waves[name])
            rows.append((name, *run, f"{found.excess_db:+.1f}", f"{found.to_attack_db:.1f}"))
    return table(("signal", "model", "layers", "over the original, -90 dBFS at the least", "to the attack"), rows)


def dullness(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name in originals:
        if name == "silence":
            continue
        for run, waves in runs.items():
            found = octave_errors(originals[name], waves[name])
            rows.append((name, *run, *("" if np.isnan(error) else f"{error:+.1f}" for error in found)))
    return table(("signal", "model", "layers", *(f"{hz} Hz" for hz in OCTAVES_HZ)), rows)


def birdies(originals: Waves, runs: dict[Run, Waves]) -> str:
    rows = []
    for name, original in originals.items():
        found = [(new_peaks(original, waves[name]), new_peaks(waves[name], original)) for waves in runs.values()]
        rows.append((name, *(f"{new:.1f} / {lost:.1f}" for new, lost in found)))
    return table(("signal", *(f"{model}, {n_layers}" for model, n_layers in runs)), rows)


def gallery(pictures: list[Path]) -> str:
    panes = ", ".join(f"{n_layers} layers" for n_layers in PICTURED_LAYERS)
    about = f"The whole signal, 0 to 24 kHz with marks each 4 kHz; original, then {panes} where they were asked for."
    return about + "".join(f"\n\n{path.stem}\n\n![{path.stem}]({path.name})" for path in pictures)
