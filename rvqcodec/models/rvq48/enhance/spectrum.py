"""A decoded spectrum on its way through the chain, and the promise of a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rvqcodec.models.rvq48.pitch import PitchAnalysis
from rvqcodec.models.rvq48.transform import BandEnergies


@dataclass(slots=True, kw_only=True)
class Spectrum:
    """What the network made of a latent, and what steps may need to know.

    Args:
        coefficients: [batch, frames * merge, mdct_size], their bands at the loudness that `envelope` says.
        envelope: Log band energies, [batch, frames, bands].
        linear: Companded coefficients of the linear path alone, [batch, frames * merge, mdct_size].
        latent: Sums of codebook entries, [batch, frames, latent_dim].
        n_layers: Layers of vectors that each frame was quantized with, int64 [batch, frames].
        active: False for frames without codes, bool [batch, frames].
        frame_index: Number of each item's first frame, int64 [batch].
        sinusoids: Codes of the layers of sinusoids, 0 where there is none, int64 [batch, layers, frames].
        energies: Of the model.
        analyse: Returns the pitch analysis of coefficients.
        analysis: The pitch analysis, once it was asked for.
    """

    coefficients: Tensor
    envelope: Tensor
    linear: Tensor
    latent: Tensor
    n_layers: Tensor
    active: Tensor
    frame_index: Tensor
    sinusoids: Tensor
    energies: BandEnergies
    analyse: Callable[[Tensor, Tensor], PitchAnalysis]
    analysis: PitchAnalysis | None = None

    @property
    def pitch(self) -> PitchAnalysis:
        """The pitch analysis of the wave, as it was when a step first asked for it."""
        if self.analysis is None:
            self.analysis = self.analyse(self.coefficients, self.active)
        return self.analysis

    def changed(self, coefficients: Tensor) -> Spectrum:
        """Return the spectrum with other coefficients, as they are."""
        return dataclasses.replace(self, coefficients=coefficients)

    def rescaled(self, coefficients: Tensor, envelope: Tensor | None = None) -> Spectrum:
        """Return the spectrum with other coefficients, brought to the loudness of the envelope, or of a new one."""
        loudness = self.envelope if envelope is None else envelope
        return dataclasses.replace(self, coefficients=self.energies.rescale(coefficients, loudness), envelope=loudness)


class Step(Protocol):
    """One step of the chain: a module whose strengths are tensors in the weights, neutral when untrained.

    Attributes:
        reach: Frames on each side that a frame depends on, the pitch analysis not counted.
    """

    reach: int

    def __call__(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum, changed."""
        ...


MULTIPLIERS = (-7046029254386353131, -4658895280553007687, -7723592293110705685)


def hash_bits(frame_index: Tensor, n_frames: int, size: int) -> Tensor:
    """Return random bits, bool [batch, n_frames, size], that depend on the absolute place alone.

    Args:
        frame_index: Number of each item's first frame, int64 [batch].
        n_frames: Frames.
        size: Bits of a frame.

    Source: Steele, Lea and Flood 2014 (SplitMix64's finalizer).
    """
    place = frame_index[:, None] + torch.arange(n_frames, device=frame_index.device)
    value = (place[..., None] * size + torch.arange(size, device=frame_index.device)) * MULTIPLIERS[0]
    for shift, multiplier in zip((30, 27), MULTIPLIERS[1:], strict=True):
        value = (value ^ (value >> shift)) * multiplier
    return value < 0


NOISE, VOICED = 0.4, 0.7
"""Correlations of neighbouring periods up to which a frame counts as noise, and from which on as voiced."""


def noise_share(correlation: Tensor, n_frames: int) -> Tensor:
    """Return how far frames are noise, 0 to 1, [batch, n_frames], of correlations of neighbouring periods [batch, pieces]."""
    frames = correlation.unflatten(1, (n_frames, -1)).mean(-1)
    return ((VOICED - frames) / (VOICED - NOISE)).clamp(0.0, 1.0)
