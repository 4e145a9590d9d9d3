"""Settings of a training run: stage, length, optimisation and loss weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

STAGES = ("kmeans", "codebooks", "joint", "decoder", "adversarial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run, stored in its checkpoint.

    Args:
        stage: "kmeans" (initialisation only), "codebooks" (with frozen networks), "joint" (everything), "decoder" (only the decoder:
            existing files stay valid) or "adversarial" (decoder and discriminator).
        steps: Length of the run in steps, or 0 if `minutes` is given.
        minutes: Length of the run in minutes of training, or 0 if `steps` is given.
        batch: Crops per step, over all processes.
        crop_s: Length of a crop in whole frames, s.
        seed: Of crops, layer counts and loss scales, which are functions of seed and step.
        rate: Factor on all learning rates; below 1 to fine-tune trained weights.
        warmup: Steps of rising learning rate.
        decay_share: Final fraction of the run in which the learning rate decays to zero.
        weights_decay: Decay per step of the moving average of the weights.
        codebook_decay: Decay per step of the moving averages of the codebooks.
        restart_every: Steps between restarts of dead codes.
        bf16: Run the branches in bfloat16.
        discriminator_width: Channels of the discriminators.
        mel, stft, energies, waveform, low, commitment, adversarial, features: Weights of the losses. With `low` above 0 (about 1 with a
            `waveform` of 0.3), magnitude compression and noise substitution are applied before the losses, as in the decoder.
    """

    stage: str = "joint"
    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    crop_s: float = 1.0
    seed: int = 0
    rate: float = 1.0
    warmup: int = 300
    decay_share: float = 0.2
    weights_decay: float = 0.999
    codebook_decay: float = 0.99
    restart_every: int = 50
    bf16: bool = True
    discriminator_width: int = 16
    muon_rate: float = 0.01
    adam_rate: float = 1e-3
    linear_rate: float = 1e-4
    discriminator_rate: float = 3e-4
    clip: float = 10.0
    mel: float = 10.0
    stft: float = 5.0
    energies: float = 5.0
    waveform: float = 0.0
    low: float = 0.0
    commitment: float = 1.0
    adversarial: float = 0.5
    features: float = 1.0

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"the stage is one of {', '.join(STAGES)}")
        if (self.steps > 0) == (self.minutes > 0):
            raise ValueError("a run has a length in steps or in minutes")
        if self.batch < 1 or not 0 < self.rate <= 10 or not 0 <= self.decay_share <= 1:
            raise ValueError("batch, rate or decay_share is out of range")

    @property
    def codebooks_only(self) -> bool:
        """Whether the networks are frozen."""
        return self.stage == "codebooks"

    @property
    def decoder_only(self) -> bool:
        """Whether encoder and codebooks are frozen."""
        return self.stage in ("decoder", "adversarial")

    def progress(self, step: int, minutes: float) -> float:
        """Return the completed fraction of the run, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else minutes / self.minutes)

    def rate_factor(self, step: int, progress: float) -> float:
        """Return the factor on the learning rates: warm-up, constant, then linear decay to zero."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        fall = min(1.0, (1.0 - progress) / self.decay_share) if self.decay_share else 1.0
        return self.rate * rise * fall

    def as_dict(self) -> dict[str, str | int | float | bool]:
        """Return the settings as plain values."""
        return dataclasses.asdict(self)
