"""Makes a release of weights in one go, from a checkpoint or with training first, and measures it.

    python -m benchmarks.release CHECKPOINT --name NAME --corpus corpus --work work [--train 60 --init rvq48]

Trains (with --train MINUTES, into CHECKPOINT's folder; a run there goes on), then writes into the package what a model is: weights, static
tables, card, entropy network with its card. Then its golden vectors, the evaluation on the held-out clips beside other models, Opus and
MP3, whose medians go into the card, the listening report, and the voice measures of the clips that are kept for releases. WORK holds what
isn't kept: packages, held-out audio, codes. What is there already is not made again, so a run that was cut off goes on. Needs the extras
train, eval, voice and test, opus-tools, lame, ffmpeg and fluidsynth; NISQA where $RVQ_NISQA names its folder.

Left to do by hand: look at it all; make the model the default (`DEFAULT_MODEL`) where it measures better; commit.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.evaluate.card import update_card
from rvqcodec.weights.registry import DEFAULT_MODEL, data_folder, find_model

HERE = Path(__file__).parent
PYTHON = (sys.executable, "-m")
RVQ = (*PYTHON, "rvqcodec")
VOICE_LAYERS = (6, 12, 24)


def run(*command: object) -> None:
    """Run a command, told first; a failure ends the release."""
    line = [str(part) for part in command]
    print("$", " ".join(line), file=sys.stderr, flush=True)
    subprocess.run(line, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def make_model(options: argparse.Namespace) -> None:
    """Write weights, tables and card, then the network, into the package."""
    if options.train:
        run(*RVQ, "train", "run", options.corpus, options.checkpoint.parent, "--minutes", options.train,
            "--init", options.init, "--processes", options.jobs)  # fmt: skip
    if not (data_folder() / f"{options.name}.md").is_file():  # the card is written last
        run(*RVQ, "train", "export", options.checkpoint, options.corpus, "-o", data_folder(), "--name", options.name,
            "--minutes", options.table_minutes, "--before", options.before, "--entropy-minutes", 0)  # fmt: skip
    if not find_model(options.name).network_paths:
        start = ["--init", options.network_init] if options.network_init else []
        run(*RVQ, "train", "entropy", options.corpus, options.work / f"{options.name}.codes", "--model", options.name,
            "--minutes", options.network_minutes, "--code-minutes", options.code_minutes, "--threads", options.jobs,
            *start)  # fmt: skip


def make_vectors(name: str) -> None:
    """Write the golden vectors of the model."""
    run(*PYTHON, "tests.vectors.make", name)


def measure(options: argparse.Namespace) -> None:
    """Evaluate the models and write the listening report."""
    results, clips, debs = HERE / "results", options.work / "heldout", options.work / "debs"
    if not any(clips.glob("*.wav")):
        run(*PYTHON, "benchmarks.heldout", clips, "--debs", debs)
    models = dict.fromkeys([*options.beside, options.name])
    run(*PYTHON, "benchmarks.evaluate", clips, "-o", results / "evaluation", "--models", *models,
        "--layers", *options.layers, "--jobs", options.jobs)  # fmt: skip
    update_card(find_model(options.name).card_path, results / "evaluation" / "scores.csv", options.name)
    run(*PYTHON, "benchmarks.listening", "-o", results / "listening", "--models", options.name, "--debs", debs)
    measure_voice(options, results / "voice" / "release")


def measure_voice(options: argparse.Namespace, results: Path) -> None:
    """Score the clips that are kept for releases."""
    clips, decoded = options.work / "clips", options.work / "decoded"
    run(*PYTHON, "benchmarks.clips", "release", options.corpus, clips)
    run(*PYTHON, "benchmarks.voice.decode", clips, "-o", decoded, "--models", options.name,
        "--layers", *VOICE_LAYERS, "--command", shlex.join(RVQ))  # fmt: skip
    systems = [decoded / f"{options.name}-{n_layers:02}" for n_layers in VOICE_LAYERS]
    run(*PYTHON, "benchmarks.voice", clips, *systems, "-o", results)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--name", required=True, help="of the new model")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--train", type=float, default=0, help="minutes of joint training first")
    parser.add_argument("--init", default=DEFAULT_MODEL, help="what a new run starts from")
    parser.add_argument("--before", default="", help="what the run started from, a sentence for the card")
    parser.add_argument("--beside", nargs="*", default=[DEFAULT_MODEL], help="models to compare with")
    parser.add_argument("--table-minutes", type=float, default=10)
    parser.add_argument("--code-minutes", type=float, default=40)
    parser.add_argument("--network-minutes", type=float, default=60)
    parser.add_argument("--network-init", default="", help="a network to start from, such as that of another model")
    parser.add_argument("--layers", type=int, nargs="+", default=[3, 6, 9, 12, 15, 18, 24], help="to evaluate")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    make_model(options)
    make_vectors(options.name)
    measure(options)


if __name__ == "__main__":
    main()
