"""Quality against bitrate as pictures: a figure for each measure, a panel for each kind of sound."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl

from benchmarks.evaluate.rows import Row
from benchmarks.evaluate.tables import KINDS, TITLES, Rows, groups, quantile

mpl.use("agg")

from matplotlib import pyplot as plt  # after the choice of what draws
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

DRAWN = ("visqol", "zimtohrli", "pesq_wb", "mel_distance")
COLOURS = ("#0b62a8", "#d1495b", "#2e8540", "#8c4fa8", "#3aafa9", "#a0522d", "#111111", "#e377c2", "#9acd32")
TICKS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
STYLES = {"opus": ("#e08a00", "s", "--"), "mp3": ("#777777", "^", ":")}


def draw(rows: Rows, folder: Path) -> list[Path]:
    """Write FOLDER/MEASURE.png for each measure that any clip has, and return their paths."""
    paths = []
    for measure in DRAWN:
        known = [row for row in rows if not math.isnan(getattr(row, measure))]
        kinds = [kind for kind in KINDS if any(row.kind == kind for row in known)]
        if kinds:
            paths.append(folder / f"{measure}.png")
            _figure(known, measure, kinds, paths[-1])
    return paths


def _figure(rows: Rows, measure: str, kinds: list[str], path: Path) -> None:
    figure, panels = plt.subplots(1, len(kinds), figsize=(0.8 + 4.1 * len(kinds), 4.4), sharey=True, squeeze=False)
    codecs = list(dict.fromkeys(row.codec for row in rows))
    models = [codec for codec in codecs if codec not in STYLES]
    styles = STYLES | {codec: (COLOURS[place % len(COLOURS)], "o", "-") for place, codec in enumerate(models)}
    for panel, kind in zip(panels[0], kinds, strict=True):
        for codec in codecs:
            _curve(panel, rows, measure, kind, codec, styles[codec])
        n_clips = len({row.clip for row in rows if row.kind == kind})
        panel.set_title(f"{kind}, {n_clips} clips", fontsize=11)
        panel.set_xscale("log")
        low, high = panel.get_xlim()
        panel.set_xticks([tick for tick in TICKS if low <= tick <= high])
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.tick_params(axis="x", which="minor", length=0)
        panel.set_xlabel("kbps on disk, long file")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel(TITLES[measure] + (" (less is better)" if measure == "mel_distance" else ""))
    handles, labels = panels[0][0].get_legend_handles_labels()
    n_columns = min(2 * len(kinds) + 1, len(labels))
    figure.legend(handles, labels, loc="lower center", ncols=n_columns, frameon=False, fontsize=10)
    n_lines = -(-len(labels) // n_columns)
    figure.tight_layout(rect=(0, 0.02 + 0.06 * n_lines, 1, 1))
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def _curve(panel: Axes, rows: Rows, measure: str, kind: str, codec: str, style: tuple[str, str, str]) -> None:
    """Draw medians as a line and the middle half of the clips as a band."""
    found = [clips for group, clips in groups(rows).items() if group[:2] == (kind, codec)]
    points = sorted(
        (_kbps(clips), *(quantile([getattr(clip, measure) for clip in clips], share) for share in (0.25, 0.5, 0.75)))
        for clips in found
    )
    if not points:
        return
    kbps, low, middle, high = zip(*points, strict=True)
    colour, marker, line = style
    panel.fill_between(kbps, low, high, color=colour, alpha=0.13, linewidth=0)
    panel.plot(kbps, middle, color=colour, marker=marker, linestyle=line, markersize=5, linewidth=1.6, label=codec)


def _kbps(clips: list[Row]) -> float:
    """Return the bitrate of the long file, of the clips where there is none."""
    long = quantile([clip.kbps_long for clip in clips], 0.5)
    return quantile([clip.kbps for clip in clips], 0.5) if math.isnan(long) else long
