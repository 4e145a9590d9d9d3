"""Reconstruction losses: multi-scale log-mel spectra, power-compressed complex spectra, band energies and waveform.

Source: Yamamoto et al. 2020 (multi-resolution STFT loss); Ephrat et al. 2018 (power-law compressed spectra).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.enhance.compression import LOW_HZ
from rvqcodec.models.rvq48.transform import MDCT, BandEnergies

MELS = {2048: 160, 1024: 120, 512: 80, 256: 40, 128: 20, 64: 10}
FIXED_SCALES, OTHER_SCALES = (2048, 512), (1024, 256, 128, 64)
MEL_FLOOR = 1e-5
COMPRESSION = 0.3
COMPRESSION_FLOOR = 1e-7
COMPLEX_FULL_HZ, COMPLEX_NONE_HZ = 2_000.0, 10_000.0
PRODUCT_UP_TO = 128
EDGE = 480
LOW_SIZES, LOW_FLOOR, LOW_COMPLEX, LOW_MAGNITUDE = (256, 64), 1e-2, 2.0, 10.0
QUIET, NOISE_FLOOR = 1e-3, 1e-9


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A short-time spectrum in two real tensors [batch, frames, bins]; white noise of RMS r has magnitudes around r."""

    real: Tensor
    imaginary: Tensor

    def magnitude(self) -> Tensor:
        """Return the magnitudes, with a floor that keeps the gradient finite."""
        return torch.sqrt(self.real.square() + self.imaginary.square() + 1e-12)

    def compressed(self, n_bins: int) -> tuple[Tensor, Tensor]:
        """Return the first bins, real and imaginary, with magnitudes raised to the power 0.3 and phases unchanged."""
        real, imaginary = self.real[..., :n_bins], self.imaginary[..., :n_bins]
        gain = (real.square() + imaginary.square() + COMPRESSION_FLOOR) ** ((COMPRESSION - 1) / 2)
        return real * gain, imaginary * gain


class ShortTimeSpectrum(nn.Module):
    """STFT with a Hann window and 75 % overlap; short windows are computed as matrix products, which is faster."""

    window: Tensor
    basis: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        window = torch.hann_window(size, dtype=torch.float64, device="cpu")
        window = window / window.square().sum().sqrt()
        angle = (
            2 * math.pi / size * torch.arange(size, device="cpu")[:, None] * torch.arange(size // 2 + 1, device="cpu")
        )
        basis = torch.cat([torch.cos(angle), -torch.sin(angle)], 1) * window[:, None]
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("basis", basis.float() if size <= PRODUCT_UP_TO else torch.empty(0), persistent=False)

    def forward(self, wave: Tensor) -> Spectrum:
        """Return the spectrum of `wave` [batch, n_samples], without padding."""
        if self.size <= PRODUCT_UP_TO:
            parts = wave.unfold(-1, self.size, self.size // 4) @ self.basis
            return Spectrum(*parts.chunk(2, -1))
        spectrum = torch.stft(wave, self.size, self.size // 4, window=self.window, center=False, return_complex=True)
        return Spectrum(spectrum.real.transpose(1, 2), spectrum.imag.transpose(1, 2))


def mel_filters(n_mels: int, size: int, sample_rate: int) -> Tensor:
    """Return triangular filters [bins, n_mels] on the HTK mel scale, each summing to 1 and at least two bins wide."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64, device="cpu") / 2595) - 1)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64, device="cpu") * sample_rate / size
    width = sample_rate / size
    low = torch.minimum(edges[:-2], edges[1:-1] - width)
    high = torch.maximum(edges[2:], edges[1:-1] + width)
    rise = (bins[:, None] - low) / (edges[1:-1] - low)
    fall = (high - bins[:, None]) / (high - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    return (filters / filters.sum(0)).float()


class LowLoss(nn.Module):
    """Spectral loss on critically resampled low frequencies: compressed complex spectra, and log magnitudes of single bins.

    Above about 1 kHz mel bands are wider than the spacing of a voice's harmonics; this loss resolves them. It is the only one so far with
    which training a decoder further improves PESQ-WB and Zimtohrli.

    Args:
        n_low: Coefficients per transform frame.
    """

    def __init__(self, n_low: int) -> None:
        super().__init__()
        self.mdct = MDCT(n_low)
        self.spectra = nn.ModuleList(ShortTimeSpectrum(size) for size in LOW_SIZES)

    def forward(self, ours: Tensor, theirs: Tensor, edge: int) -> Tensor:
        """Return the loss, a scalar, between coefficients [batch, transform frames, n_low], ignoring `edge` frames at each end."""
        first = edge * self.mdct.size
        waves = [self.mdct.inverse(x)[:, first:-first] for x in (ours, theirs)]
        losses = []
        for spectrum in self.spectra:
            a, b = (spectrum(wave) for wave in waves)
            pairs = zip(*(x.compressed(x.real.shape[-1]) for x in (a, b)), strict=True)
            complexes = torch.stack([functional.l1_loss(x, y) for x, y in pairs]).sum()
            magnitudes = (torch.log10(a.magnitude() + LOW_FLOOR) - torch.log10(b.magnitude() + LOW_FLOOR)).abs().mean()
            losses.append(LOW_COMPLEX * complexes + LOW_MAGNITUDE * magnitudes)
        return torch.stack(losses).mean()


class ReconstructionLoss(nn.Module):
    """The reconstruction losses of one step, each a mean over the batch.

    Args:
        sample_rate: Of the waves, Hz.
        mdct: Transform for the band energies.
        energies: Band energies.
        low_bins: Coefficients of `LowLoss`; 0 disables it.
    """

    def __init__(self, sample_rate: int, mdct: MDCT, energies: BandEnergies, low_bins: int = 0) -> None:
        super().__init__()
        self.mdct, self.energies = mdct, energies
        self.low = LowLoss(low_bins) if low_bins else None
        self.n_low = round(2 * mdct.size * LOW_HZ / sample_rate)
        self.spectra = nn.ModuleDict({str(size): ShortTimeSpectrum(size) for size in MELS})
        for size, n_mels in MELS.items():
            self.register_buffer(f"mel_{size}", mel_filters(n_mels, size, sample_rate), persistent=False)
            self.register_buffer(f"weight_{size}", _complex_weights(size, sample_rate), persistent=False)

    def forward(self, output: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        """Return "mel", "stft", "energies", "waveform" and, if enabled, "low", scalars, of two waves [batch, n_samples].

        Windows of 2048 and 512 are used in every step, the others in turn.
        """
        other = OTHER_SCALES[step % len(OTHER_SCALES)]
        ours, theirs = self.mdct(output), self.mdct(target)
        energy = functional.l1_loss(self.energies(ours), self.energies(theirs))
        waveform = self.noise_to_signal(ours, theirs)
        low = self._low(ours, theirs)
        output, target = output[:, EDGE:-EDGE], target[:, EDGE:-EDGE]
        mels, complexes = [], []
        for size in (*FIXED_SCALES, other):
            spectrum = self.spectra[str(size)]
            ours, theirs = spectrum(output), spectrum(target)
            mels.append(functional.l1_loss(self._log_mel(ours, size), self._log_mel(theirs, size)))
            if size in FIXED_SCALES:
                complexes.append(self._complex(ours, theirs, size))
        return {
            "mel": torch.stack(mels).mean(),
            "stft": torch.stack(complexes).mean(),
            "energies": energy,
            "waveform": waveform,
        } | low

    def noise_to_signal(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """Return the mean over latent frames of the noise-to-signal ratio of coefficients [batch, frames * merge, size].

        Computed below 2.6 kHz, as log10(1 + 1000 ratio).
        """
        low = [x[..., : self.n_low].unflatten(1, (-1, self.energies.merge)) for x in (ours - theirs, theirs)]
        noise, signal = (x.square().sum((-2, -1)) for x in low)
        ratio = noise / (signal + QUIET * signal.mean(1, keepdim=True) + NOISE_FLOOR)
        return torch.log10(1 + ratio / QUIET).mean()

    def _low(self, ours: Tensor, theirs: Tensor) -> dict[str, Tensor]:
        if self.low is None:
            return {}
        n_low = self.low.mdct.size
        return {"low": self.low(ours[..., :n_low], theirs[..., :n_low], -(-EDGE // self.mdct.size))}

    def mel_distance(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean over all six scales of the L1 distance of log10 mel spectra of waves [batch, n_samples], for evaluation."""
        distances = [
            functional.l1_loss(self._log_mel(spectrum(output), size), self._log_mel(spectrum(target), size))
            for size, spectrum in zip(MELS, self.spectra.values(), strict=True)
        ]
        return torch.stack(distances).mean()

    def _log_mel(self, spectrum: Spectrum, size: int) -> Tensor:
        return torch.log10((spectrum.magnitude() @ self.get_buffer(f"mel_{size}")).clamp(min=MEL_FLOOR))

    def _complex(self, ours: Spectrum, theirs: Spectrum, size: int) -> Tensor:
        weights = self.get_buffer(f"weight_{size}")
        pairs = zip(ours.compressed(len(weights)), theirs.compressed(len(weights)), strict=True)
        return torch.stack([((a - b).abs() * weights).mean() for a, b in pairs]).sum()


def _complex_weights(size: int, sample_rate: int) -> Tensor:
    """Return the weights of the bins below 10 kHz: 1 up to 2 kHz, then decreasing linearly to 0."""
    hertz = torch.arange(size // 2 + 1, device="cpu") * (sample_rate / size)
    weights = ((COMPLEX_NONE_HZ - hertz) / (COMPLEX_NONE_HZ - COMPLEX_FULL_HZ)).clamp(0, 1)
    return weights[weights > 0]
