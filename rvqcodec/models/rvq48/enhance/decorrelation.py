"""Interframe decorrelation: random sign flips, one per frame and bin, of noise-like bins that repeat from frame to frame.

Where codes leave the waveform undetermined, the network outputs similar coefficients in every frame, which adds spectral lines at
multiples of the frame rate (50 Hz), up to 28 dB above the noise density and 10 dB above the masking threshold. Bins that correlate with
the neighbouring frames, although the linear path has little power in them, are flipped at random: the fine structure within a frame
stays, and the correlation across frames vanishes. Periodic frames and coded components, such as a tone at a multiple of 50 Hz, are
unaffected.

Source: after Herre and Schultz 1998 (perceptual noise substitution).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum, aperiodicity, hash_bits
from rvqcodec.models.rvq48.transform import expand

LOWEST_HZ, HIGHEST_HZ = 300, 3_750
REACH = 2
"""Half-width in frames of the averages over which correlations are measured."""
REPEATED, IDENTICAL = 0.4, 0.7
"""Interframe correlations of a bin at which sign flips begin, and reach full strength."""
CODED = 0.3
"""Power of the linear path relative to a bin's at which the bin is fully determined by codes."""
HASH_OFFSET = 1 << 40
"""Offset of the frame index, so that these signs are independent of those of noise substitution."""


class Decorrelation(nn.Module):
    """Flips the signs of repetitive noise-like bins between 300 and 3750 Hz.

    Attributes:
        strength: By number of vector layers, 0 to 1; 0 when untrained, [n_codebooks + 1].
    """

    strength: Tensor
    reach = REACH + 1

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge = config.merge
        self.bins = slice(config.edge_from(LOWEST_HZ), config.edge_from(HIGHEST_HZ))
        self.register_buffer("strength", torch.zeros(config.n_codebooks + 1))

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with decorrelated frames."""
        if self.bins.start == self.bins.stop:
            return spectrum
        n_frames = spectrum.n_layers.shape[1]
        noise = aperiodicity(spectrum.pitch.correlation, n_frames) * self.strength[spectrum.n_layers]
        low = spectrum.coefficients[..., self.bins].unflatten(1, (-1, self.merge))
        linear = expand(spectrum.linear[..., self.bins].clamp(-8.0, 8.0))
        coded = linear.unflatten(1, (-1, self.merge)).square().sum(2)
        change = noise[..., None] * _repetition(low, coded)
        flipped = hash_bits(spectrum.frame_index + HASH_OFFSET, n_frames, 1)
        changed = low * (1 - change * 2 * flipped)[:, :, None]
        before, _, after = spectrum.coefficients.tensor_split([self.bins.start, self.bins.stop], -1)
        mixed = torch.cat([before, changed.flatten(1, 2), after], -1)
        return spectrum.rescaled(mixed)


def _repetition(low: Tensor, coded: Tensor) -> Tensor:
    """Return the degree to which bins repeat without being determined by codes, 0 to 1, [batch, frames, bins].

    Args:
        low: Coefficients [batch, frames, merge, bins].
        coded: Power of the linear path, [batch, frames, bins].
    """
    repeated = functional.pad((low[:, 1:] * low[:, :-1]).sum(2), (0, 0, 1, 0))
    repeated, coded, power = (_smooth(x) for x in (repeated, coded, low.square().sum(2)))
    power = power + 1e-12
    repetition = ((repeated / power - REPEATED) / (IDENTICAL - REPEATED)).clamp(0.0, 1.0)
    return repetition * (1 - (coded / (CODED * power)).clamp(max=1.0))


def _smooth(x: Tensor) -> Tensor:
    """Return moving averages over 2 REACH + 1 frames, [batch, frames, bins]."""
    size = 2 * REACH + 1
    return functional.avg_pool1d(x.transpose(1, 2), size, 1, REACH).transpose(1, 2)
