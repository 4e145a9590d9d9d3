"""Cuts a set of clips out of a corpus: FOLDER/{speech,music}/ID.wav, mono, 48 kHz, float, -22 dBFS RMS.

    python -m benchmarks.clips SET CORPUS FOLDER          SET is look or release

CORPUS is what `rvq train corpus` made (3 GB of free recordings); recordings are found by the SHA-256 of their files, so another version
of a package does as long as the file is the same. README.md beside this says what the two sets are for. Needs nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from rvqcodec.training.corpus.corpus import SAMPLE_RATE, open_corpus
from rvqcodec.training.measure.evaluation import LEVEL_DBFS

SETS = ("look", "release")
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedClip:
    """A piece of a recording.

    Args:
        id: Kind, package and the start of the hash.
        kind: "speech" or "music".
        package: Debian package.
        version: The package's version when the clip was chosen.
        path: Path inside the package, through archives.
        sha256: Of the file's bytes, hexadecimal.
        licence: Short names from the package's copyright file.
        split: "valid" or "eval": never trained on.
        start_s: Where the clip starts.
        seconds: Its length.
    """

    id: str
    kind: str
    package: str
    version: str
    path: str
    sha256: str
    licence: str
    split: str
    start_s: float
    seconds: float


def listed_clips(name: str) -> list[ListedClip]:
    """Return the clips of a set, "look" or "release"."""
    return [ListedClip(**record) for record in json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))]


def cut(samples: npt.NDArray[np.int16], clip: ListedClip) -> npt.NDArray[np.float32]:
    """Return a clip of a recording's samples at the usual level; floats, so none clips."""
    start = round(clip.start_s * SAMPLE_RATE)
    wave = samples[start : start + round(clip.seconds * SAMPLE_RATE)].astype(np.float32) / 32768
    loudness = math.sqrt(float(np.mean(np.square(wave))))
    return (wave * (10 ** (LEVEL_DBFS / 20) / loudness)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clips", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("set", choices=SETS)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    corpus = open_corpus(options.corpus)
    recordings = {recording.sha256: recording for recording in corpus.recordings}
    for clip in listed_clips(options.set):
        recording = recordings.get(clip.sha256)
        if recording is None:
            raise SystemExit(f"{options.corpus} lacks {clip.path} of {clip.package} {clip.version}")
        path = options.folder / clip.kind / f"{clip.id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, cut(corpus.samples(recording), clip), SAMPLE_RATE, "FLOAT")


if __name__ == "__main__":
    main()
