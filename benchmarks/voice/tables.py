"""Means of a scoring by system, and differences of two systems with their intervals, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.bootstrap import N_RESAMPLES, paired_bootstrap
from benchmarks.evaluate.tables import markdown_line, number
from benchmarks.voice.audio import KINDS
from benchmarks.voice.rows import MEASURES, Measure, Row

Rows = Sequence[Row]
SHORT = {"comb": "comb, dB", "own_comb": "own comb, dB"}


def report(rows: Rows, static_combs: Mapping[tuple[str, str], float], pairs: Sequence[tuple[str, str]]) -> str:
    """Return the whole of table.md.

    Args:
        rows: All rows.
        static_combs: dB of each kind and system.
        pairs: Systems to compare, the first less the second.
    """
    parts = [
        "# Voice: naturalness, fidelity and fine structure\n\n"
        "Written by `python -m benchmarks.voice`; README.md beside that says what the columns are. Means over the clips; kbps "
        "is of all clips' files, each of a few seconds with all its fixed costs."
    ]
    parts += [f"## {kind}\n\n{means_table(rows, kind, static_combs)}" for kind in _kinds(rows)]
    for one, other in pairs:
        head = f"## {one} less {other}, paired by clip\n\nBootstrap over clips, {N_RESAMPLES} resamples."
        parts.append(f"{head}\n\n{differences_table(rows, one, other)}")
    return "\n\n".join(parts) + "\n"


def means_table(rows: Rows, kind: str, static_combs: Mapping[tuple[str, str], float]) -> str:
    """Return a line for each system; the bands of a comb share a column."""
    columns = _columns(kind)
    titles = ["system", "clips", "kbps", *columns, "static comb dB"]
    lines = [markdown_line(titles), markdown_line(["---"] * len(titles))]
    for system, clips in _systems(rows, kind).items():
        cells = [_means(clips, measures) for measures in columns.values()]
        comb = number(static_combs.get((kind, system), math.nan))
        lines.append(markdown_line([system, str(len(clips)), number(kbps(clips)), *cells, comb]))
    return "\n".join(lines)


def differences_table(rows: Rows, one: str, other: str) -> str:
    """Return the mean difference of each measure and its 95 % interval, over the clips that both systems have."""
    titles = ["kind", "measure", "clips", "mean difference", "95 %", ""]
    lines = [markdown_line(titles), markdown_line(["---"] * len(titles))]
    for kind in _kinds(rows):
        sides = [{row.clip: row for row in rows if (row.kind, row.system) == (kind, name)} for name in (one, other)]
        clips = sorted(sides[0].keys() & sides[1].keys())
        for measure in MEASURES:
            found = paired_bootstrap(*([side[clip].score(measure.name) for clip in clips] for side in sides))
            if found.n:
                value, low, high = (number(v, measure.digits + 1, "+") for v in (found.value, found.low, found.high))
                clear = "clear" if found.is_clear else ""
                lines.append(markdown_line([kind, measure.title, str(found.n), value, f"{low} to {high}", clear]))
    return "\n".join(lines)


def kbps(rows: Rows) -> float:
    """Return the bits of all clips' files by their seconds, in kbps."""
    return 8 * math.fsum(row.bytes for row in rows) / math.fsum(row.seconds for row in rows) / 1000


def _columns(kind: str) -> dict[str, list[Measure]]:
    """Return the measures of a kind by the title of the column that they stand in."""
    columns: dict[str, list[Measure]] = {}
    for measure in MEASURES:
        if kind == "speech" or not measure.speech_only:
            family = measure.name.rpartition("_")[0]
            columns.setdefault(SHORT.get(family, measure.title), []).append(measure)
    return columns


def _means(clips: Rows, measures: Sequence[Measure]) -> str:
    texts = []
    for measure in measures:
        known = [value for clip in clips if not math.isnan(value := clip.score(measure.name))]
        texts.append(number(float(np.mean(known)) if known else math.nan, measure.digits))
    return " / ".join(texts) if any(texts) else ""


def _systems(rows: Rows, kind: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.kind == kind:
            found.setdefault(row.system, []).append(row)
    return found


def _kinds(rows: Rows) -> list[str]:
    return [kind for kind in KINDS if any(row.kind == kind for row in rows)]
