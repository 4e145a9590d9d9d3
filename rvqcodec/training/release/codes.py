"""Codes of a frozen codec over the corpus: the training data of entropy models.

A codes folder holds `codes.jsonl`, one excerpt of a recording a line, and `codes.uint16`, the concatenated codes of the excerpts, each
[layers, frames], little-endian. Excerpts are encoded as files are: levelled, with beam search, without silent blocks. They are in a
shuffled order with fixed proportions of the kinds, held-out ones first, so that a folder can be used while it grows and an interrupted
run can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rvqcodec.codec.codec import Codec
from rvqcodec.encoded import SILENT
from rvqcodec.errors import AudioError
from rvqcodec.pipeline.stored import batched
from rvqcodec.training.corpus.corpus import SAMPLE_RATE, Corpus, Recording
from rvqcodec.training.corpus.crops import PROPORTIONS

PIECE_S = 20
HELD_OUT_S = 600
INDEX, CODES, OWNER = "codes.jsonl", "codes.uint16", "fingerprint"
GROUP = 64

Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """An excerpt of a recording.

    Args:
        package: Debian package of the recording.
        path: Its path there.
        kind: "speech", "music" or "effects".
        split: "train", "valid" or "eval".
        start: Index of its first sample in the recording.
        n_frames: Frames with codes.
    """

    package: str
    path: str
    kind: str
    split: str
    start: int
    n_frames: int = 0


@dataclass(frozen=True, slots=True)
class CodedPieces:
    """A codes folder, opened.

    Args:
        pieces: The index.
        codes: Of each excerpt, uint16 [layers, frames].
    """

    pieces: tuple[Piece, ...]
    codes: tuple[Codes, ...]

    def of(self, *splits: str, kind: str = "") -> list[Codes]:
        """Return the codes of some splits, of one kind or of all kinds."""
        pairs = zip(self.pieces, self.codes, strict=True)
        return [codes for piece, codes in pairs if piece.split in splits and kind in ("", piece.kind)]


def open_codes(folder: Path, n_layers: int) -> CodedPieces:
    """Open a codes folder.

    Raises:
        AudioError: It holds no codes, or is damaged.
    """
    pieces = _read_index(folder)
    if not pieces:
        raise AudioError(f"{folder} holds no codes")
    ends = np.cumsum([piece.n_frames * n_layers for piece in pieces])
    flat: Codes = np.memmap(folder / CODES, "<u2", "r")
    if len(flat) < ends[-1]:
        raise AudioError(f"{folder / CODES} is shorter than its index says")
    codes = (part.reshape(n_layers, -1) for part in np.split(flat[: ends[-1]], ends[:-1]))
    return CodedPieces(tuple(pieces), tuple(codes))


def code_corpus(
    codec: Codec, corpus: Corpus, folder: Path, minutes: float, beam_width: int, n_threads: int = 1
) -> Iterator[str]:
    """Encode excerpts of the corpus until all are done or the time is up; yield progress messages.

    Args:
        codec: The codec, in evaluation mode.
        corpus: The corpus.
        folder: The codes folder, which is continued.
        minutes: Time limit.
        beam_width: Of the quantizer search.
        n_threads: Excerpts encoded in parallel; doesn't affect the codes.

    Raises:
        AudioError: The folder holds codes of another codec.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, codec.fingerprint)
    done = _read_index(folder)
    n_layers = codec.traits.n_layers
    with (folder / CODES).open("ab") as file:
        file.truncate(2 * n_layers * sum(piece.n_frames for piece in done))
    known = {(piece.path, piece.start) for piece in done}
    end = time.monotonic() + 60 * minutes
    waiting = [(piece, recording) for piece, recording in plan(corpus) if (piece.path, piece.start) not in known]

    def code(item: tuple[Piece, Recording]) -> Codes:
        piece, recording = item
        return _code(codec, corpus.samples(recording)[piece.start :][: PIECE_S * SAMPLE_RATE], beam_width)

    n_done = len(done)
    with ThreadPoolExecutor(n_threads) as pool:
        for group in batched(waiting, GROUP):
            for (piece, _), codes in zip(group, pool.map(code, group), strict=True):
                _append(folder, piece, codes)
                n_done += 1
                if time.monotonic() > end:
                    return
            yield f"{n_done} of {len(done) + len(waiting)} pieces coded"


def _append(folder: Path, piece: Piece, codes: Codes) -> None:
    with (folder / CODES).open("ab") as file:
        file.write(codes.astype("<u2").tobytes())
    with (folder / INDEX).open("a", encoding="utf-8") as index:
        index.write(json.dumps({**asdict(piece), "n_frames": codes.shape[1]}, ensure_ascii=False) + "\n")


def _claim(folder: Path, fingerprint: str) -> None:
    """Record whose codes a folder holds.

    Raises:
        AudioError: It holds codes of another codec.
    """
    path = folder / OWNER
    if not path.exists():
        path.write_text(fingerprint, encoding="utf-8")
    if path.read_text(encoding="utf-8") != fingerprint:
        raise AudioError(f"{folder} holds codes of another codec", "name another folder")


def plan(corpus: Corpus) -> list[tuple[Piece, Recording]]:
    """Return all excerpts in order: some of each held-out kind, then those for training, kinds interleaved by `PROPORTIONS`."""
    pieces = sorted(_pieces(corpus), key=lambda item: _key(item[0]))
    chosen = []
    for split, kind in ((split, kind) for split in ("eval", "valid") for kind in PROPORTIONS):
        chosen += [item for item in pieces if (item[0].split, item[0].kind) == (split, kind)][: HELD_OUT_S // PIECE_S]
    train = []
    for kind, proportion in PROPORTIONS.items():
        of_kind = [item for item in pieces if (item[0].split, item[0].kind) == ("train", kind)]
        lengths = [min(recording.n_samples - piece.start, PIECE_S * SAMPLE_RATE) for piece, recording in of_kind]
        train += list(zip(np.cumsum(lengths) / proportion, of_kind, strict=True))
    return chosen + [item for _, item in sorted(train, key=lambda pair: float(pair[0]))]


def _pieces(corpus: Corpus) -> Iterator[tuple[Piece, Recording]]:
    for recording in corpus.recordings:
        for start in range(0, recording.n_samples, PIECE_S * SAMPLE_RATE):
            yield (
                Piece(
                    package=recording.package,
                    path=recording.path,
                    kind=recording.kind,
                    split=recording.split,
                    start=start,
                ),
                recording,
            )


def _key(piece: Piece) -> bytes:
    return hashlib.sha256(f"{piece.package}/{piece.path}@{piece.start}".encode()).digest()


def _code(codec: Codec, samples: npt.NDArray[np.int16], beam_width: int) -> Codes:
    """Return the codes, uint16 [layers, frames], of the blocks of an excerpt that aren't silent."""
    wave = samples.astype(np.float32) / 32768.0
    encoded = codec.encode(wave, codec.traits.n_layers, beam_width)
    active = np.repeat(encoded.levels[0] != SILENT, codec.traits.frames_per_block)[: encoded.codes.shape[2]]
    codes: Codes = encoded.codes[0][:, active]
    return codes


def _read_index(folder: Path) -> list[Piece]:
    path = folder / INDEX
    if not path.exists():
        return []
    try:
        return [Piece(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise AudioError(f"{path} is damaged: {error}") from error
