"""The held-out clips: the one list of files that no training may use, and what an evaluation is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("heldout.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Debian package that clips are of: its version when they were chosen, and licence names from its copyright file."""

    version: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of an audio file in a package.

    Args:
        path: Inside the package, through archives.
        sha256: Of the file's bytes, hexadecimal.
        start_s: Where the part starts.
        seconds: Its length.
    """

    path: str
    sha256: str
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutClip:
    """One clip: a part of a file, or short parts of one speaker or sort of sound, joined.

    Args:
        id: Its name.
        kind: "speech", "music" or "effects".
        what: Language and speaker, genre and title, or sort of sound.
        package: Debian package.
        pieces: Parts in their order.
    """

    id: str
    kind: str
    what: str
    package: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The list: clips, and the packages they are of by name."""

    packages: dict[str, Source]
    clips: tuple[HeldOutClip, ...]


@cache
def held_out() -> HeldOut:
    """Return the list."""
    content = json.loads(LIST.read_text(encoding="utf-8"))
    packages = {name: Source(**fields) for name, fields in content["packages"].items()}
    clips = (
        HeldOutClip(**{**fields, "pieces": tuple(Piece(**piece) for piece in fields["pieces"])})
        for fields in content["clips"]
    )
    return HeldOut(packages, tuple(clips))


@cache
def held_out_files() -> frozenset[str]:
    """Return the SHA-256 of every file on the list."""
    return frozenset(piece.sha256 for clip in held_out().clips for piece in clip.pieces)
