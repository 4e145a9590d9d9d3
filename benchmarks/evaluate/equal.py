"""Compares codecs at equal bytes: `python -m benchmarks.evaluate.equal RESULTS ONE OTHER [--kbps 2.4 5 10]`.

For each clip that both codecs coded at several settings, each measure is interpolated by log kbps of a kind's joined clips; printed are
the means over clips of ONE less OTHER, with 95 % bootstrap intervals. RESULTS is a folder with the scores.csv of `benchmarks.evaluate`.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.bootstrap import paired_bootstrap
from benchmarks.evaluate.rows import MEASURES, WHOLE_KIND, Row, read_rows, with_long_kbps
from benchmarks.evaluate.tables import KINDS, TITLES

Curves = dict[str, list[tuple[float, float]]]


def curves(rows: list[Row], codec: str, kind: str, measure: str) -> Curves:
    """Return for each clip its points (log kbps, value), by rising kbps."""
    found = defaultdict(list)
    for row in rows:
        value = getattr(row, measure)
        if (row.codec, row.kind) == (codec, kind) and row.clip != WHOLE_KIND and np.isfinite(value):
            found[row.clip].append((float(np.log(row.kbps_long)), float(value)))
    return {clip: sorted(points) for clip, points in found.items()}


def at(curve: list[tuple[float, float]], kbps: float) -> float:
    """Return a clip's value at a bitrate; past its ends the nearest one's."""
    return float(np.interp(np.log(kbps), *zip(*curve, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluate.equal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("one")
    parser.add_argument("other")
    parser.add_argument("--kbps", type=float, nargs="+", default=[2.4, 5, 10])
    options = parser.parse_args()
    rows = with_long_kbps(read_rows(options.results / "scores.csv"))
    print(f"| kind | measure | kbps | clips | {options.one} less {options.other} | 95 % |\n" + "|---" * 6 + "|")
    for kind in KINDS:
        for measure in MEASURES:
            one, other = (curves(rows, codec, kind, measure) for codec in (options.one, options.other))
            clips = sorted(one.keys() & other.keys())
            for kbps in options.kbps if clips else ():
                found = paired_bootstrap(*([at(curve[clip], kbps) for clip in clips] for curve in (one, other)))
                interval = f"{found.low:+.3f} to {found.high:+.3f}"
                print(f"| {kind} | {TITLES[measure]} | {kbps:g} | {found.n} | {found.value:+.3f} | {interval} |")


if __name__ == "__main__":
    main()
