"""The training step: forward pass, losses, optimisers, moving averages of weights and codebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rvqcodec.errors import ModelError, RvqError
from rvqcodec.models.rvq48.enhance.postfilter import HIGHEST_HZ
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.train.codebooks import CodebookAverages, Quantized, quantize
from rvqcodec.training.train.discriminator import Discriminator, discriminator_loss, generator_losses
from rvqcodec.training.train.losses import ReconstructionLoss
from rvqcodec.training.train.muon import Muon
from rvqcodec.training.train.parallel import Group
from rvqcodec.training.train.settings import Settings

ALL_LAYERS_PROBABILITY = 0.4
BETAS = (0.8, 0.99)
MOST_SKIPPED = 20
DIVERGED = 2.0
LAYER_STREAM = 1 << 20


class Trainer:
    """State and steps of a training run.

    Args:
        codec: The model, on its device; trained in place.
        crops: Training data.
        settings: Of the run.
        group: The process group.
        counts: Initial codebook counts, [layers, codebook_size]; uniform when absent.

    Raises:
        ValueError: The batch isn't divisible by the number of processes.
    """

    def __init__(
        self, codec: Rvq48, crops: Crops, settings: Settings, group: Group | None = None, counts: Tensor | None = None
    ) -> None:
        self.codec, self.crops, self.settings, self.group = codec, crops, settings, group or Group()
        if settings.batch % self.group.size:
            raise ValueError("the batch isn't divisible by the number of processes")
        self.device = codec.silence.device
        self.step_number, self.minutes, self.audio_seconds = 0, 0.0, 0.0
        self.skipped, self.smooth, self.best = 0, 0.0, float("inf")
        self.adversarial = settings.stage == "adversarial"
        codec.train().requires_grad_(True)
        codec.encoder.requires_grad_(not settings.decoder_only)
        for chain in (codec.decoder.postfilter, codec.decoder.sinusoids):  # fitted at release, not trained here
            chain.requires_grad_(False)
        if settings.bf16:
            _run_in_bf16(codec)
        low_bins = codec.config.edge_from(HIGHEST_HZ) if settings.low else 0
        loss = ReconstructionLoss(codec.config.sample_rate, codec.encoder.mdct, codec.encoder.energies, low_bins)
        self.loss = loss.to(self.device)
        self.codebooks = CodebookAverages(
            codec.quantizer.codebooks, counts, zero_first=bool(codec.quantizer.costs.any())
        )
        self.average = {name: parameter.detach().clone() for name, parameter in codec.named_parameters()}
        self.discriminator = self._new_discriminator()
        self.group.copy_first([*codec.state_dict().values(), *self.discriminator.state_dict().values()])
        self._build_optimizers()

    def _new_discriminator(self) -> Discriminator:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            discriminator = Discriminator(self.settings.discriminator_width if self.adversarial else 1)
            discriminator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
            return discriminator.to(self.device)

    def _build_optimizers(self) -> None:
        parameters = {name: value for name, value in self.codec.named_parameters() if value.requires_grad}
        roles = {name: _role(name, value) for name, value in parameters.items()}
        chosen = {
            role: [parameters[name] for name in parameters if roles[name] == role]
            for role in ("muon", "adam", "linear")
        }
        self.trained = list(parameters.values())
        self.muon = Muon(chosen["muon"], self.group)
        self.adam = torch.optim.AdamW(
            [{"params": chosen["adam"]}, {"params": chosen["linear"]}],
            lr=0.0,
            betas=BETAS,
            weight_decay=0.0,
            fused=True,
        )
        self.discriminator_optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), lr=0.0, betas=BETAS, weight_decay=0.0
        )

    @property
    def progress(self) -> float:
        """Completed fraction of the run, 0 to 1."""
        return self.settings.progress(self.step_number, self.minutes)

    def step(self) -> dict[str, float]:
        """Train on one batch and return its losses, the norm of the gradient and the learning rate's factor.

        Raises:
            RvqError: The loss diverges, or gradients stay infinite.
        """
        progress = self.progress
        factor = self.settings.rate_factor(self.step_number, progress)
        wave, n_layers = self._batch()
        if self.settings.codebooks_only:
            return self._step_codebooks(wave, n_layers, progress)
        output, quantized, commitment = self._forward(wave, n_layers)
        losses = self.loss(output, wave, self.step_number) | {"commitment": commitment}
        if self.adversarial:
            losses |= self._train_discriminator(output, wave, factor)
        total = torch.stack([getattr(self.settings, name) * value for name, value in losses.items()]).sum()
        total.backward()
        values = torch.stack([total.detach(), *(value.detach() for value in losses.values())])
        norm = self._averaged_gradients(values)
        if torch.isfinite(norm) and torch.isfinite(values).all():
            self._apply(factor, progress, quantized)
        self._check_divergence(float(values[0]), bool(torch.isfinite(norm)))
        for parameter in self.trained:
            parameter.grad = None
        self._count_step(wave)
        names = ("total", *losses, "gradient", "rate")
        return dict(zip(names, [*values.tolist(), float(norm), factor], strict=True))

    def _count_step(self, wave: Tensor) -> None:
        """Count a step on a batch of this process, [items, n_samples]."""
        self.step_number += 1
        self.audio_seconds += self.settings.batch * wave.shape[1] / self.codec.config.sample_rate

    @torch.no_grad()
    def _step_codebooks(self, wave: Tensor, n_layers: Tensor, progress: float) -> dict[str, float]:
        """Update only the codebooks and return the squared error per frame."""
        latent = self.codec.encoder(wave)
        quantized = quantize(self.codec.quantizer.codebooks, latent, n_layers, self.codec.quantizer.costs)
        error = (latent - quantized.total).square().sum(-1).mean()
        self.group.average_all([error])
        self._update_codebooks(progress, quantized)
        self._count_step(wave)
        return {"error": float(error)}

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return this process' part of the batch: crops [items, n_samples] and layer counts [items]."""
        items = self.settings.batch // self.group.size
        first = self.group.rank * items
        wave = torch.from_numpy(self.crops.batch(self.step_number, first, items)).to(self.device)
        n_layers = draw_layers(self.settings, self.step_number, self.codec.config.n_codebooks)[first : first + items]
        return wave, torch.from_numpy(n_layers).to(self.device)

    def _forward(self, wave: Tensor, n_layers: Tensor) -> tuple[Tensor, Quantized, Tensor]:
        with torch.set_grad_enabled(not self.settings.decoder_only):
            latent = self.codec.encoder(wave)
        quantized = quantize(self.codec.quantizer.codebooks, latent.detach(), n_layers, self.codec.quantizer.costs)
        straight_through = latent + (quantized.total - latent).detach()
        counts = n_layers[:, None].expand(latent.shape[:2])
        decoder, items = self.codec.decoder, torch.arange(len(wave), device=self.device)
        index = (self.step_number * len(wave) + items) * latent.shape[1]  # different noise in every step
        no_sinusoids = counts.new_zeros(len(wave), 0, latent.shape[1])
        spectrum = decoder.spectrum(straight_through, counts, counts > -1, index, no_sinusoids)
        if self.settings.low:
            spectrum = decoder.noise(decoder.compression(spectrum))
        output = decoder.mdct.inverse(spectrum.coefficients)
        return output, quantized, functional.mse_loss(latent, quantized.total)

    def _train_discriminator(self, output: Tensor, wave: Tensor, factor: float) -> dict[str, Tensor]:
        """Train the discriminator and return the decoder's adversarial losses."""
        loss = discriminator_loss(self.discriminator(wave), self.discriminator(output.detach()))
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        gradients = [value.grad for value in self.discriminator.parameters() if value.grad is not None]
        self.group.average_all(gradients)
        if all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
            self.discriminator_optimizer.param_groups[0]["lr"] = self.settings.discriminator_rate * factor
            self.discriminator_optimizer.step()
        self.discriminator.requires_grad_(False)
        losses = generator_losses(self.discriminator(wave), self.discriminator(output))
        self.discriminator.requires_grad_(True)
        return losses

    def _averaged_gradients(self, values: Tensor) -> Tensor:
        """Average gradients and `values` over the processes, clip the gradients, and return their norm before clipping."""
        gradients = [value.grad for value in self.trained if value.grad is not None]
        self.group.average_all([*gradients, values])
        norm = torch.nn.utils.get_total_norm(gradients)
        torch.nn.utils.clip_grads_with_norm_(self.trained, self.settings.clip, norm)
        return norm

    @torch.no_grad()
    def _apply(self, factor: float, progress: float, quantized: Quantized) -> None:
        self.muon.step(self.settings.muon_rate * factor)
        rates = (self.settings.adam_rate, self.settings.linear_rate)
        for options, rate in zip(self.adam.param_groups, rates, strict=True):
            options["lr"] = rate * factor
        self.adam.step()
        for name, parameter in self.codec.named_parameters():
            self.average[name].lerp_(parameter, 1 - self.settings.weights_decay)
        if not self.settings.decoder_only:
            self._update_codebooks(progress, quantized)

    def _update_codebooks(self, progress: float, quantized: Quantized) -> None:
        """Update the codebooks; during the decay of the learning rate without restarts and with slower averages."""
        decaying = progress > 1 - self.settings.decay_share
        decay = 1 - (1 - self.settings.codebook_decay) / (4 if decaying else 1)
        self.codebooks.update(quantized, decay, self.group)
        if not decaying and self.step_number % self.settings.restart_every == self.settings.restart_every - 1:
            self.codebooks.restart(quantized, self.group)

    def _check_divergence(self, loss: float, finite: bool) -> None:
        """Count skipped steps, and stop the run if the smoothed loss has doubled."""
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped > MOST_SKIPPED:
            raise RvqError(f"training diverged: {self.skipped} steps without finite gradients", hint="lower --rate")
        if finite:
            self.smooth = loss if self.step_number == 0 else self.smooth + 0.01 * (loss - self.smooth)
            self.best = min(self.best, self.smooth)
        if not self.adversarial and self.smooth > DIVERGED * self.best:
            raise RvqError(
                f"training diverged: the loss rose from {self.best:.3f} to {self.smooth:.3f}", hint="lower --rate"
            )

    def averaged_codec(self) -> Rvq48:
        """Return a copy of the codec with the moving average of the weights, for evaluation and export."""
        codec = Rvq48(self.codec.config).to(self.device)
        codec.load_state_dict({**self.codec.state_dict(), **self.average})
        codec.set_silence()
        return codec.requires_grad_(False).eval()

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state of the run at this step."""
        watch = {"skipped": self.skipped, "smooth": self.smooth, "best": self.best}
        run = {"step": self.step_number, "minutes": self.minutes, "audio_seconds": self.audio_seconds}
        return {
            "settings": self.settings.as_dict(),
            "config": self.codec.config.to_json(),
            "progress": run | watch,
            "codec": self.codec.state_dict(),
            "average": self.average,
            "optimizers": {
                "muon": self.muon.state_dict(),
                "adam": self.adam.state_dict(),
                "judge": self.discriminator_optimizer.state_dict(),
            },
            "codebooks": self.codebooks.state_dict(),
            "discriminator": self.discriminator.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state of a run of the same model and stage.

        Raises:
            ModelError: The model or the stage differs.
        """
        try:
            self.codec.load_state_dict(state["codec"])
            self.discriminator.load_state_dict(state["discriminator"])
            self.muon.load_state_dict(state["optimizers"]["muon"])
            self.adam.load_state_dict(state["optimizers"]["adam"])
            self.discriminator_optimizer.load_state_dict(state["optimizers"]["judge"])
            self.codebooks.load_state_dict(state["codebooks"])
            self.codebooks.zero_first = bool(self.codec.quantizer.costs.any())
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"the checkpoint doesn't fit this run: {error}") from error
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        run = state["progress"]
        self.step_number, self.minutes, self.audio_seconds = run["step"], run["minutes"], run["audio_seconds"]
        self.skipped, self.smooth, self.best = run["skipped"], run["smooth"], run["best"]


def draw_layers(settings: Settings, step: int, n_codebooks: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the layer counts of a step's batch (quantizer dropout): all with probability 0.4, else n with a probability ~ n^-0.5."""
    generator = np.random.default_rng([settings.seed, step, LAYER_STREAM])
    counts = np.arange(1, n_codebooks + 1)
    weights = counts**-0.5
    drawn = generator.choice(counts, settings.batch, p=weights / weights.sum())
    return np.where(generator.random(settings.batch) < ALL_LAYERS_PROBABILITY, n_codebooks, drawn).astype(np.int64)


def _role(name: str, parameter: Tensor) -> str:
    """Return the optimiser of a parameter: "linear" (AdamW, low rate), "muon" (matrices of the branches) or "adam" (others)."""
    if name in ("encoder.linear.weight", "decoder.linear.weight"):
        return "linear"
    table = name.endswith(("layers_scale.weight", "layers_shift.weight"))
    return "muon" if parameter.ndim == 2 and not table else "adam"


def _run_in_bf16(codec: Rvq48) -> None:
    """Run both branches under autocast; transforms, losses and quantizer stay in float32."""
    for side in (codec.encoder, codec.decoder):
        side.branch = _autocasted(side.branch, codec.silence.device.type)  # type: ignore[method-assign]


def _autocasted(branch: Callable[..., Any], device: str) -> Callable[..., Any]:
    def run(*inputs: Tensor) -> Any:
        with torch.autocast(device, torch.bfloat16):
            outputs = branch(*inputs)
        return tuple(map(Tensor.float, outputs)) if isinstance(outputs, tuple) else outputs.float()

    return run
