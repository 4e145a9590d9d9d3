"""Training of the entropy network: a floating-point network on the codes of a frozen codec, then post-training quantization.

The floating-point network computes the same function as `formats.entropy.network`, within the ranges of the integers there, so that
quantization has no measurable cost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rvqcodec.formats.entropy.frequencies import PRECISION
from rvqcodec.formats.entropy.network import LIMIT, LOG_STEPS, N_OFFSETS, EntropyNetwork, LayerNetwork, offsets
from rvqcodec.models.rvq48.config import N_FREQUENCIES
from rvqcodec.training.release.codes import CodedPieces, Codes

SCALE = 32
"""Quantization steps per unit of activations and embeddings, whose range is therefore nearly 4."""
ACTIVATION_RANGE = LIMIT / SCALE
SHIFT = 24
SLOW_LAYERS, SLOW_STRIDES, FAST_STRIDES = 3, (8, 4, 2, 1), (1,)
LOWER_LAYERS = 12
SCALE_SIZE, SCALE_DETAIL = 0.3, 32
"""Of the initial embeddings of sinusoid codes: amplitude, and periods of the highest frequency over the scale."""
PADDING = 24
N_EVALUATED = 6000
REPORTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropySettings:
    """Settings of the training.

    Args:
        minutes, steps: Length of the run; in steps if not 0.
        width: Dimensions of an embedding.
        hidden, upper_hidden: Units of the hidden layer, for the lower 12 vector layers and for those above, which are less predictable.
        batch, n_frames: Sequences per step, and their frames.
        n_layers_a_step: Layers trained per step; lower ones are drawn more often.
        rate: Peak learning rate.
        dropout: On the inputs; unnecessary with the whole corpus.
        seed: Of initialisation and sampling.
        sinusoid_layers: Indices of the sinusoid layers, whose codes are highly predictable from neighbouring frames.
    """

    minutes: float = 20.0
    steps: int = 0
    width: int = 96
    hidden: int = 128
    upper_hidden: int = 64
    batch: int = 8
    n_frames: int = 256
    n_layers_a_step: int = 4
    rate: float = 3e-3
    dropout: float = 0.0
    seed: int = 0
    sinusoid_layers: tuple[int, ...] = ()

    def is_slow(self, layer: int) -> bool:
        """Return whether a layer is coded in many passes, so that most frames have close context frames."""
        return layer in self.sinusoid_layers or self._vector(layer) < SLOW_LAYERS

    def n_hidden(self, layer: int) -> int:
        """Return the hidden units of a layer's network."""
        return self.hidden if layer in self.sinusoid_layers or self._vector(layer) < LOWER_LAYERS else self.upper_hidden

    def _vector(self, layer: int) -> int:
        """Return the number of vector layers below a layer."""
        return layer - sum(sinusoid < layer for sinusoid in self.sinusoid_layers)

    def progress(self, step: int, seconds: float) -> float:
        """Return the completed fraction of the run, 0 to 1 or slightly more."""
        return step / self.steps if self.steps else seconds / (60 * self.minutes)


class LayerPredictor(nn.Module):
    """The network of one layer."""

    def __init__(self, strides: tuple[int, ...], logarithms: Tensor, width: int, hidden: int) -> None:
        super().__init__()
        size = len(logarithms)
        self.strides = strides
        self.embedding = nn.Embedding(size + 1, width, padding_idx=size)
        nn.init.normal_(self.embedding.weight, std=0.3)
        self.hidden = nn.ModuleList(nn.Linear(N_OFFSETS * width, hidden) for _ in range(len(strides) + 1))
        self.output = nn.Linear(hidden, size)
        with torch.no_grad():
            self.embedding.weight[size] = 0
            self.output.weight.mul_(0.5)
            self.output.bias.copy_(logarithms)

    @torch.no_grad()
    def start_as_scale(self) -> None:
        """Initialise the embeddings of an ordinal scale as positional encodings (sinusoids of several frequencies); code 0 gets zeros."""
        size, width = len(self.embedding.weight) - 1, self.embedding.embedding_dim
        speeds = torch.logspace(-1.0, math.log2(SCALE_DETAIL), width // 2, base=2.0) * 2 * math.pi / N_FREQUENCIES
        angles = torch.arange(size)[:, None] * speeds
        self.embedding.weight[:size, : 2 * (width // 2)] = SCALE_SIZE * torch.cat([angles.sin(), angles.cos()], 1)
        self.embedding.weight[0] = 0

    def embedded(self, codes: Tensor) -> Tensor:
        """Return the embeddings of codes, [batch, frames, width]; zeros for codes beyond the codebook."""
        added: Tensor = self.embedding(codes.clamp(max=self.output.out_features))
        return added

    def forward(self, context: Tensor, number: int, dropout: float) -> Tensor:
        """Return logits [batch, n, codebook_size] of a pass, given its context frames, [batch, n, N_OFFSETS * width]."""
        inputs = F.dropout(F.hardtanh(context, -ACTIVATION_RANGE, ACTIVATION_RANGE), dropout, self.training)
        active = F.hardtanh(self.hidden[number](inputs), 0.0, ACTIVATION_RANGE)
        logits: Tensor = self.output(F.dropout(active, dropout, self.training))
        return logits


class Predictor(nn.Module):
    """The networks of all layers.

    Args:
        probabilities: Of the codes of each layer, float64 [codebook_size], for the initial biases.
        settings: Sizes.
    """

    def __init__(self, probabilities: Sequence[npt.NDArray[np.float64]], settings: EntropySettings) -> None:
        super().__init__()
        self.dropout = settings.dropout
        self.sinusoid_layers = settings.sinusoid_layers
        self.layers = nn.ModuleList(
            LayerPredictor(
                SLOW_STRIDES if settings.is_slow(layer) else FAST_STRIDES,
                torch.from_numpy(np.log(row)).float(),
                settings.width,
                settings.n_hidden(layer),
            )
            for layer, row in enumerate(probabilities)
        )
        for layer in settings.sinusoid_layers:
            self._part(layer).start_as_scale()

    def bits(self, codes: Tensor, layer: int) -> Tensor:
        """Return the mean bits of a layer's codes in sequences [batch, layers, frames]; codes beyond the codebook are gaps."""
        part = self._part(layer)
        n_frames = codes.shape[2]
        lower = [self._part(below).embedded(codes[:, below]) for below in range(layer)]
        own = part.embedded(codes[:, layer])
        sums = torch.stack(lower).sum(0) if lower else torch.zeros_like(own)
        total, count = own.new_zeros(()), 0
        frames = torch.arange(n_frames)
        passes = [frames[:: 2 * part.strides[0]], *(frames[s :: 2 * s] for s in part.strides)]
        for number, chosen in enumerate(passes):
            near = chosen[:, None] + torch.from_numpy(offsets(part.strides, number)) + PADDING
            context = F.pad(sums, (0, 0, PADDING, PADDING))[:, near].flatten(2)
            targets = codes[:, layer, chosen]
            real = targets < part.output.out_features
            logits = part(context, number, self.dropout).float()
            total = total + F.cross_entropy(logits[real], targets[real], reduction="sum")
            count += int(real.sum())
            sums = sums.index_add(1, chosen, own[:, chosen])
        mean: Tensor = total / max(1, count) / math.log(2)
        return mean

    def _part(self, layer: int) -> LayerPredictor:
        part = self.layers[layer]
        if not isinstance(part, LayerPredictor):
            raise TypeError("a layer is not a LayerPredictor")
        return part


@dataclass(slots=True)
class Run:
    """A training run: the best network so far on held-out codes, and its mean bits per code there."""

    predictor: Predictor
    best: float = math.inf
    state: dict[str, Any] = field(default_factory=dict)


def code_probabilities(pieces: Sequence[Codes], sizes: Sequence[int]) -> list[npt.NDArray[np.float64]]:
    """Return the relative frequencies of each layer's codes, float64 [codebook_size], with 0.5 added to each count."""
    counts = [np.full(size, 0.5) for size in sizes]
    for codes in pieces:
        for count, row in zip(counts, codes, strict=True):
            count += np.bincount(row, minlength=len(count))
    return [count / count.sum() for count in counts]


def train_network(
    coded: CodedPieces, sizes: Sequence[int], settings: EntropySettings, run: Run | None = None
) -> Iterator[str]:
    """Train a network and yield progress messages; `run` holds the best one so far.

    Args:
        coded: The codes, with their splits.
        sizes: Codebook size of each layer.
        settings: Of the training.
        run: From `start_run`.
    """
    run = run or start_run(coded, sizes, settings)
    predictor, generator = run.predictor, np.random.default_rng(settings.seed)
    flat, held_out = joined(coded.of("train"), max(sizes)), joined(coded.of("valid", "eval"), max(sizes))
    optimizer = torch.optim.AdamW(predictor.parameters(), lr=settings.rate, weight_decay=0.01)
    n_layers = len(predictor.layers)
    weights = 1 / (1 + np.arange(n_layers) / 4)
    started, step = time.monotonic(), 0
    reported = 0.0
    while (progress := settings.progress(step, time.monotonic() - started)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * 0.5 * (1 + math.cos(math.pi * progress)) * min(1.0, (step + 1) / 50)
        places = generator.integers(0, flat.shape[1] - settings.n_frames, settings.batch)
        codes = torch.stack([flat[:, place : place + settings.n_frames].long() for place in places])
        layers = generator.choice(
            n_layers, min(n_layers, settings.n_layers_a_step), replace=False, p=weights / weights.sum()
        )
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            losses = [predictor.bits(codes, int(layer)) for layer in layers]
        torch.stack(losses).mean().backward()
        optimizer.step()
        step += 1
        if progress - reported > 1 / REPORTS:
            reported = progress
            yield f"{step} steps: {_keep_best(run, held_out):.3f} bits per code, held out"
    yield f"{step} steps: {_keep_best(run, held_out):.3f} bits per code, held out"
    predictor.load_state_dict(run.state)
    predictor.eval()


def start_run(coded: CodedPieces, sizes: Sequence[int], settings: EntropySettings) -> Run:
    """Return a new run, its biases initialised to the codes' log frequencies."""
    torch.manual_seed(settings.seed)
    return Run(Predictor(code_probabilities(coded.of("train"), sizes), settings))


def joined(pieces: Sequence[Codes], gap: int) -> Tensor:
    """Return excerpts as one sequence, int32 [layers, frames], separated by gaps of a code beyond all codebooks."""
    padded = [np.pad(codes, ((0, 0), (0, PADDING)), constant_values=gap) for codes in pieces]
    return torch.from_numpy(np.concatenate(padded, 1).astype(np.int32))


def _keep_best(run: Run, held_out: Tensor) -> float:
    run.predictor.eval()
    with torch.no_grad():
        codes = held_out[None, :, :N_EVALUATED].long()
        bits = float(np.mean([float(run.predictor.bits(codes, layer)) for layer in range(codes.shape[1])]))
    run.predictor.train()
    if bits < run.best:
        run.best = bits
        run.state = {key: value.clone() for key, value in run.predictor.state_dict().items()}
    return bits


def rounded(predictor: Predictor) -> list[dict[str, npt.NDArray[Any]]]:
    """Return a trained network quantized to integers: each layer's arrays (`weights.networks.ARRAYS` and strides)."""
    with torch.no_grad():
        return [_rounded_layer(part) for part in predictor.layers if isinstance(part, LayerPredictor)]


def _rounded_layer(part: LayerPredictor) -> dict[str, npt.NDArray[Any]]:
    hidden = [linear for linear in part.hidden if isinstance(linear, nn.Linear)]
    matrices, scales, biases = zip(*(_rounded_linear(linear, 1.0, SCALE) for linear in hidden), strict=True)
    to_steps = LOG_STEPS / math.log(2)
    output, output_scale, output_bias = _rounded_linear(part.output, to_steps / SCALE, to_steps)
    embedding = part.embedding.weight[:-1].double().numpy() * SCALE
    return {
        "strides": np.array(part.strides, np.int64),
        "embedding": np.rint(embedding).clip(-LIMIT, LIMIT).astype(np.int8),
        "hidden": np.stack(matrices),
        "hidden_scale": np.stack(scales),
        "hidden_bias": np.stack(biases),
        "output": output,
        "output_scale": output_scale,
        "output_bias": output_bias,
    }


def _rounded_linear(linear: nn.Linear, gain: float, bias_gain: float) -> tuple[npt.NDArray[Any], ...]:
    """Return int8 weights, and int32 scales and int64 biases that make (product x scale + bias) >> SHIFT the output x gain."""
    weights = linear.weight.double().numpy()
    steps = np.abs(weights).max(1).clip(1e-9) / LIMIT
    matrix = np.rint(weights / steps[:, None]).astype(np.int8)
    scale = np.rint(steps * gain * 2**SHIFT).astype(np.int32)
    bias = np.rint((linear.bias.double().numpy() * bias_gain + 0.5) * 2**SHIFT).astype(np.int64)
    return matrix, scale, bias


@torch.no_grad()
def load_rounded(predictor: Predictor, layers: Sequence[dict[str, npt.NDArray[Any]]]) -> None:
    """Initialise a predictor with a quantized network of the same sizes.

    Sinusoid layers are left as they are if the network has none.

    Raises:
        RuntimeError: The sizes differ.
    """
    without = len(layers) < len(predictor.layers)
    context = [
        part for layer, part in enumerate(predictor.layers) if not (without and layer in predictor.sinusoid_layers)
    ]
    for part, arrays in zip(context, layers, strict=True):
        if not isinstance(part, LayerPredictor) or tuple(arrays["strides"]) != part.strides:
            raise RuntimeError("the strides differ")
        part.embedding.weight[:-1].copy_(torch.from_numpy(arrays["embedding"] / SCALE))
        to_steps = LOG_STEPS / math.log(2)
        hidden = zip(part.hidden, arrays["hidden"], arrays["hidden_scale"], arrays["hidden_bias"], strict=True)
        output = (part.output, arrays["output"], arrays["output_scale"], arrays["output_bias"])
        gains = (*((1.0, SCALE) for _ in part.hidden), (to_steps / SCALE, to_steps))
        for (linear, matrix, scale, bias), (gain, bias_gain) in zip([*hidden, output], gains, strict=True):
            if isinstance(linear, nn.Linear):
                linear.weight.copy_(torch.from_numpy(matrix * scale[:, None] / (gain * 2**SHIFT)))
                linear.bias.copy_(torch.from_numpy((bias / 2**SHIFT - 0.5) / bias_gain))


def network_of(identity: str, shift: int, layers: Sequence[dict[str, npt.NDArray[Any]]]) -> EntropyNetwork:
    """Return the network of stored arrays."""
    return EntropyNetwork(identity, tuple(map(LayerNetwork.from_arrays, layers)), shift)


def measure_network(network: EntropyNetwork, pieces: Sequence[Codes], n_layers: int) -> npt.NDArray[np.float64]:
    """Return the mean bits of each layer's codes under the integer network, [n_layers]; contexts are reset for each excerpt."""
    bits, count = np.zeros(n_layers), 0
    for codes in pieces:
        sums = network.start(codes.shape[1])
        count += codes.shape[1]
        for layer in range(n_layers):
            for frames, table in network.read(layer, sums, codes.shape[1]):
                chosen = codes[layer, frames]
                bits[layer] += (PRECISION - np.log2(table[np.arange(len(frames)), chosen] + 1.0)).sum()
                network.update(sums, layer, frames, chosen)
    return bits / max(1, count)
