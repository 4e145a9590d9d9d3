"""Made-up families beside the real ones: one that carries state, and one whose streams have two channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from rvqcodec.models.family import Traits
from rvqcodec.signal import LayerGroup

HOP, FRAMES = 8, 10


@dataclass
class Memory:
    """What a stream remembers: samples before the next one to code, and latents before the next frame to decode."""

    samples: torch.Tensor
    latents: torch.Tensor


class Echo(nn.Module):
    """A causal convolution, two layers of scalar quantizers, and a causal convolution back, all with carried state."""

    KERNEL, LATENTS = 3 * HOP, 3

    def __init__(self, seed: int = 0, fingerprint: str = "00000000000000ec") -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.fingerprint, self.n_calls = fingerprint, 0
        self.down = nn.Parameter(torch.randn(1, 1, self.KERNEL, generator=generator) * 0.3, requires_grad=False)
        self.up = nn.Parameter(torch.randn(HOP, 1, self.LATENTS, generator=generator), requires_grad=False)
        self.traits = Traits(
            sample_rate=HOP * FRAMES,
            hop_length=HOP,
            frames_per_block=FRAMES,
            block_step=HOP * FRAMES,
            window_blocks=2,
            groups=(LayerGroup(n_layers=2, codebook_size=16),),
            default_layers=2,
        )

    def start(self) -> Memory:
        """Return the state at the start of a stream."""
        return Memory(torch.zeros(1, 1, self.KERNEL - HOP), torch.zeros(1, 1, self.LATENTS - 1))

    def encode(self, waves, n_layers, beam_width, context=(0, 0), state=None):
        """Return codes; each depends on all samples of the frame and of two frames before."""
        assert context == (0, 0) and len(waves) == 1
        self.n_calls += 1
        whole = functional.pad(waves, (0, -waves.shape[-1] % HOP))
        known = torch.cat([state.samples, whole], -1)
        state.samples = known[..., known.shape[-1] - (self.KERNEL - HOP) :]
        latent = torch.tanh(functional.conv1d(known, self.down, stride=HOP)[:, 0])
        coarse = ((latent + 1) * 7.999).long()
        fine = (((latent + 1) * 7.999 - coarse) * 15.999).long()
        return torch.stack([coarse, fine][:n_layers], 1)

    def decode(self, codes, n_layers, active, frame_index, context=(0, 0), state=None):
        """Return waves; each frame depends on the codes of two frames before."""
        assert context == (0, 0) and len(codes) == 1
        self.n_calls += 1
        sizes = torch.tensor([1 / 8, 1 / 128])[: codes.shape[1], None]
        counted = torch.arange(codes.shape[1])[:, None] < n_layers[:, None]
        latent = (codes * sizes * counted).sum(1) * active
        known = torch.cat([state.latents, latent[:, None]], -1)
        state.latents = known[..., known.shape[-1] - (self.LATENTS - 1) :]
        waves = functional.conv1d(known, self.up) * active[:, None]
        return waves.transpose(1, 2).flatten(1)[:, None]


class Pairs(nn.Module):
    """Codes the mean of each frame of each of two channels; frames of a file are a multiple of two."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprint = "0000000000000022"
        self.register_buffer("steps", torch.tensor(127.0))
        self.traits = Traits(
            sample_rate=HOP * FRAMES,
            hop_length=HOP,
            frames_per_block=FRAMES,
            frame_multiple=2,
            block_step=HOP * FRAMES,
            window_blocks=2,
            groups=(LayerGroup(n_layers=2, codebook_size=256),),
            default_layers=2,
            channels_per_stream=2,
            encoder_context=(0, 0),
            decoder_context=(0, 0),
            scalable=False,
        )

    def encode(self, waves, n_layers, beam_width, context=(0, 0), state=None):
        """Return a code for each channel's mean, 128 for none."""
        assert waves.shape[1] == 2 and state is None
        whole = functional.pad(waves, (0, -waves.shape[-1] % (2 * HOP)))
        means = whole.unflatten(-1, (-1, HOP)).mean(-1)
        return (means.clamp(-1, 1) * self.steps + 128).round().long()[:, :n_layers]

    def decode(self, codes, n_layers, active, frame_index, context=(0, 0), state=None):
        """Return the means; the second channel is a little louder than it was coded."""
        means = (codes - 128) / self.steps * torch.tensor([[1.0], [1.1]])
        return (means * active[:, None]).repeat_interleave(HOP, -1)
