"""Medians of an evaluation, differences with their intervals, and both as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.bootstrap import N_RESAMPLES, Difference, paired_bootstrap
from benchmarks.evaluate.rows import MEASURES, WHOLE_KIND, Row

KINDS = ("speech", "music", "effects")
TITLES = {
    "visqol": "ViSQOL",
    "zimtohrli": "Zimtohrli",
    "pesq_wb": "PESQ-WB",
    "stoi": "STOI",
    "mel_distance": "mel distance",
    "si_sdr_db": "SI-SDR dB",
}
NOT_RVQ = ("opus", "mp3")
AGAINST_OPUS = (
    ("music", 6, 12, ("visqol", "zimtohrli")),
    ("speech", 12, 8, ("pesq_wb", "visqol")),
    ("speech", 24, 8, ("pesq_wb", "visqol")),
)

Rows = Sequence[Row]


def compare(
    rows: Rows, kind: str, measure: str, one: tuple[str, int], other: tuple[str, int], statistic: str = "mean"
) -> Difference:
    """Return how much better `one` is than `other`, codec and setting each, over the clips of a kind that both have."""
    values = [
        {row.clip: getattr(row, measure) for row in rows if row.group == (kind, *side) and row.clip != WHOLE_KIND}
        for side in (one, other)
    ]
    clips = sorted(values[0].keys() & values[1].keys())
    return paired_bootstrap(*([side[clip] for clip in clips] for side in values), statistic=statistic)


def quantile(values: Iterable[float], share: float) -> float:
    """Return a quantile of what are numbers, not a number where none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.quantile(known, share)) if known else math.nan


def groups(rows: Rows) -> dict[tuple[str, str, int], list[Row]]:
    """Return the clips' rows by kind, codec and setting: kinds in their usual order, codecs as they came, settings rising."""
    found: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        if row.clip != WHOLE_KIND:
            found.setdefault(row.group, []).append(row)
    codecs = list(dict.fromkeys(row.codec for row in rows))
    kinds = {kind: place for place, kind in enumerate(KINDS)}
    return dict(sorted(found.items(), key=lambda item: (kinds[item[0][0]], codecs.index(item[0][1]), item[0][2])))


def medians_table(rows: Rows) -> str:
    """Return medians over clips; speeds are of the joined clips where those were timed."""
    titles = [
        *("kind", "codec", "setting", "clips", "kbps", "kbps, long file"),
        *(TITLES[measure] for measure in MEASURES),
        *("worst ViSQOL", "encode x", "decode x"),
    ]
    whole = {row.group: row for row in rows if row.clip == WHOLE_KIND}
    lines = [markdown_line(titles), markdown_line(["---"] * len(titles))]
    for group, clips in groups(rows).items():
        timed = [whole[group]] if group in whole else clips
        cells = [
            *(*map(str, group), str(len(clips))),
            *(number(quantile([getattr(clip, name) for clip in clips], 0.5)) for name in ("kbps", "kbps_long")),
            *(number(quantile([getattr(clip, name) for clip in clips], 0.5), 3) for name in MEASURES),
            number(quantile([clip.visqol for clip in clips], 0.0), 3),
            *(number(_speed(timed, name), 0) for name in ("encode_s", "decode_s")),
        ]
        lines.append(markdown_line(cells))
    return "\n".join(lines)


def differences_table(rows: Rows) -> str:
    """Return each further rvq model against the first, and the first bitrates of rvq against Opus."""
    titles = ["kind", "measure", "this", "against", "clips", "mean difference", "95 %", "median difference", "95 %", ""]
    lines = [markdown_line(titles), markdown_line(["---"] * len(titles))]
    for kind, measure, one, other in _pairs(rows):
        mean, median = (compare(rows, kind, measure, one, other, name) for name in ("mean", "median"))
        if mean.n:
            cells = [kind, TITLES[measure], _side(one), _side(other), str(mean.n)]
            cells += [number(mean.value, 3, "+"), _interval(mean), number(median.value, 3, "+"), _interval(median)]
            lines.append(markdown_line([*cells, "clear" if mean.is_clear else ""]))
    return "\n".join(lines) if len(lines) > 2 else "Nothing to compare."


def _pairs(rows: Rows) -> list[tuple[str, str, tuple[str, int], tuple[str, int]]]:
    models = [codec for codec in dict.fromkeys(row.codec for row in rows) if codec not in NOT_RVQ]
    layers = sorted({row.setting for row in rows if row.codec in models})
    first = models[0] if models else ""
    between = [
        (kind, measure, (model, n), (first, n))
        for kind in KINDS
        for measure in MEASURES
        for model in models[1:]
        for n in layers
    ]
    opus = [
        (kind, measure, (model, n_layers), ("opus", kbps))
        for kind, n_layers, kbps, measures in AGAINST_OPUS
        for measure in measures
        for model in models
    ]
    return between + opus


def report(rows: Rows, title: str) -> str:
    """Return the whole of table.md."""
    return f"""# {title}

Medians over the clips. "kbps" is of the clip's own file, a few seconds with all its fixed costs; "kbps, long file" of all clips of the kind
joined to one file. x: times real time on one thread; rvq without the start of the interpreter and the loading of the model, opusenc,
opusdec, lame and ffmpeg as whole processes. A lower mel distance is better, of everything else more.

{medians_table(rows)}

## Differences, paired by clip

Intervals: bootstrap over clips, {N_RESAMPLES} resamples. "clear": the mean's interval leaves out zero.

{differences_table(rows)}
"""


def _speed(rows: Rows, name: str) -> float:
    spent = math.fsum(getattr(row, name) for row in rows)
    return math.fsum(row.seconds for row in rows) / spent if spent else math.nan


def _side(side: tuple[str, int]) -> str:
    return f"{side[0]}, {side[1]} {'kbps' if side[0] in NOT_RVQ else 'layers'}"


def _interval(difference: Difference) -> str:
    return f"{number(difference.low, 3, '+')} to {number(difference.high, 3, '+')}"


def number(value: float, digits: int = 2, sign: str = "") -> str:
    """Return a number as a table shows it, nothing where it is none."""
    return "" if math.isnan(value) else f"{value:{sign}.{digits}f}"


def markdown_line(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cells) + " |"
