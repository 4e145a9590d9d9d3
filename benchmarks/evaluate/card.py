"""Writes the quality that an evaluation measured into a model's card."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.evaluate.rows import WHOLE_KIND, Row, read_rows
from benchmarks.evaluate.tables import KINDS, TITLES, Rows, groups, markdown_line, number, quantile

MEASURES = ("visqol", "zimtohrli", "pesq_wb", "stoi")
SPEECH_ONLY = ("pesq_wb", "stoi")
QUALITY = re.compile(r"(?<=## Quality\n\n).*?(?=\n\nStatic tables)", re.DOTALL)


def update_card(card: Path, scores: Path, codec: str) -> None:
    """Write the medians of a model's rows into its card, in place of the quality that stood there.

    Raises:
        ValueError: The card has no such section, or the evaluation no rows of the model.
    """
    text = card.read_text(encoding="utf-8")
    rows = [row for row in read_rows(scores) if row.codec == codec]
    if not rows or not QUALITY.search(text):
        raise ValueError(f"{card.name} has no section for quality, or {scores.name} no rows of {codec}")
    section = quality(rows)
    card.write_text(QUALITY.sub(lambda _: section, text, count=1), encoding="utf-8")


def quality(rows: Rows) -> str:
    """Return the section's text: a line for each number of layers, medians of each kind's measures."""
    found = groups(rows)
    columns = [
        (kind, name) for kind in KINDS for name in ("kbps", *MEASURES) if kind == "speech" or name not in SPEECH_ONLY
    ]
    clips = {row.clip for row in rows if row.clip != WHOLE_KIND}
    titles = ["layers", *(f"{kind} kbps" if name == "kbps" else TITLES[name] for kind, name in columns)]
    lines = [markdown_line(titles), markdown_line(["---"] * len(titles))]
    for setting in sorted({row.setting for row in rows}):
        groups_of = {kind: group for (kind, _, n), group in found.items() if n == setting}
        cells = [_median(groups_of.get(kind, []), name) for kind, name in columns]
        lines.append(markdown_line([str(setting), *cells]))
    return (
        f"{len(clips)} held-out clips (`rvqcodec/training/corpus/heldout.json`), medians; kbps of each kind's clips joined, all overhead "
        "included; search with a beam width of 4.\n\n" + "\n".join(lines)
    )


def _median(group: list[Row], name: str) -> str:
    values = [getattr(row, "kbps_long" if name == "kbps" else name) for row in group]
    return number(quantile(values, 0.5), 3 if name == "stoi" else 2)
