"""SoundStream: causal convolutional encoder, residual vector quantizer and decoder.

All convolutions are causal and pad their input with zeros on the left, and the receptive field is finite. So a window that includes
`config.context` frames of preceding audio gives the same codes as the whole signal.

Source: Zeghidour et al. 2021 (SoundStream); residual units and groups as in Lyra v1.2.0 (google/lyra).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvqcodec.models.family import fingerprint
from rvqcodec.models.soundstream.config import SoundStreamConfig


class CausalConv(nn.Conv1d):
    """Causal convolution, [batch, width, steps] to [batch, out, steps / stride]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return activations [batch, out, steps / stride] of `x` [batch, width, steps]."""
        (kernel,), (stride,), (dilation,) = self.kernel_size, self.stride, self.dilation
        return super().forward(functional.pad(x, ((kernel - 1) * dilation + 1 - stride, 0)))


class CausalUpsampling(nn.ConvTranspose1d):
    """Transposed convolution, [batch, width, steps] to [batch, out, steps * stride], truncated on the right.

    Each input step contributes kernel / stride pieces of `stride` samples to its own and the following output steps. Computed as matrix
    products this takes 14 ms for 10 s of Lyra, against 31 ms as a convolution.
    """

    bias: Tensor

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return activations [batch, out, steps * stride] of `x` [batch, width, steps]."""
        (stride,), n_steps, groups = self.stride, x.shape[-1], self.groups
        weight = self.weight.unflatten(2, (-1, stride)).unflatten(0, (groups, -1))  # [groups, in, out, pieces, stride]
        pieces = weight.permute(3, 0, 2, 4, 1).flatten(2, 3)  # [pieces, groups, out * stride, in], both by group
        last = len(pieces) - 1
        padded = functional.pad(x, (last, 0)).unflatten(1, (groups, -1))  # [batch, groups, in, last + steps]
        y = sum(piece @ padded[..., last - i : last - i + n_steps] for i, piece in enumerate(pieces))
        y = y.flatten(1, 2).unflatten(1, (-1, stride))  # [batch, out, stride, steps]
        return y.transpose(2, 3).flatten(2) + self.bias[:, None]


class Pointwise(nn.Conv1d):
    """Pointwise (1 x 1) grouped convolution, [batch, width, steps] to [batch, out, steps].

    As a matrix product it rounds equally with one and two threads; the convolution selects other kernels (differences of 6e-6).
    """

    bias: Tensor

    def __init__(self, width: int, out: int, groups: int = 1) -> None:
        super().__init__(width, out, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations [batch, out, steps] of `x` [batch, width, steps]."""
        weight = self.weight.view(self.groups, -1, self.weight.shape[1])  # [groups, out / groups, width / groups]
        y = weight @ x.unflatten(1, (self.groups, -1))  # [batch, groups, out / groups, steps]
        return y.flatten(1, 2) + self.bias[:, None]


class Unit(nn.Module):
    """Residual unit: a dilated depthwise convolution and two pointwise layers."""

    def __init__(self, config: SoundStreamConfig, width: int, groups: int, dilation: int) -> None:
        super().__init__()
        self.act = nn.LeakyReLU(config.negative_slope)
        self.depthwise = CausalConv(width, width, config.kernel_size, dilation=dilation, groups=width, bias=False)
        self.pointwise = Pointwise(width, width)
        self.out = Pointwise(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return activations of the shape of `x` [batch, width, steps]."""
        return x + self.out(self.act(self.pointwise(self.depthwise(self.act(x)))))


def encoder(config: SoundStreamConfig) -> nn.Sequential:
    """Return the network from waves [batch, 1, frames * hop_length] to latents [batch, latent_dim, frames]."""
    strides, kernels, widths, groups = config.strides, config.kernels, config.widths, config.groups
    stages = [
        _layers(
            units=_units(config, i),  # [batch, widths[i], steps]
            act=nn.LeakyReLU(config.negative_slope, inplace=True),
            down=CausalConv(widths[i], widths[i + 1], kernels[i + 1], strides[i + 1], groups=groups[i]),
        )
        for i in range(len(groups))
    ]
    return _layers(
        first=CausalConv(1, widths[0], kernels[0], strides[0]),
        stages=nn.Sequential(*stages),
        act=nn.LeakyReLU(config.negative_slope, inplace=True),
        last=CausalConv(widths[-1], config.latent_dim, config.kernel_size, groups=groups[-1]),
    )


def decoder(config: SoundStreamConfig) -> nn.Sequential:
    """Return the network from latents [batch, latent_dim, frames] to waves [batch, 1, frames * hop_length]."""
    strides, kernels, widths, groups = config.strides, config.kernels, config.widths, config.groups
    stages = [
        _layers(
            act=nn.LeakyReLU(config.negative_slope, inplace=True),
            up=CausalUpsampling(widths[i + 1], widths[i], kernels[i + 1], strides[i + 1], groups=groups[i]),
            units=_units(config, i),  # [batch, widths[i], steps]
        )
        for i in reversed(range(len(groups)))
    ]
    return _layers(
        first=CausalConv(config.latent_dim, widths[-1], config.kernel_size, groups=groups[-1]),
        stages=nn.Sequential(*stages),
        act=nn.LeakyReLU(config.negative_slope, inplace=True),
        last=CausalUpsampling(widths[0], 1, kernels[0], strides[0]),
    )


def _units(config: SoundStreamConfig, stage: int) -> nn.Sequential:
    width, groups = config.widths[stage], config.groups[stage]
    return nn.Sequential(*(Unit(config, width, groups, dilation) for dilation in config.dilations))


def _layers(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


class Quantizer(nn.Module):
    """Residual vector quantizer with greedy search; codebooks are [n_layers, codebook_size, latent_dim]."""

    codebooks: Tensor

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(config.n_layers, config.codebook_size, config.latent_dim))

    def encode(self, latent: Tensor, n_layers: int) -> Tensor:
        """Return the codes [batch, n_layers, frames] of `latent` [batch, latent_dim, frames]: the nearest entry of each layer."""
        batch, _, n_frames = latent.shape
        residual = latent.transpose(1, 2).flatten(0, 1)  # [batch * frames, latent_dim]
        codes = torch.empty(n_layers, batch * n_frames, dtype=torch.int64, device=latent.device)
        for layer, codebook in enumerate(self.codebooks[:n_layers]):
            # |r - c|^2 without |r|^2, which is equal for all entries c; ties go to the first
            errors = torch.addmm(codebook.square().sum(1), residual, codebook.T, alpha=-2.0)
            codes[layer] = errors.argmin(1)
            residual = residual - codebook[codes[layer]]
        return codes.unflatten(1, (batch, n_frames)).transpose(0, 1)

    def decode(self, codes: Tensor, n_layers: Tensor) -> Tensor:
        """Return the latents [batch, latent_dim, frames]: sums of the entries of each frame's first `n_layers` [batch, frames]."""
        batch, depth, n_frames = codes.shape
        latent = self.codebooks.new_zeros(batch, n_frames, self.codebooks.shape[-1])
        for layer in range(depth):
            latent += self.codebooks[layer][codes[:, layer]] * (n_layers > layer)[..., None]
        return latent.transpose(1, 2)


class SoundStream(nn.Module):
    """A model of the family soundstream (`models.family.Family`).

    Args:
        config: The sizes of the model.
    """

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.traits = config.traits()
        self.encoder = encoder(config)
        self.quantizer = Quantizer(config)
        self.decoder = decoder(config)

    @property
    def fingerprint(self) -> str:
        """Identifies the meaning of codes: 16 hex digits of a hash of signal geometry and codebooks."""
        codebooks = self.quantizer.codebooks.detach().cpu().contiguous().numpy()
        return fingerprint(self.config.geometry(), codebooks.astype("<f4").tobytes())

    @torch.inference_mode()
    def encode(
        self, waves: Tensor, n_layers: int, beam_width: int, context: tuple[int, int] = (0, 0), state: None = None
    ) -> Tensor:
        """Return the codes [batch, n_layers, frames] of `waves` [batch, 1, n_samples]; the last frame is zero-padded (`Family`).

        The search is greedy for any `beam_width`, as in the reference encoder.
        """
        short = -waves.shape[-1] % self.config.hop_length
        latent = self.encoder(functional.pad(waves, (0, short)))
        return self.quantizer.encode(latent[..., context[0] : latent.shape[-1] - context[1]], n_layers)

    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        n_layers: Tensor,
        active: Tensor,
        frame_index: Tensor,
        context: tuple[int, int] = (0, 0),
        state: None = None,
    ) -> Tensor:
        """Return the waves [batch, 1, frames * hop_length] of `codes` [batch, layers, frames] (`Family`).

        Inactive frames have a latent of zeros, and their samples are set to zero.
        """
        waves = self.decoder(self.quantizer.decode(codes, n_layers * active))
        audible = active.repeat_interleave(self.config.hop_length, 1)[:, None]  # [batch, 1, samples]
        hop = self.config.hop_length
        return waves.masked_fill_(~audible, 0)[..., context[0] * hop : waves.shape[-1] - context[1] * hop]

    def start(self) -> None:
        """Return None: windows carry their context."""
