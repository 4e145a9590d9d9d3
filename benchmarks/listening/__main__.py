"""Makes critical test signals, takes them through encode and decode, and reports the defects that a listener would hear.

    python -m benchmarks.listening -o benchmarks/results/listening [--models rvq48] [--layers 3 6 14 24] [--debs debs]

Models are names or paths of weights files. Needs fluidsynth and dpkg-deb; two Debian packages, 190 MB, are downloaded to `--debs`
where they aren't there. Writes report.md and spectrograms, original and decoded side by side. What was seen in them is written by
hand to seen.md in the same folder, which becomes the last section of the report.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import soundfile

from benchmarks.listening.measures import Wave
from benchmarks.listening.pictures import write_pictures
from benchmarks.listening.report import Run, Waves, report
from benchmarks.listening.signals import RATE, excerpts
from rvqcodec.codec.codec import Codec
from rvqcodec.pipeline.coding import EncodeOptions, decode_file, encode_file, load_codec
from rvqcodec.weights.registry import DEFAULT_MODEL


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.listening", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL])
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 6, 14, 24])
    parser.add_argument("--debs", type=Path, default=Path("debs"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    signals = excerpts(options.debs)
    runs: dict[Run, Waves] = {}
    for name in options.models:
        codec = load_codec(name)
        for n_layers in options.layers:
            print(f"{name}, {n_layers} layers", flush=True)
            runs[Path(name).stem, n_layers] = {signal.name: coded(signal.wave, codec, n_layers) for signal in signals}
    pictures = write_pictures(options.output, signals, runs)
    seen = options.output / "seen.md"
    text = report(signals, runs, pictures, seen.read_text(encoding="utf-8") if seen.exists() else "Nothing yet.\n")
    (options.output / "report.md").write_text(text, encoding="utf-8")


def coded(wave: Wave, codec: Codec, n_layers: int) -> Wave:
    """Return a wave after encoding and decoding, through files of floats."""
    with tempfile.TemporaryDirectory() as name:
        source, rvq, back = (Path(name) / file for file in ("a.wav", "a.rvq", "b.wav"))
        soundfile.write(source, wave, RATE, "FLOAT")
        encode_file(source, rvq, codec, EncodeOptions(n_layers=n_layers))
        decode_file(rvq, back, codec)
        decoded: Wave = soundfile.read(back)[0]
    return decoded


if __name__ == "__main__":
    main()
