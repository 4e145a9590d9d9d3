"""ConvNeXt blocks in one dimension.

Source: Liu et al. 2022 (ConvNeXt), in one dimension as in Siuzdak 2023 (Vocos).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class DepthwiseConv(nn.Conv1d):
    """Depthwise convolution over time for activations [batch, frames, width].

    Computed as a channels-last 2-D convolution, which needs no copy: 0.06 ms instead of 1.4 ms for 870 x 256 on one core.
    """

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__(width, width, kernel_size, padding=kernel_size // 2, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolved activations [batch, frames, width]."""
        image = x.unsqueeze(1).permute(0, 3, 1, 2)
        y = functional.conv2d(
            image, self.weight.unsqueeze(2), self.bias, padding=(0, self.kernel_size[0] // 2), groups=self.groups
        )
        return y.permute(0, 2, 3, 1).squeeze(1)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm of each frame, an inverted bottleneck with GELU, LayerScale and a residual connection.

    The receptive field is finite, so a window with enough context gives the same activations as the whole signal.
    """

    def __init__(self, width: int, kernel_size: int, expansion: int, layer_scale: float = 0.1) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(width, kernel_size)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(self.narrow.weight.new_full((width,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of the shape of `x` [batch, frames, width]."""
        y = self.narrow(functional.gelu(self.widen(self.norm(self.depthwise(x)))))
        return x + self.scale * y


def convnext(n_blocks: int, width: int, kernel_size: int, expansion: int) -> nn.Sequential:
    """Return a sequence of `n_blocks` blocks; `width` channels, odd `kernel_size`, bottleneck `expansion` times as wide."""
    return nn.Sequential(*(ConvNeXtBlock(width, kernel_size, expansion) for _ in range(n_blocks)))
