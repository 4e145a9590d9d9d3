"""Decorrelation: noise whose waveform codes leave open repeats itself from frame to frame, a buzz at the frame rate.

In decoded noise its lines at multiples of 50 Hz stand up to 28 dB over a hertz of what is around them, 10 dB above what noise masks. Bins
that repeat those of the frames before and after, though the linear path knows next to nothing of them, get a random sign, one for the
frame: within it the pattern stays, from frame to frame it is as likely opposed as not, and the lines are gone. What has a pitch is
left alone, and what the codes do know, such as a real tone at a multiple of 50 Hz.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.enhance.spectrum import Spectrum, hash_bits, noise_share
from rvqcodec.models.rvq48.transform import expand

LOWEST_HZ, HIGHEST_HZ = 300, 3_750
REACH = 2
"""Frames on each side that a bin is compared over."""
REPEATED, SAME = 0.4, 0.7
"""Correlations of a bin with itself a frame before from which on it counts as repeating, and as nothing but that."""
KNOWN = 0.3
"""Share of a bin's power in the linear path from which on the codes count as knowing it."""
SIGNS = 1 << 40
"""Where these signs begin among those of `hash_bits`."""


class Decorrelation(nn.Module):
    """Breaks the repetition in noise.

    Attributes:
        strength: For each number of layers of vectors, 0 when untrained, to 1, [n_codebooks + 1].
    """

    strength: Tensor
    reach = REACH + 1

    def __init__(self, config: Rvq48Config) -> None:
        super().__init__()
        self.merge = config.merge
        self.bins = slice(config.edge_from(LOWEST_HZ), config.edge_from(HIGHEST_HZ))
        self.register_buffer("strength", torch.zeros(config.n_codebooks + 1))

    def forward(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum with random signs for frames of bins that repeat themselves."""
        if self.bins.start == self.bins.stop:
            return spectrum
        n_frames = spectrum.n_layers.shape[1]
        share = noise_share(spectrum.pitch.correlation, n_frames) * self.strength[spectrum.n_layers]
        low = spectrum.coefficients[..., self.bins].unflatten(1, (-1, self.merge))
        linear = expand(spectrum.linear[..., self.bins].clamp(-8.0, 8.0))
        known = linear.unflatten(1, (-1, self.merge)).square().sum(2)
        change = share[..., None] * _repetition(low, known)
        opposed = hash_bits(spectrum.frame_index + SIGNS, n_frames, 1)
        changed = low * (1 - change * 2 * opposed)[:, :, None]
        before, _, after = spectrum.coefficients.tensor_split([self.bins.start, self.bins.stop], -1)
        mixed = torch.cat([before, changed.flatten(1, 2), after], -1)
        return spectrum.rescaled(mixed)


def _repetition(low: Tensor, known: Tensor) -> Tensor:
    """Return how far bins repeat themselves unknown to the codes, 0 to 1, [batch, frames, bins].

    Args:
        low: Coefficients [batch, frames, merge, bins].
        known: Power of the linear path, [batch, frames, bins].
    """
    repeated = functional.pad((low[:, 1:] * low[:, :-1]).sum(2), (0, 0, 1, 0))
    repeated, known, power = (_smooth(x) for x in (repeated, known, low.square().sum(2)))
    power = power + 1e-12
    share = ((repeated / power - REPEATED) / (SAME - REPEATED)).clamp(0.0, 1.0)
    return share * (1 - (known / (KNOWN * power)).clamp(max=1.0))


def _smooth(x: Tensor) -> Tensor:
    """Return means over the frames around, [batch, frames, bins]."""
    size = 2 * REACH + 1
    return functional.avg_pool1d(x.transpose(1, 2), size, 1, REACH).transpose(1, 2)
