"""The spectrum that passes through the enhancement chain, the interface of its steps, and their shared signal analysis."""

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
    """The network's spectrum, with the side information that steps use.

    Args:
        coefficients: MDCT, [batch, frames * merge, mdct_size], with the band energies of `envelope`.
        envelope: Log band energies, [batch, frames, bands].
        linear: Companded coefficients of the linear path alone, [batch, frames * merge, mdct_size].
        latent: Sums of codebook entries, [batch, frames, latent_dim].
        n_layers: Vector layers that each frame was quantized with, int64 [batch, frames].
        active: False for frames without codes, bool [batch, frames].
        frame_index: Absolute index of each item's first frame, int64 [batch].
        sinusoids: Codes of the sinusoid layers, 0: none, int64 [batch, layers, frames].
        energies: Band energies of the model.
        analyse: Computes the pitch analysis of coefficients and `active`.
        analysis: Cached pitch analysis.
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
        """The pitch analysis, computed from the spectrum of the first step that needs it and reused by the later ones."""
        if self.analysis is None:
            self.analysis = self.analyse(self.coefficients, self.active)
        return self.analysis

    def changed(self, coefficients: Tensor) -> Spectrum:
        """Return the spectrum with other coefficients [batch, frames * merge, mdct_size], without rescaling."""
        return dataclasses.replace(self, coefficients=coefficients)

    def rescaled(self, coefficients: Tensor, envelope: Tensor | None = None) -> Spectrum:
        """Return the spectrum with other coefficients, rescaled to the energies of its envelope or a new one [batch, frames, bands]."""
        target = self.envelope if envelope is None else envelope
        return dataclasses.replace(self, coefficients=self.energies.rescale(coefficients, target), envelope=target)


class Step(Protocol):
    """A step of the enhancement chain: a module whose strengths are tensors of the weights, neutral when untrained.

    Attributes:
        reach: Receptive field on each side in frames, pitch analysis excluded.
    """

    reach: int

    def __call__(self, spectrum: Spectrum) -> Spectrum:
        """Return the enhanced spectrum."""
        ...


MULTIPLIERS = (-7046029254386353131, -4658895280553007687, -7723592293110705685)


def hash_bits(frame_index: Tensor, n_frames: int, size: int) -> Tensor:
    """Return pseudo-random bits, bool [batch, n_frames, size], which depend on the absolute position only.

    Args:
        frame_index: Absolute index of each item's first frame, int64 [batch].
        n_frames: Frames.
        size: Bits per frame.

    Source: Steele, Lea and Flood 2014 (SplitMix64's finalizer).
    """
    index = frame_index[:, None] + torch.arange(n_frames, device=frame_index.device)
    value = (index[..., None] * size + torch.arange(size, device=frame_index.device)) * MULTIPLIERS[0]
    for shift, multiplier in zip((30, 27), MULTIPLIERS[1:], strict=True):
        value = (value ^ (value >> shift)) * multiplier
    return value < 0


APERIODIC, PERIODIC = 0.4, 0.7
"""Pitch correlations below which a frame is fully aperiodic, and above which it is fully periodic."""


def aperiodicity(correlation: Tensor, n_frames: int) -> Tensor:
    """Return the aperiodicity of frames, 0 to 1, [batch, n_frames].

    Args:
        correlation: Of adjacent pitch periods, [batch, subframes] (`pitch.PitchAnalysis`).
        n_frames: Frames, a divisor of the subframes.
    """
    frames = correlation.unflatten(1, (n_frames, -1)).mean(-1)
    return ((PERIODIC - frames) / (PERIODIC - APERIODIC)).clamp(0.0, 1.0)
