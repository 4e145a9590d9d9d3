"""Made-up spectra for the steps of the decoder's chain."""

from __future__ import annotations

import torch

from rvqcodec.models.rvq48.enhance.spectrum import Spectrum
from rvqcodec.models.rvq48.pitch import PitchAnalysis
from rvqcodec.models.rvq48.transform import BandEnergies


def make_spectrum(config, coefficients, correlation=0.0, n_layers=2, frame_index=7, linear=None):
    """Return a spectrum of coefficients [1, frames * merge, mdct_size], of a wave with this pitch correlation."""
    energies = BandEnergies(config.band_edges, config.merge)
    n_frames = coefficients.shape[1] // config.merge
    pieces = torch.full((1, 4 * n_frames), correlation)
    low = torch.zeros(1, n_frames * config.hop_length * 8000 // config.sample_rate)
    analysis = PitchAnalysis(low, torch.full_like(pieces, 60.0), pieces)
    return Spectrum(
        coefficients=coefficients,
        envelope=energies(coefficients),
        linear=torch.zeros_like(coefficients) if linear is None else linear,
        latent=torch.zeros(1, n_frames, config.latent_dim),
        n_layers=torch.full((1, n_frames), n_layers),
        active=torch.ones(1, n_frames, dtype=torch.bool),
        frame_index=torch.tensor([frame_index]),
        sinusoids=torch.zeros(1, 0, n_frames, dtype=torch.int64),
        energies=energies,
        analyse=lambda coefficients, active: analysis,
    )


def some_spectrum(config, n_frames=40, seed=0, **known):
    """Return a spectrum of noise."""
    shape = (1, n_frames * config.merge, config.mdct_size)
    coefficients = 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return make_spectrum(config, coefficients, **known)
