"""The rows of a scoring, one system and clip each, in a CSV file that grows while it runs; and what their columns are."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.voice.harmonics import BANDS_HZ

NAN = float("nan")
COMB_COLUMNS = tuple(f"comb_{low}" for low, _ in BANDS_HZ)
OWN_COMB_COLUMNS = tuple(f"own_comb_{low}" for low, _ in BANDS_HZ)


@dataclass(frozen=True, slots=True)
class Measure:
    """A column.

    Args:
        name: In the CSV file.
        title: In tables.
        digits: Shown behind the point.
        speech_only: Whether it is taken of speech alone.
    """

    name: str
    title: str
    digits: int = 2
    speech_only: bool = True


MEASURES = (
    Measure("nisqa", "NISQA"),
    Measure("noisiness", "noisiness"),
    Measure("discontinuity", "discontinuity"),
    Measure("coloration", "coloration"),
    Measure("loudness", "loudness"),
    Measure("dnsmos", "DNSMOS"),
    Measure("dnsmos_signal", "DNSMOS SIG"),
    Measure("dnsmos_p808", "DNSMOS P.808"),
    Measure("pesq_wb", "PESQ-WB"),
    Measure("estoi", "ESTOI", 3),
    Measure("speaker", "speaker", 3),
    Measure("visqol", "ViSQOL", speech_only=False),
    Measure("zimtohrli", "Zimtohrli", speech_only=False),
    Measure("flatness", "flatness dB", 1, speech_only=False),
    *(Measure(f"comb_{low}", f"comb {low} to {high} Hz", 1) for low, high in BANDS_HZ),
    *(Measure(f"own_comb_{low}", f"own comb {low} to {high} Hz", 1) for low, high in BANDS_HZ),
)
COLUMNS = ("system", "kind", "clip", "seconds", "bytes", *(measure.name for measure in MEASURES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one system made of one clip.

    Args:
        system: Its name; "original" for the clip itself.
        kind: "speech" or "music".
        clip: Name of the file.
        seconds: Of the original.
        bytes: Of the coded file, not a number where that isn't known.
        scores: By a measure's name; what is missing was not measured.
    """

    system: str
    kind: str
    clip: str
    seconds: float
    bytes: float
    scores: dict[str, float]

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row is of."""
        return self.system, self.kind, self.clip

    def score(self, measure: str) -> float:
        """Return a score, not a number where there is none."""
        return self.scores.get(measure, NAN)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file, none where there is no file; a last line that an interruption cut off is left out."""
    if not path.exists():
        return []
    records = csv.DictReader(path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines())
    return [_row(record) for record in records]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a CSV file anew, atomically."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(_texts(row) for row in rows)
    part.replace(path)


def append_row(path: Path, row: Row) -> None:
    """Add a line to a CSV file that has its head."""
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(_texts(row))


def _row(record: dict[str, str]) -> Row:
    scores = {measure.name: _number(record[measure.name]) for measure in MEASURES if record[measure.name]}
    texts = {name: record[name] for name in ("system", "kind", "clip")}
    return Row(**texts, seconds=float(record["seconds"]), bytes=_number(record["bytes"]), scores=scores)


def _texts(row: Row) -> list[str]:
    scores = [_text(row.score(measure.name)) for measure in MEASURES]
    return [*row.key, _text(row.seconds), _text(row.bytes), *scores]


def _number(text: str) -> float:
    return float(text) if text else NAN


def _text(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
