"""Where codes leave the waveform of a noise open, the network answers with one pattern in each frame: a buzz at the frame rate.

In decoded noise its lines at multiples of 50 Hz stand up to 28 dB over a hertz of what is around them, 10 dB above what noise masks. Bins
that repeat those of the frames before and after, though the linear path knows next to nothing of them, get a random sign, one for the
frame: within it the pattern stays, from frame to frame it is as likely opposed as not, and the lines are gone. What has a pitch is
left alone, and what the codes do know, such as a real tone at a multiple of 50 Hz. From 1 to 2.6 kHz on `finish` gives each bin a sign of
its own. No bit says anything of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.rvq48.config import BUZZ_REACH, CodecConfig
from rvqcodec.models.rvq48.enhance.noise_substitution import hash_bits
from rvqcodec.models.rvq48.enhance.smoothing import LOWEST_HZ as TOP_HZ
from rvqcodec.models.rvq48.enhance.smoothing import noise_share

LOWEST_HZ = 300
REPEATED, SAME = 0.4, 0.7
"""Correlations of a bin with itself a frame before from which on it counts as repeating, and as nothing but that."""
KNOWN = 0.3
"""Share of a bin's power in the linear path from which on the codes count as knowing it."""
SIGNS = 1 << 40
"""Where these signs begin among those of `finish.hash_bits`."""


class BuzzFilter(nn.Module):
    """Breaks the repetition in a calibrated model's noise, as far as its number of layers needs.

    Attributes:
        bins: Where, as a slice of a transform frame.
    """

    strength: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        strengths = torch.tensor((0, *config.buzz_strengths)) / 100
        self.register_buffer("strength", strengths if config.buzz_strengths else torch.empty(0), persistent=False)
        self.merge = config.merge
        self.bins = slice(config.edge_from(LOWEST_HZ), config.edge_from(TOP_HZ))

    @property
    def calibrated(self) -> bool:
        """Whether there is a strength for each number of layers, and a band to look at."""
        return len(self.strength) > 0 and self.bins.start < self.bins.stop

    def forward(
        self, coefficients: Tensor, linear: Tensor, correlation: Tensor, n_layers: Tensor, position: Tensor
    ) -> Tensor:
        """Return coefficients of the same shape.

        Args:
            coefficients: [batch, frames * merge, mdct_size].
            linear: Those of `bins` by the linear path alone, [batch, frames * merge, bins].
            correlation: Of neighbouring periods, [batch, pieces] of any number a frame (`pitch`).
            n_layers: int64 [batch, frames].
            position: Number of each item's first frame, int64 [batch].
        """
        share = noise_share(correlation, n_layers.shape[1]) * self.strength[n_layers]
        low = coefficients[..., self.bins].unflatten(1, (-1, self.merge))
        known = linear.unflatten(1, (-1, self.merge)).square().sum(2)
        change = share[..., None] * _buzz(low, known)
        opposed = hash_bits(position + SIGNS, n_layers.shape[1], 1)
        changed = low * (1 - change * 2 * opposed)[:, :, None]
        before, _, after = coefficients.tensor_split([self.bins.start, self.bins.stop], -1)
        return torch.cat([before, changed.flatten(1, 2), after], -1)


def _buzz(low: Tensor, known: Tensor) -> Tensor:
    """Return how far bins buzz, 0 to 1, [batch, frames, bins].

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
    size = 2 * BUZZ_REACH + 1
    return functional.avg_pool1d(x.transpose(1, 2), size, 1, BUZZ_REACH).transpose(1, 2)
