"""The rows of an evaluation: one clip, codec and setting each, in a CSV file that grows while it runs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

WHOLE_KIND = "all"
MEASURES = ("visqol", "zimtohrli", "pesq_wb", "stoi", "mel_distance", "si_sdr_db")
NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one coding of one clip gave; not a number where nothing was measured.

    clip: Its name, "all" for all clips of a kind joined, which are timed and weighed but not scored.
    codec, setting: "rvq48" and layers, "opus" or "mp3" and kbps asked for.
    seconds, bytes, kbps: Of the clip and its coded file.
    kbps_long: Of all clips of the kind joined, at the same setting.
    encode_s, decode_s: Wall clock on one thread.
    lag: Samples by which the decoded wave seems late, by cross-correlation.
    """

    clip: str
    kind: str
    codec: str
    setting: int
    seconds: float
    bytes: int
    kbps: float
    kbps_long: float = NAN
    encode_s: float
    decode_s: float
    lag: int = 0
    visqol: float = NAN
    zimtohrli: float = NAN
    pesq_wb: float = NAN
    stoi: float = NAN
    mel_distance: float = NAN
    si_sdr_db: float = NAN

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What a row is of."""
        return self.clip, self.kind, self.codec, self.setting

    @property
    def group(self) -> tuple[str, str, int]:
        """What medians are taken over."""
        return self.kind, self.codec, self.setting


COLUMNS = tuple(column.name for column in fields(Row))
_READERS = {"str": str, "int": int, "float": lambda text: float(text) if text else NAN}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file, none where there is no file; a last line that an interruption cut off is left out."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    readers = {column.name: _READERS[str(column.type)] for column in fields(Row)}
    records = csv.DictReader(whole.splitlines())
    return [Row(**{name: readers[name](text) for name, text in record.items()}) for record in records]


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


def with_long_kbps(rows: Sequence[Row]) -> list[Row]:
    """Return rows that know the bitrate of the joined clips of their kind."""
    long = {row.group: row.kbps for row in rows if row.clip == WHOLE_KIND}
    return [replace(row, kbps_long=long.get(row.group, NAN)) for row in rows]


def _texts(row: Row) -> list[str]:
    values = (getattr(row, name) for name in COLUMNS)
    return [_text(value) for value in values]


def _text(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return str(value)
