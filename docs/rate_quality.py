"""Draw the rate-quality curves and write the table in README and comparison from the results of the evaluation.

    python docs/rate_quality.py

Run it after a new evaluation (benchmarks/results/evaluation/table.md); a test compares the outputs with what it would write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation" / "table.md"
PICTURE = ROOT / "docs" / "rate-quality.svg"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "comparison.md")
BEGIN, END = "<!-- table: python docs/rate_quality.py -->", "<!-- end of table -->"

NAMES = {"rvq48": "rvq", "opus": "Opus", "mp3": "MP3"}
COLOURS = {"rvq48": "#0072b2", "opus": "#d55e00", "mp3": "#666666"}
ROWS = (
    *(("rvq48", n) for n in (3, 6, 12, 24)),
    *(("opus", n) for n in (8, 12, 16, 24)),
    *(("mp3", n) for n in (32, 48)),
)
PANELS = (
    ("speech", "ViSQOL", (1.0, 5.0)),
    ("speech", "PESQ-WB", (1.0, 5.0)),
    ("music", "ViSQOL", (1.0, 5.0)),
    ("music", "Zimtohrli", (1.0, 5.0)),
)
TICKS = (1, 2, 4, 8, 16, 32, 64)
COLUMNS = 2
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, LEGEND = 370, 170, 36, 30, 44, 24
DEFAULT_LAYERS = 12
MB_PER_HOUR = Decimal("0.45")
"""Of 1 kbps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One codec at one setting on one kind of audio: medians over the clips, and kbps of a long file."""

    kind: str
    codec: str
    setting: int
    kbps: Decimal
    measures: dict[str, Decimal | None]


def read_scores() -> list[Score]:
    """Return the first table of the results."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| kind | codec"))
    columns = _cells(lines[first])
    scores = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        row = dict(zip(columns, _cells(line), strict=True))
        scores.append(
            Score(
                kind=row["kind"],
                codec=row["codec"],
                setting=int(row["setting"]),
                kbps=Decimal(row["kbps, long file"]),
                measures={
                    name: Decimal(row[name]) if row[name] else None for name in ("ViSQOL", "Zimtohrli", "PESQ-WB")
                },
            )
        )
    return scores


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _rounded(value: Decimal | None, step: str) -> str:
    return "" if value is None else str(value.quantize(Decimal(step), ROUND_HALF_UP))


def table(scores: list[Score]) -> str:
    """Return the table of the documents."""
    found = {(score.kind, score.codec, score.setting): score for score in scores}
    lines = [
        "| | speech, kbps | MB per hour | ViSQOL | PESQ-WB | music, kbps | ViSQOL | Zimtohrli |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for codec, setting in ROWS:
        speech, music = found["speech", codec, setting], found["music", codec, setting]
        name = f"rvq, {setting} layers" if codec == "rvq48" else f"{NAMES[codec]} {setting}"
        name += " (default)" if (codec, setting) == ("rvq48", DEFAULT_LAYERS) else ""
        cells = [
            name,
            _rounded(speech.kbps, "0.1"),
            _rounded(speech.kbps * MB_PER_HOUR, "0.1"),
            _rounded(speech.measures["ViSQOL"], "0.01"),
            _rounded(speech.measures["PESQ-WB"], "0.01"),
            _rounded(music.kbps, "0.1"),
            _rounded(music.measures["ViSQOL"], "0.01"),
            _rounded(music.measures["Zimtohrli"], "0.01"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(scores: list[Score]) -> str:
    """Return the curves as SVG."""
    width = COLUMNS * (LEFT + WIDTH) + 16
    height = LEGEND + -(-len(PANELS) // COLUMNS) * (TOP + HEIGHT + BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="13" role="img">',
        "<title>Quality against bitrate of rvq, Opus and MP3, mono, medians over held-out clips</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (codec, name) in enumerate(NAMES.items()):
        x = LEFT + 80 * number
        parts.append(f'<rect x="{x}" y="10" width="18" height="4" fill="{COLOURS[codec]}"/>')
        parts.append(f'<text x="{x + 23}" y="17">{name}</text>')
    for number, (kind, measure, span) in enumerate(PANELS):
        row, column = divmod(number, COLUMNS)
        left, top = LEFT + column * (LEFT + WIDTH), LEGEND + TOP + row * (TOP + HEIGHT + BOTTOM)
        parts += _panel(scores, kind, measure, span, left, top)
    return "\n".join([*parts, "</svg>", ""])


def _panel(scores: list[Score], kind: str, measure: str, span: tuple[float, float], left: int, top: int) -> list[str]:
    low, high = span

    def x(kbps: Decimal | int) -> float:
        return round(left + WIDTH * math.log2(float(kbps) / 0.9) / math.log2(80 / 0.9), 1)

    def y(value: Decimal | int) -> float:
        return round(top + HEIGHT * (high - float(value)) / (high - low), 1)

    parts = [f'<text x="{left}" y="{top - 10}" font-weight="bold">{kind}: {measure}</text>']
    for value in range(int(low), int(high) + 1):
        parts.append(f'<path d="M{left} {y(value)}H{left + WIDTH}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y(value) + 4}" text-anchor="end">{value}</text>')
    for kbps in TICKS:
        parts.append(f'<path d="M{x(kbps)} {top}V{top + HEIGHT}" stroke="#eeeeee"/>')
        parts.append(f'<text x="{x(kbps)}" y="{top + HEIGHT + 15}" text-anchor="middle">{kbps}</text>')
    parts.append(
        f'<text x="{left + WIDTH // 2}" y="{top + HEIGHT + 32}" text-anchor="middle">kbps on disk, log scale</text>'
    )
    for codec, colour in COLOURS.items():
        points = sorted(
            (score.kbps, value)
            for score in scores
            if (score.kind, score.codec) == (kind, codec) and (value := score.measures[measure]) is not None
        )
        path = " ".join(f"{x(kbps)},{y(value)}" for kbps, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(kbps)}" cy="{y(value)}" r="3" fill="{colour}"/>' for kbps, value in points]
    return parts


def with_table(text: str, scores: list[Score]) -> str:
    """Return a document's text with its table written anew."""
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n{table(scores)}\n{END}{tail}"


def main() -> None:
    """Write the picture and the tables."""
    scores = read_scores()
    PICTURE.write_text(picture(scores), encoding="utf-8")
    for path in DOCUMENTS:
        path.write_text(with_table(path.read_text(encoding="utf-8"), scores), encoding="utf-8")


if __name__ == "__main__":
    main()
