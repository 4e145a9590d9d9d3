"""The held-out list: files that no training may use, and the evaluation clips taken from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("heldout.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Debian package with clips: the version that they were chosen from, and licence names from its copyright file."""

    version: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An excerpt of an audio file in a package.

    Args:
        path: Inside the package, through archives.
        sha256: Of the file's bytes, hexadecimal.
        start_s: Start of the excerpt, seconds.
        seconds: Its duration.
    """

    path: str
    sha256: str
    start_s: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutClip:
    """A clip: an excerpt, or concatenated short excerpts of one speaker or sound class.

    Args:
        id: Its name.
        kind: "speech", "music" or "effects".
        what: Language and speaker, genre and title, or sound class.
        package: Debian package.
        pieces: Excerpts in order.
    """

    id: str
    kind: str
    what: str
    package: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The list: clips, and their packages by name."""

    packages: dict[str, Source]
    clips: tuple[HeldOutClip, ...]


@cache
def held_out() -> HeldOut:
    """Return the held-out list."""
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
