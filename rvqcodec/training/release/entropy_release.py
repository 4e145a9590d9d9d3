"""Release of an entropy network: codes of the corpus, training, quantization, weights file and card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError, OutputError
from rvqcodec.formats.entropy.counts import CountModel
from rvqcodec.formats.entropy.frequencies import COST_STEPS
from rvqcodec.formats.entropy.network import EntropyNetwork
from rvqcodec.formats.entropy.payload import StaticTables
from rvqcodec.models.family import Traits
from rvqcodec.pipeline.tables import load_network
from rvqcodec.training.corpus.corpus import open_corpus
from rvqcodec.training.corpus.crops import PROPORTIONS
from rvqcodec.training.release.codes import CodedPieces, Codes, code_corpus, open_codes
from rvqcodec.training.release.entropy import (
    SHIFT,
    EntropySettings,
    Run,
    load_rounded,
    measure_network,
    rounded,
    start_run,
    train_network,
)
from rvqcodec.weights.load import load_model
from rvqcodec.weights.networks import read_network, write_network
from rvqcodec.weights.registry import SUFFIX, ModelFile, find_model
from rvqcodec.weights.tables import read_tables

BEAM_WIDTH = 4
CHECKPOINT = "network-float.safetensors"
CHUNK_FRAMES = 500
MEASURED_FRAMES = 15_000
COUNTS = (3, 6, 12, 24)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyRelease:
    """A request.

    Args:
        corpus, codes: The corpus, and the folder of its codes, which is created or continued.
        model: A model's name or the path of its weights.
        folder: Output folder; that of the weights when absent.
        minutes, code_minutes: Time for training, and for encoding the corpus.
        init: Initial network: an earlier run's checkpoint, or a released network.
        rate: Peak learning rate.
        n_threads: For both.
    """

    corpus: Path
    codes: Path
    model: str
    folder: Path | None = None
    minutes: float = 60.0
    code_minutes: float = 40.0
    init: str = ""
    rate: float = 3e-3
    n_threads: int = 1


def release(request: EntropyRelease) -> Iterator[str]:
    """Encode the corpus, train, quantize, and write NAME.network-N.safetensors and its card; yield progress messages.

    Raises:
        RvqError: The model or the corpus is missing.
        OutputError: A file can't be written.
    """
    torch.set_num_threads(1)
    model = find_model(request.model)
    codec = Codec(load_model(model, "cpu"), model.name)
    corpus = open_corpus(request.corpus)
    yield from code_corpus(codec, corpus, request.codes, request.code_minutes, BEAM_WIDTH, n_threads=request.n_threads)
    torch.set_num_threads(request.n_threads)
    traits = model.traits
    coded = open_codes(request.codes, traits.n_layers)
    sizes = [group.codebook_size for group in traits.groups for _ in range(group.n_layers)]
    settings = EntropySettings(minutes=request.minutes, rate=request.rate, sinusoid_layers=sinusoid_layers(traits))
    run = start_run(coded, sizes, settings)
    if request.init:
        _initialise(run, Path(request.init))
    for line in train_network(coded, sizes, settings, run):
        _save(run, request.codes / CHECKPOINT)
        yield line
    path = next_path(model, request.folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_network(path, SHIFT, rounded(run.predictor), model.fingerprint)
        network = load_network(path)
        static = StaticTables(*read_tables(model.tables_path)) if model.tables_path.is_file() else None
        path.with_suffix(".md").write_text(card(model, coded, network, static, settings), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    yield f"{path}: {path.stat().st_size} bytes, id {network.id}"


def sinusoid_layers(traits: Traits) -> tuple[int, ...]:
    """Return the indices of the sinusoid layers."""
    kinds = [group.kind for group in traits.groups for _ in range(group.n_layers)]
    return tuple(layer for layer, kind in enumerate(kinds) if kind == "sinusoid")


def next_path(model: ModelFile, folder: Path | None) -> Path:
    """Return the path of a model's next network; released networks are never replaced."""
    numbers = [int(found[1]) for path in model.network_paths if (found := re.search(r"network-(\d+)", path.name))]
    name = f"{model.path.stem}.network-{max(numbers, default=0) + 1}{SUFFIX}"
    return (folder or model.path.parent) / name


def _initialise(run: Run, path: Path) -> None:
    """Initialise a run with an earlier run's floating-point network, or with a released one.

    Raises:
        ModelError: The network can't be read, or its sizes differ.
    """
    try:
        if ".network-" in path.name:
            load_rounded(run.predictor, read_network(path)[2])
        else:
            run.predictor.load_state_dict(safetensors.load_file(path))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise ModelError(f"{path} can't be read, or its sizes differ: {error}") from error


def _save(run: Run, path: Path) -> None:
    """Save the best network so far, in floating point, for `--init`."""
    part = path.with_name(f".{path.name}.part")
    safetensors.save_file(run.state, part)
    part.replace(path)


def card(
    model: ModelFile,
    coded: CodedPieces,
    network: EntropyNetwork,
    static: StaticTables | None,
    settings: EntropySettings,
) -> str:
    """Return the network's card as Markdown: bits per code of each entropy mode on held-out codes, by kind and by layer."""
    n_layers, raw = len(network.layers), math.log2(len(network.layers[0].embedding))
    train_s = sum(piece.n_frames for piece in coded.pieces if piece.split == "train") / 50
    rows, by_layer = [], []
    held_out = {kind: chunks_of(coded.of("valid", "eval", kind=kind)) for kind in PROPORTIONS}
    for kind, chunks in ((kind, chunks) for kind, chunks in held_out.items() if chunks):
        bits = {"static": static_bits(chunks, static), "counts": count_bits(chunks, static)}
        bits["network"] = measure_network(network, chunks, n_layers)
        for n in (n for n in COUNTS if n <= n_layers):
            means = [float(found[:n].mean()) for found in bits.values()]
            savings = " | ".join(f"{mean:.2f} ({100 * (1 - mean / raw):.1f} %)" for mean in means)
            rows.append(f"| {kind} | {n} | {savings} |")
        by_layer.append(f"| {kind} | " + " | ".join(f"{value:.2f}" for value in bits["network"]) + " |")
    return "\n".join(
        [
            f"# Entropy network {network.id} of {model.name}",
            "",
            f"Context model of the codes of the model with fingerprint `{model.fingerprint}` (entropy mode 3, SPEC.md).",
            f"Trained for {settings.minutes:.0f} minutes on the codes of {train_s / 3600:.1f} hours of the corpus in the model's card, "
            "with the same split.",
            "",
            f"Mean bits per code, and savings over raw codes of {raw:.0f} bits (held-out codes in chunks of 10 s, without overhead):",
            "",
            "| kind | layers | static | counts | network |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "Mean bits per code of the network, by layer:",
            "",
            "| kind | " + " | ".join(str(layer + 1) for layer in range(n_layers)) + " |",
            "|---" * (n_layers + 1) + "|",
            *by_layer,
            "",
        ]
    )


def chunks_of(pieces: Sequence[Codes]) -> list[Codes]:
    """Return excerpts concatenated and split into chunks [layers, 500], at most five minutes."""
    if not pieces:
        return []
    whole = np.concatenate(pieces, 1)[:, :MEASURED_FRAMES]
    return [whole[:, start : start + CHUNK_FRAMES] for start in range(0, whole.shape[1], CHUNK_FRAMES)]


def static_bits(chunks: Sequence[Codes], static: StaticTables | None) -> npt.NDArray[np.float64]:
    """Return the mean bits per code of each layer in mode 1, [layers]; NaN without static tables."""
    if static is None:
        return np.full(len(chunks[0]), np.nan)
    codes = np.concatenate(chunks, 1)
    costs = [static.costs[layer][row].mean() for layer, row in enumerate(codes)]
    return np.array(costs) / COST_STEPS


def count_bits(chunks: Sequence[Codes], static: StaticTables | None) -> npt.NDArray[np.float64]:
    """Return the mean bits per code of each layer in mode 2, [layers]; NaN without static tables."""
    if static is None:
        return np.full(len(chunks[0]), np.nan)
    bits = np.zeros(len(chunks[0]))
    for codes in chunks:
        for layer, row in enumerate(codes):
            bits[layer] += CountModel(static.frequencies[layer], codes[layer - 1] if layer else None).cost(row)
    found: npt.NDArray[np.float64] = bits / COST_STEPS / sum(codes.shape[1] for codes in chunks)
    return found
