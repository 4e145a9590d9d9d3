"""Trains the postfilter of a frozen codec: decoded crops are kept in memory, and the small network learns on them for many rounds.

What lies below 3 kHz is compared by complex spectra and magnitudes of single bins (`LowLoss`), and a little by its noise-to-signal ratio.
That ratio alone blurs voices (Zimtohrli falls by 0.6); the magnitudes prevent it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError, OutputError
from rvqcodec.models.rvq48.config import PITCH_PIECES
from rvqcodec.models.rvq48.decoder import Decoder
from rvqcodec.models.rvq48.enhance.postfilter import PostFilter
from rvqcodec.models.rvq48.pitch import Repeats
from rvqcodec.models.rvq48.transform import BandEnergies
from rvqcodec.training.corpus.corpus import open_corpus
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.release.export import write_finish
from rvqcodec.training.train.losses import LowLoss, ReconstructionLoss
from rvqcodec.weights.load import POSTFILTER, load_model, stored
from rvqcodec.weights.registry import find_model, postfilter_of

CROP_S, CROPS_AT_ONCE, N_CANDIDATES = 2, 8, 2
ALL_LAYERS_SHARE, FEWEST_LAYERS = 0.2, 2
NOISE = 0.3
BETAS, WARMUP, DECAY_SHARE, AVERAGE, CLIP = (0.8, 0.99), 100, 0.4, 0.998, 1.0
KEEP_EVERY_S = 300
TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PostfilterRequest:
    """What to train.

    corpus: The corpus folder.
    model: A model's name or the path of its weights.
    minutes, decode_minutes: Of training, and of decoding crops first.
    width, n_blocks: Of the network.
    init: A postfilter's weights to go on from, such as NAME.postfilter.part of an interrupted run; "own" for those that the model uses.
    rate: Learning rate.
    batch: Crops of a second in a step.
    seed: Of everything that is drawn.
    """

    corpus: Path
    model: str
    minutes: float = 30.0
    decode_minutes: float = 10.0
    width: int = 160
    n_blocks: int = 4
    init: str = ""
    rate: float = 1e-3
    batch: int = 48
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded crops as a postfilter sees them, float16, and what they should have been.

    Args:
        low, before, after, target: Low coefficients, [crops, transform frames, n_low].
        correlation: [crops, pieces].
        envelope: [crops, frames, bands].
        n_layers: int64 [crops].
    """

    low: Tensor
    before: Tensor
    after: Tensor
    target: Tensor
    correlation: Tensor
    envelope: Tensor
    n_layers: Tensor

    def drawn(self, items: Tensor, first: int, n_frames: int, merge: int) -> Decoded:
        """Return some crops in float32, `n_frames` frames of each from frame `first` on."""
        steps = {"correlation": PITCH_PIECES, "envelope": 1}

        def cut(name: str) -> Tensor:
            step = steps.get(name, merge)
            found: Tensor = getattr(self, name)[items, first * step : (first + n_frames) * step]
            return found.float()

        names = [field.name for field in dataclasses.fields(self) if field.name != "n_layers"]
        return Decoded(*map(cut, names), n_layers=self.n_layers[items, None].expand(-1, n_frames))  # type: ignore[misc]


class PostfilterLoss:
    """The loss of low coefficients against those of the original.

    Args:
        codec: Whose.
        n_low: How many coefficients a transform frame has here.
    """

    def __init__(self, codec: Codec, n_low: int) -> None:
        config = codec.config
        edges = tuple(edge for edge in config.band_edges if edge <= n_low)
        self.energies, self.n_bands = BandEnergies(edges, config.merge), len(edges) - 1
        self.edge = config.frame_rate // 6 * config.merge
        self.whole = ReconstructionLoss(config.sample_rate, codec.decoder.mdct, codec.decoder.energies)
        self.low = LowLoss(n_low)

    def __call__(self, ours: Tensor, envelope: Tensor, theirs: Tensor) -> Tensor:
        """Return a scalar; the ends, which lack context, don't count.

        Args:
            ours: Low coefficients [batch, transform frames, n_low], to be brought to their loudness.
            envelope: Log energies of all bands, [batch, frames, bands].
            theirs: The original's.
        """
        ours, inner = self.energies.rescale(ours, envelope[..., : self.n_bands]), slice(self.edge, -self.edge)
        noise = self.whole.noise_to_signal(ours[:, inner], theirs[:, inner])
        loss: Tensor = NOISE * noise + self.low(ours, theirs, self.edge)
        return loss


def train_postfilter(request: PostfilterRequest) -> Iterator[str]:
    """Train the postfilter of a model, write it beside its weights with the calibration that names it, and yield how it goes.

    Raises:
        ModelError: The model has no comb filter, or `init` can't be read.
        OutputError: It can't be written.
    """
    model = find_model(request.model)
    codec = load_model(model, "cpu")
    if not codec.config.noise_evenness:
        raise ModelError(
            f"{model.name} has no comb filter, a postfilter needs one", hint="calibrate it: rvq train finish"
        )
    config = dataclasses.replace(codec.config, postfilter=(request.width, request.n_blocks))
    torch.manual_seed(request.seed)
    network = PostFilter(config)
    if request.init:
        _take_over(network, model.postfilter_path if request.init == "own" else Path(request.init))
    crops = Crops(open_corpus(request.corpus), CROP_S * codec.block_size, request.seed)
    decoded = decode_crops(codec, crops, network.n_low, request.decode_minutes, request.seed)
    yield f"{CROP_S * len(decoded.n_layers)} s decoded"
    path = postfilter_of(model.path)
    yield from _train(network, decoded, PostfilterLoss(codec, network.n_low), request, path)
    yield f"{path}, {write_finish(model, config)}"


@torch.inference_mode()
def decode_crops(codec: Codec, crops: Crops, n_low: int, minutes: float, seed: int) -> Decoded:
    """Return crops coded with all kinds of numbers of layers and decoded, as many as the time allows, at least one batch."""
    generator, end = np.random.default_rng(seed), time.monotonic() + 60 * minutes
    batches: list[tuple[Tensor, ...]] = []
    n_codebooks = codec.config.n_codebooks
    while not batches or time.monotonic() < end:
        wave = torch.from_numpy(crops.batch(len(batches), 0, CROPS_AT_ONCE))
        codes = codec.search(wave, n_codebooks, N_CANDIDATES)
        drawn = np.exp(generator.uniform(np.log(FEWEST_LAYERS), np.log(n_codebooks + 0.5), CROPS_AT_ONCE))
        drawn = np.where(generator.random(CROPS_AT_ONCE) < ALL_LAYERS_SHARE, n_codebooks, np.round(drawn))
        n_layers = torch.from_numpy(drawn.clip(1, n_codebooks).astype(np.int64))
        counts = n_layers[:, None].expand(-1, codes.shape[2])
        position = (len(batches) * CROPS_AT_ONCE + torch.arange(CROPS_AT_ONCE)) * codes.shape[2]
        found = inputs_of(codec.decoder, codec.quantizer.decode(codes, counts), counts, position, n_low)
        batches.append((*(x.half() for x in (*found, codec.decoder.mdct(wave, n_low))), n_layers))
    low, before, after, correlation, envelope, target, n_layers = map(torch.cat, zip(*batches, strict=True))
    return Decoded(low, before, after, target, correlation, envelope, n_layers)


def inputs_of(
    decoder: Decoder, latent: Tensor, n_layers: Tensor, position: Tensor, n_low: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return low coefficients, those of the neighbours, correlation and envelope of what a decoder gives before its comb filter."""
    coefficients, envelope = decoder.spectrum(latent, n_layers, position)
    repeats = decoder.pitch(decoder.mdct.inverse(coefficients))
    coefficients = decoder.finished(coefficients, repeats, latent, n_layers, position)
    before, after = (decoder.mdct(near, n_low) for near in decoder.pitch.neighbours(repeats))
    return coefficients[..., :n_low], before, after, repeats.correlation, envelope


def _train(
    network: PostFilter, decoded: Decoded, loss_of: PostfilterLoss, request: PostfilterRequest, path: Path
) -> Iterator[str]:
    """Train the network, leave its averaged weights in it and in the file, and yield how it goes.

    Meanwhile they are kept beside the file, with the ending .part.
    """
    n_frames = decoded.envelope.shape[1] // CROP_S
    average = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0, betas=BETAS, weight_decay=0.0)
    unfinished = path.with_suffix(".part")  # an interrupted run must not replace a postfilter that is in use
    started = kept = time.monotonic()
    step, told, total = 0, 0.0, 0.0
    while (progress := (time.monotonic() - started) / (60 * max(request.minutes, 1e-3))) < 1:
        rate = request.rate * min(1.0, (step + 1) / WARMUP, (1 - progress) / DECAY_SHARE)
        for options in optimizer.param_groups:
            options["lr"] = rate
        items = torch.randint(len(decoded.n_layers), (request.batch,))
        first = int(torch.randint(decoded.envelope.shape[1] - n_frames + 1, ()))
        batch = decoded.drawn(items, first, n_frames, network.merge)
        low = network(
            batch.low, (batch.before, batch.after), _repeats(batch.correlation), batch.envelope, batch.n_layers
        )
        loss = loss_of(low, batch.envelope, batch.target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        step += 1
        weight = 1 - min(AVERAGE, step / (step + 10))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                average[key].lerp_(value, weight)
        total += (float(loss.detach()) - total) * max(0.01, 1 / step)
        if time.monotonic() - kept > KEEP_EVERY_S:
            kept = time.monotonic()
            _keep(average, unfinished)
        if progress - told > 1 / TOLD:
            told = progress
            yield f"{step} steps: loss {total:.4f}"
    network.load_state_dict(average)
    _keep(average, path)
    unfinished.unlink(missing_ok=True)
    yield f"{step} steps, {step * request.batch} s: loss {total:.4f}"


def _repeats(correlation: Tensor) -> Repeats:
    nothing = correlation.new_zeros(0)
    return Repeats(nothing, nothing, correlation)


def _take_over(network: PostFilter, path: Path) -> None:
    try:
        network.load_state_dict({key: value.float() for key, value in safetensors.load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path} can't be read as a postfilter of this size: {error}") from error


def _keep(tensors: dict[str, Tensor], path: Path) -> None:
    _write(path, safetensors.save({key: stored(POSTFILTER + key, value) for key, value in tensors.items()}))


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
