#!/usr/bin/env python3
"""Prototype: a core codec of 0 to 8 kHz (SoundStream's shape, starting from Lyra v1.2.0's published weights), trained adversarially; band energies above 8 kHz are part of the same latent.

    core.py start LYRA.safetensors CORPUS START.pt     Lyra's networks (as `rvq models import` stores them), codebooks by k-means on the corpus' latents
    core.py run CORPUS --out RUN.pt --start START.pt   trains; resumes RUN.pt where it is there
    core.py export RUN.pt FILE.safetensors             averaged weights, codebooks and discriminator, float16
    core.py load FILE.safetensors START.pt             the other way round: what a run starts from
    core.py decode RUN.pt FOLDER CLIP...               averaged weights, at several numbers of layers
"""

import argparse, fcntl, json, math, os, sys, time
from pathlib import Path

import numpy as np
import soundfile, soxr
import torch
from torch import nn
from torch.nn import functional

from rvqcodec.models.rvq48.transform import MDCT
from rvqcodec.training.train.codebooks import CodebookAverages, kmeans_start, quantize
from rvqcodec.training.corpus.corpus import open_corpus
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.train.parallel import join, leave, Group

STRIDES, KERNELS, DILATIONS = (16, 5, 2, 2), (64, 10, 4, 4), (1, 3, 9)
LYRA_WIDTHS, LYRA_GROUPS, LYRA_DIM = (64, 128, 256, 512), (1, 2, 4), 64
ENCODER, DECODER = (64, 128, 256, 512), (128, 192, 320, 512)
AHEAD = (2, 2, 0)  # taps of the depthwise convolutions that look ahead, by stage
SLOPE, DIM, HOP = 0.3, 96, 320
LATER_STD = 0.5  # of the latent's numbers that Lyra doesn't have, at the start; Lyra's have 4.2
N_LAYERS, ENTRIES = 22, 1024
HIGH_EDGES = (107, 122, 140, 160, 183, 210, 240, 275, 320)  # MDCT bins of 75 Hz: 8 to 24 kHz in eight bands
HIGH_SCALE = 1.7


class Strided(nn.Module):
    """Causal strided convolution [batch, steps, in] -> [batch, steps / stride, out]."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight, self.bias = nn.Parameter(torch.empty(n_out, n_in, kernel)), nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        windows = functional.pad(x, (0, 0, self.kernel - self.stride, 0)).unfold(1, self.kernel, self.stride)  # [b, t, in, k]
        return functional.linear(windows.flatten(2), self.weight.flatten(1), self.bias)


class Upsampling(nn.Module):
    """Causal transposed convolution [batch, steps, in] -> [batch, steps * stride, out]; weight [in, out, kernel]."""

    def __init__(self, n_in, n_out, kernel, stride):
        super().__init__()
        self.stride, self.pieces = stride, kernel // stride
        self.weight, self.bias = nn.Parameter(torch.empty(n_in, n_out, kernel)), nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        b, t, n_in = x.shape
        w = self.weight.unflatten(2, (self.pieces, self.stride)).permute(2, 3, 1, 0).flatten(0, 2)  # [p*s*out, in]
        z = functional.linear(x, w).view(b, t, self.pieces, self.stride, -1)
        y = z[:, :, 0]
        for i in range(1, self.pieces):
            y = y + functional.pad(z[:, :-i, i], (0, 0, 0, 0, i, 0))
        return y.flatten(1, 2) + self.bias.to(y.dtype)


class DilatedDepthwise(torch.autograd.Function):
    """Depthwise convolution over time of [batch, steps, width] with taps [kernel, width], the last `ahead` of them in the future."""

    @staticmethod
    def forward(ctx, x, taps, dilation, ahead):
        ctx.save_for_backward(x, taps)
        ctx.shape = dilation, ahead
        return _shifted_sum(x, taps, dilation, len(taps) - 1 - ahead)

    @staticmethod
    def backward(ctx, g):
        x, taps = ctx.saved_tensors
        dilation, ahead = ctx.shape
        n, steps, behind = len(taps), x.shape[1], len(taps) - 1 - ahead
        dx = _shifted_sum(g, taps.flip(0), dilation, ahead)
        padded = functional.pad(x, (0, 0, behind * dilation, ahead * dilation))
        dw = torch.stack([(g * padded[:, k * dilation : k * dilation + steps]).sum((0, 1)) for k in range(n)])
        return dx, dw, None, None


def _shifted_sum(x, taps, dilation, behind):
    n, steps = len(taps), x.shape[1]
    padded = functional.pad(x, (0, 0, behind * dilation, (n - 1 - behind) * dilation))
    y = padded[:, :steps] * taps[0]
    for k in range(1, n):
        y.addcmul_(padded[:, k * dilation : k * dilation + steps], taps[k])
    return y


class Unit(nn.Module):
    def __init__(self, width, dilation, ahead):
        super().__init__()
        self.dilation, self.ahead = dilation, ahead
        self.depthwise = nn.Parameter(torch.zeros(width, 3 + ahead))
        self.pointwise = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        y = functional.leaky_relu(x, SLOPE)
        y = DilatedDepthwise.apply(y, self.depthwise.t().to(y.dtype), self.dilation, self.ahead)
        return x + self.out(functional.leaky_relu(self.pointwise(y), SLOPE))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        w = ENCODER
        self.first = Strided(1, w[0], KERNELS[0], STRIDES[0])
        self.units = nn.ModuleList(nn.ModuleList(Unit(w[i], d, AHEAD[i]) for d in DILATIONS) for i in range(3))
        self.down = nn.ModuleList(Strided(w[i], w[i + 1], KERNELS[i + 1], STRIDES[i + 1]) for i in range(3))
        self.last = Strided(w[-1], DIM, 3, 1)

    def forward(self, wave):
        x = self.first(wave[..., None])
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            for units, down in zip(self.units, self.down):
                for unit in units:
                    x = unit(x)
                x = down(functional.leaky_relu(x, SLOPE))
        return self.last(functional.leaky_relu(x.float(), SLOPE))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        w = DECODER
        self.first = Strided(DIM, w[-1], 3, 1)
        self.layers_scale, self.layers_shift = nn.Embedding(N_LAYERS + 1, w[-1]), nn.Embedding(N_LAYERS + 1, w[-1])
        self.up = nn.ModuleList(Upsampling(w[i + 1], w[i], KERNELS[i + 1], STRIDES[i + 1]) for i in (2, 1, 0))
        self.units = nn.ModuleList(nn.ModuleList(Unit(w[i], d, AHEAD[i]) for d in DILATIONS) for i in (2, 1, 0))
        self.last = Upsampling(w[0], 1, KERNELS[0], STRIDES[0])
        nn.init.zeros_(self.layers_scale.weight), nn.init.zeros_(self.layers_shift.weight)

    def forward(self, latent, n_layers):
        x = self.first(latent)
        x = x * (1 + self.layers_scale(n_layers)[:, None]) + self.layers_shift(n_layers)[:, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            for up, units in zip(self.up, self.units):
                x = up(functional.leaky_relu(x, SLOPE))
                for unit in units:
                    x = unit(x)
        self.features = functional.leaky_relu(x.float(), SLOPE)
        return self.last(self.features)[..., 0]


class Core(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.mdct = MDCT(320)
        self.register_buffer("codebooks", torch.zeros(N_LAYERS, ENTRIES, DIM + len(HIGH_EDGES) - 1))
        self.register_buffer("high_mean", torch.zeros(len(HIGH_EDGES) - 1))
        self.register_buffer("high_scale", torch.ones(()))

    @torch.no_grad()
    def high(self, wave):
        """Log10 RMS of the bands above 8 kHz, [batch, frames, 8], of a wave at 48 kHz."""
        power = self.mdct(wave).square().unflatten(1, (-1, 3)).mean(2)
        bands = [power[..., a:b].mean(-1) for a, b in zip(HIGH_EDGES, HIGH_EDGES[1:])]
        return 0.5 * torch.log10(torch.stack(bands, -1) + 1e-10)

    def latent(self, low, wave):
        return torch.cat([self.encoder(low), (self.high(wave) - self.high_mean) * self.high_scale], -1)

    def high_wave(self, energies, generator=None):
        """Noise in the bands above 8 kHz, at 48 kHz, of log energies [batch, frames, 8]."""
        b, t, n = energies.shape
        fine = functional.interpolate(energies.transpose(1, 2), scale_factor=3, mode="linear").transpose(1, 2)
        gain = torch.zeros(b, 3 * t, 320)
        for i, (low, high) in enumerate(zip(HIGH_EDGES, HIGH_EDGES[1:])):
            gain[..., low:high] = (10 ** fine[..., i : i + 1]) * (fine[..., i : i + 1] > -4.6)
        return self.mdct.inverse(gain * torch.randn(gain.shape, generator=generator))


def grown(weight, n_out, n_in, groups=1, gain=0.5):
    """Return [n_out, n_in, ...] that computes what `weight` [out, in / groups, ...] does: new inputs don't count for old outputs yet, new outputs are random."""
    out, rest = weight.shape[0], weight.shape[2:]
    old_in = weight.shape[1] * groups
    new = torch.zeros(n_out, n_in, *rest)
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        new[rows, g * weight.shape[1] : (g + 1) * weight.shape[1]] = weight[rows]
    new[out:] = torch.randn(n_out - out, n_in, *rest) * gain * (n_in * math.prod(rest)) ** -0.5
    return new


def load_lyra(core, path):
    from safetensors.torch import load_file

    torch.manual_seed(3)
    t = load_file(path)
    e, d = core.encoder, core.decoder

    def fill(module, key, n_out, n_in, groups=1, transposed=False, gain=0.5):
        weight = t[key + ".weight"]
        if transposed:  # [in, out / groups, k] -> [out, in / groups, k] by groups
            weight = weight.unflatten(0, (groups, -1)).permute(0, 2, 1, 3).flatten(0, 1)
        weight = grown(weight, n_out, n_in, groups, gain)
        weight = weight.transpose(0, 1) if transposed else weight
        module.weight.data.copy_(weight[..., 0] if module.weight.ndim == 2 else weight)
        bias = t[key + ".bias"]
        module.bias.data.zero_()
        module.bias.data[: len(bias)] = bias

    fill(e.first, "encoder.first", ENCODER[0], 1)
    fill(e.last, "encoder.last", DIM, ENCODER[-1], LYRA_GROUPS[-1])
    fill(d.first, "decoder.first", DECODER[-1], DIM, LYRA_GROUPS[-1])
    fill(d.last, "decoder.last", 1, DECODER[0], 1, True)
    for side, name, widths, order in ((e, "encoder", ENCODER, (0, 1, 2)), (d, "decoder", DECODER, (2, 1, 0))):
        for i, stage in enumerate(order):
            width, groups = widths[stage], LYRA_GROUPS[stage]
            if name == "encoder":
                fill(e.down[i], f"encoder.stages.{i}.down", widths[stage + 1], width, groups)
            else:
                fill(d.up[i], f"decoder.stages.{i}.up", width, widths[stage + 1], groups, True)
            for j, unit in enumerate(side.units[i]):
                key = f"{name}.stages.{i}.units.{j}"
                taps = t[key + ".depthwise.weight"][:, 0]  # oldest first
                unit.depthwise.data.zero_()
                unit.depthwise.data[: len(taps), :3] = taps
                unit.depthwise.data[len(taps) :, 2] = 1.0
                fill(unit.pointwise, key + ".pointwise", width, width)
                fill(unit.out, key + ".out", width, width, groups, gain=0.1)


class BandDiscriminator(nn.Module):
    def __init__(self, size, hop, edges, width=96, blocks=3, kernel=5, rate=16_000):
        super().__init__()
        self.size, self.hop = size, hop
        window = torch.hann_window(size, dtype=torch.float64)
        self.register_buffer("window", (window / window.square().sum().sqrt()).float(), persistent=False)
        hertz = torch.arange(size // 2 + 1) * rate / size
        self.cuts = [int(torch.searchsorted(hertz, float(edge))) for edge in edges[:-1]] + [size // 2 + 1]
        n = len(self.cuts) - 1
        self.inputs = nn.ModuleList(nn.Linear(3 * (high - low), width) for low, high in zip(self.cuts, self.cuts[1:]))
        self.taps = nn.ParameterList(nn.Parameter(torch.randn(kernel, n * width) * 0.3) for _ in range(blocks))
        self.widen = nn.ParameterList(nn.Parameter(torch.randn(n, width, 2 * width) * width**-0.5) for _ in range(blocks))
        self.widen_bias = nn.ParameterList(nn.Parameter(torch.zeros(n, 1, 2 * width)) for _ in range(blocks))
        self.narrow = nn.ParameterList(nn.Parameter(torch.randn(n, 2 * width, width) * (2 * width) ** -0.5) for _ in range(blocks))
        self.head = nn.Parameter(torch.randn(n, width, 1) * width**-0.5)
        self.head_bias = nn.Parameter(torch.zeros(n, 1, 1))

    def forward(self, wave):
        spectrum = torch.stft(wave, self.size, self.hop, window=self.window, center=False, return_complex=True).transpose(1, 2)
        power = spectrum.real.square() + spectrum.imag.square()
        gain = (power + 1e-7) ** -0.35
        real, imaginary, log = spectrum.real * gain, spectrum.imag * gain, 0.2 * torch.log10(power + 1e-7) + 0.7
        batch, frames, _ = real.shape
        with torch.autocast("cpu", torch.bfloat16):
            x = torch.stack([linear(torch.cat([part[..., low:high] for part in (real, imaginary, log)], -1)) for linear, low, high in zip(self.inputs, self.cuts, self.cuts[1:])], 2)
            bands, width = x.shape[2:]
            features = []
            for taps, widen, bias, narrow in zip(self.taps, self.widen, self.widen_bias, self.narrow):
                y = Depthwise.apply(x.reshape(batch, frames, bands * width), taps.to(x.dtype))
                y = y.reshape(batch * frames, bands, width).transpose(0, 1)
                y = functional.leaky_relu(torch.baddbmm(bias.to(y.dtype), y, widen.to(y.dtype)), 0.2)
                features.append(y)
                x = x + torch.bmm(y, narrow.to(y.dtype)).transpose(0, 1).reshape(batch, frames, bands, width)
            x = functional.leaky_relu(x.reshape(batch * frames, bands, width).transpose(0, 1), 0.2)
            logits = torch.bmm(x, self.head.to(x.dtype)) + self.head_bias.to(x.dtype)
        return logits.float(), features


class Depthwise(torch.autograd.Function):
    """Centred depthwise convolution of [batch, steps, width] with taps [kernel, width]."""

    @staticmethod
    def forward(ctx, x, taps):
        ctx.save_for_backward(x, taps)
        return functional.conv2d(x.unsqueeze(1).permute(0, 3, 1, 2), taps.t()[:, None, None], padding=(0, len(taps) // 2), groups=x.shape[-1]).permute(0, 2, 3, 1).squeeze(1)

    @staticmethod
    def backward(ctx, gradient):
        x, taps = ctx.saved_tensors
        n, steps, reach = len(taps), x.shape[1], len(taps) // 2
        padded = functional.pad(gradient, (0, 0, reach, reach))
        ours = padded[:, n - 1 : n - 1 + steps] * taps[0]
        for k in range(1, n):
            ours.addcmul_(padded[:, n - 1 - k : n - 1 - k + steps], taps[k])
        of_taps = None
        if ctx.needs_input_grad[1]:
            padded = functional.pad(x, (0, 0, reach, reach))
            of_taps = torch.stack([(gradient * padded[:, k : k + steps]).sum((0, 1)) for k in range(n)])
        return ours, of_taps


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        edges = (0, 1000, 2000, 4000, 8000)
        self.parts = nn.ModuleList([BandDiscriminator(1024, 512, edges), BandDiscriminator(512, 256, edges), BandDiscriminator(256, 64, edges)])

    def forward(self, wave):
        return [part(wave) for part in self.parts]


class RelativeL1(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ours, theirs):
        size = theirs.abs().mean((1, 2), dtype=torch.float32).clamp(min=0.05)
        difference = ours - theirs
        ctx.save_for_backward(difference.sign(), size)
        return (difference.abs().mean((1, 2), dtype=torch.float32) / size).mean()

    @staticmethod
    def backward(ctx, gradient):
        sign, size = ctx.saved_tensors
        scale = gradient / (size * len(size) * sign.shape[1] * sign.shape[2])
        return sign * scale.to(sign.dtype)[:, None, None], None


def mel_filters(n_mels, size, rate):
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, n_mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    width = rate / size
    low, high = torch.minimum(edges[:-2], edges[1:-1] - width), torch.maximum(edges[2:], edges[1:-1] + width)
    filters = torch.minimum((bins[:, None] - low) / (edges[1:-1] - low), (high - bins[:, None]) / (high - edges[1:-1])).clamp(min=0)
    filters[bins < 40] = 0  # a constant offset isn't heard
    filters = filters[:, filters.sum(0) > 0]
    return (filters / filters.sum(0)).float()


class Loss(nn.Module):
    """Log-mel distances of five windows, and compressed complex spectra of two, which count up to 1 kHz and fade until 4 kHz."""

    MELS = {1024: 80, 512: 64, 256: 40, 128: 20, 64: 10}
    COMPLEX = (512, 256)

    def __init__(self):
        super().__init__()
        for size, n in self.MELS.items():
            window = torch.hann_window(size, dtype=torch.float64)
            self.register_buffer(f"window_{size}", (window / window.square().sum().sqrt()).float())
            self.register_buffer(f"mel_{size}", mel_filters(n, size, 16_000))
            hertz = torch.arange(size // 2 + 1) * 16_000 / size
            weights = ((4_000 - hertz) / 3_000).clamp(0, 1)
            self.register_buffer(f"weight_{size}", weights[weights > 0])

    def forward(self, output, target):
        mels, complexes = [], []
        for size in self.MELS:
            a, b = (torch.stft(x, size, size // 4, window=getattr(self, f"window_{size}"), center=False, return_complex=True).transpose(1, 2) for x in (output, target))
            powers = [x.real.square() + x.imag.square() for x in (a, b)]
            logs = [torch.log10(torch.sqrt(p + 1e-12) @ getattr(self, f"mel_{size}") + 3e-4) for p in powers]  # what lies 50 dB below the level of speech hardly counts
            mels.append(functional.l1_loss(*logs))
            if size in self.COMPLEX:
                weights = getattr(self, f"weight_{size}")
                n = len(weights)
                gains = [(p[..., :n] + 1e-7) ** -0.35 for p in powers]
                complexes.append(sum(((x[..., :n] * gains[0] - y[..., :n] * gains[1]).abs() * weights).mean() for x, y in ((a.real, b.real), (a.imag, b.imag))))
        return {"mel": torch.stack(mels).mean(), "stft": torch.stack(complexes).mean()}


CROP_S, EDGE = 1.28, 3200  # losses begin 200 ms behind the crop's start: a causal network lacks context there


class Data:
    """Crops at 48 and 16 kHz."""

    def __init__(self, corpus, seed, crop_s=CROP_S):
        self.crops = Crops(open_corpus(Path(corpus)), round(crop_s * 50) * 960, seed)

    def batch(self, step, first, n):
        waves = self.crops.batch(step, first, n)
        lows = np.stack([soxr.resample(w, 48_000, 16_000, quality="HQ") for w in waves])
        return torch.from_numpy(waves), torch.from_numpy(lows)


def draw_layers(seed, step, n):
    generator = np.random.default_rng([seed, step, 1 << 20])
    counts = np.arange(1, N_LAYERS + 1)
    shares = counts**-0.5
    drawn = generator.choice(counts, n, p=shares / shares.sum())
    return torch.from_numpy(np.where(generator.random(n) < 0.3, N_LAYERS, drawn).astype(np.int64))


def start(lyra, corpus, out, seed=1, n_crops=1200):
    """Lyra's networks, the mean of the high bands, codebooks by k-means."""
    torch.set_num_threads(1)
    core = Core()
    load_lyra(core, lyra)
    core.eval()
    data, latents = Data(corpus, seed), []
    with torch.no_grad():
        for i in range(n_crops // 8):
            wave, low = data.batch(i, 0, 8)
            latents.append((core.encoder(low)[:, 10:], core.high(wave)[:, 10:]))
        inner = torch.cat([a.flatten(0, 1) for a, _ in latents])
        later = inner[:, LYRA_DIM:]
        gain = LATER_STD / later.std(0)
        core.encoder.last.weight[LYRA_DIM:] *= gain[:, None, None]
        core.encoder.last.bias[LYRA_DIM:] -= later.mean(0) * gain
        inner[:, LYRA_DIM:] = (later - later.mean(0)) * gain
        high = torch.cat([b.flatten(0, 1) for _, b in latents])
        core.high_mean.copy_(high.mean(0))
        print("inner std", inner.std(0).mean(), "high std", high.std(0))
        core.high_scale.fill_(HIGH_SCALE * float(inner[:, :LYRA_DIM].std(0).mean()) / float(high.std(0).mean()))
        whole = torch.cat([inner, (high - core.high_mean) * core.high_scale], -1)
        counts = kmeans_start(core.codebooks, whole, seed)
        rest, total = whole.clone(), whole.var(0).sum()
        for layer, codebook in enumerate(core.codebooks):
            rest -= codebook[(codebook.square().sum(1) - 2 * rest @ codebook.t()).argmin(1)]
            error = rest.square().mean(0)
            print(layer + 1, "error of all %.3f, inner %.3f, high bands %.2f dB" % (rest.square().sum(1).mean() / total, error[:DIM].sum() / inner.var(0).sum(), 20 * (error[DIM:].mean().sqrt() / core.high_scale)))
    torch.save({"core": core.state_dict(), "counts": counts}, out)


class Trainer:
    def __init__(self, core, args, group, counts=None):
        self.core, self.args, self.group = core.train(), args, group
        self.data, self.loss = Data(args.corpus, args.seed), Loss()
        torch.manual_seed(1)
        self.judge = Discriminator()
        self.books = CodebookAverages(core.codebooks, counts)
        slow = list(core.encoder.parameters())
        core.decoder.last.bias.requires_grad_(False)
        self.trained = slow + list(core.decoder.parameters())
        self.adam = torch.optim.AdamW([{"params": slow}, {"params": list(core.decoder.parameters())}], lr=0.0, betas=(0.8, 0.99), weight_decay=0.0, fused=True)
        self.adam_judge = torch.optim.AdamW(self.judge.parameters(), lr=0.0, betas=(0.8, 0.99), weight_decay=1e-3, fused=True)
        self.average = {k: p.detach().clone() for k, p in core.named_parameters()}
        self.number, self.seconds, self.minutes = 0, 0.0, 0.0
        self.weights = {"features": 0.0, "adversarial": 0.0}
        group.copy_first([*core.state_dict().values(), *self.judge.state_dict().values()])

    def state(self):
        return dict(core=self.core.state_dict(), average=self.average, adam=self.adam.state_dict(), adam_judge=self.adam_judge.state_dict(), judge=self.judge.state_dict(), books=self.books.state_dict(), number=self.number, seconds=self.seconds, minutes=self.minutes, weights=self.weights)

    def load(self, state):
        self.core.load_state_dict(state["core"]), self.adam.load_state_dict(state["adam"]), self.adam_judge.load_state_dict(state["adam_judge"]), self.judge.load_state_dict(state["judge"])
        self.books.load_state_dict(state["books"])
        self.average, self.number, self.seconds, self.minutes, self.weights = state["average"], state["number"], state["seconds"], state["minutes"], state["weights"]

    def step(self):
        a, core, judge, group = self.args, self.core, self.judge, self.group
        n = a.batch // group.size
        wave, low = self.data.batch(self.number, group.rank * n, n)
        layers = draw_layers(a.seed, self.number, a.batch)[group.rank * n : (group.rank + 1) * n]
        with torch.set_grad_enabled(a.encoder_rate > 0):
            latent = core.latent(low, wave)
        quantized = quantize(core.codebooks, latent.detach(), layers)
        if a.encoder_rate == 0:
            latent = latent.detach()
        inner, total = latent[..., :DIM], quantized.total[..., :DIM]
        commitment = functional.mse_loss(inner, total) / inner.detach().var()
        through = inner + (total - inner).detach()
        output = core.decoder(through, layers)
        output, target = output[:, EDGE:], low[:, EDGE:]
        losses = self.loss(output, target)
        reconstruction = a.mel * losses["mel"] + a.stft * losses["stft"]

        # noise at -60 dBFS on both, or it learns digital silence and empty bands alone
        real, fake = (judge(x + 1e-3 * torch.randn_like(x)) for x in (target, output))
        loss = torch.stack([functional.relu(1 - r).mean() + functional.relu(1 + f).mean() for (r, _), (f, _) in zip(real, fake)]).mean()
        parameters = list(judge.parameters())
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters, retain_graph=self.number >= a.alone)):
            p.grad = g
        group.average_all([p.grad for p in parameters])
        judged = torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        ramp = min(1.0, max(0, self.number - a.alone) / a.ramp)
        values = dict(mel=losses["mel"], stft=losses["stft"], discriminator=loss, commitment=commitment)
        fine = bool(torch.isfinite(judged))
        if self.number >= a.alone:
            adversarial = torch.stack([-logits.mean() for logits, _ in fake]).mean()
            features = torch.stack([RelativeL1.apply(f, r.detach()) for (_, rs), (_, fs) in zip(real, fake) for f, r in zip(fs, rs)]).mean()
            if self.number % 50 == 0 or self.weights["features"] == 0:
                sizes = torch.stack([torch.autograd.grad(x, output, retain_graph=True)[0].norm() for x in (reconstruction, features, adversarial)])
                group.average_all([sizes])
                whole, of_features, of_adversarial = sizes.tolist()
                found = {"features": a.features * whole / max(of_features, 1e-9), "adversarial": a.adversarial * whole / max(of_adversarial, 1e-9)}
                for k, v in found.items():
                    self.weights[k] = v if self.weights[k] == 0 else 0.8 * self.weights[k] + 0.2 * v
            others = self.weights["features"] * features + self.weights["adversarial"] * adversarial
            size = 1 + ramp * (a.features + a.adversarial)
            at_wave = torch.autograd.grad(ramp * others / size, output)[0]
            torch.autograd.backward([reconstruction / size + (a.commitment * commitment if a.encoder_rate > 0 else 0), output], [None, at_wave])
            grads = [p.grad for p in self.trained if p.grad is not None]
            group.average_all(grads)
            norm = torch.nn.utils.clip_grad_norm_(self.trained, a.clip)
            fine = fine and bool(torch.isfinite(norm))
            warm = min(1.0, (self.number - a.alone + 1) / 100)
            fall = min(1.0, (a.audio_seconds - self.seconds) / max(1.0, a.decay * a.audio_seconds))
            if fine:
                for options, rate in zip(self.adam.param_groups, (a.rate * a.encoder_rate, a.rate)):
                    options["lr"] = rate * warm * fall
                self.adam.step()
                with torch.no_grad():
                    for k, p in core.named_parameters():
                        self.average[k].lerp_(p, 1 - a.average)
                    if a.encoder_rate > 0:
                        self.books.update(quantized, a.codebook_decay, group)
                        if self.number % 50 == 49:
                            self.books.restart(quantized, group)
            for p in self.trained:
                p.grad = None
            values |= dict(features=features, adversarial=adversarial, gradient=norm)
        if fine:
            self.adam_judge.param_groups[0]["lr"] = a.discriminator_rate * min(1, (self.number + 1) / 50)
            self.adam_judge.step()
        self.number += 1
        self.seconds += a.batch * wave.shape[1] / 48_000
        self.fine = fine
        return {k: float(v) for k, v in values.items()}


def save(trainer, out):
    torch.save(trainer.state(), out + ".part")
    if os.path.exists(out):
        os.replace(out, out + ".before")
    os.replace(out + ".part", out)


def work(rank, args, meeting):
    torch.set_num_threads(1)
    group = join(rank, args.processes, meeting) if args.processes > 1 else Group()
    core = Core()
    first = torch.load(args.start, weights_only=True)
    core.load_state_dict(first["core"])
    trainer = Trainer(core, args, group, first.get("counts"))
    if "judge" in first and not os.path.exists(args.out):  # a new run that starts from another's end
        trainer.judge.load_state_dict(first["judge"])
        if "average" in first:
            with torch.no_grad():
                for k, p in core.named_parameters():
                    p.copy_(first["average"][k]), trainer.average[k].copy_(first["average"][k])
    if os.path.exists(args.out):
        trainer.load(torch.load(args.out, weights_only=True))
    begun, saved = time.monotonic() - trainer.minutes * 60, time.monotonic()
    said = time.monotonic()
    while trainer.seconds < args.audio_seconds:
        values = trainer.step()
        trainer.minutes = (time.monotonic() - begun) / 60
        if rank:
            continue
        if trainer.number % 20 == 0:
            speed = 20 * args.batch * CROP_S / (time.monotonic() - said)
            said = time.monotonic()
            print(f"{trainer.number} {trainer.minutes:.1f}m {trainer.seconds:.0f}s {speed:.1f}/s " + " ".join(f"{k} {v:.3f}" for k, v in values.items()) + " " + " ".join(f"{v:.2f}" for v in trainer.weights.values()), flush=True)
        if time.monotonic() - saved > args.save_minutes * 60 and trainer.fine:
            saved = time.monotonic()
            save(trainer, args.out)
    if rank == 0:
        save(trainer, args.out)
    if args.processes > 1:
        leave(group)


def export(path, out):
    """Store averaged weights, codebooks and discriminator in float16."""
    from safetensors.torch import save_file

    core, state = averaged(path), torch.load(path, weights_only=True)
    tensors = {f"core.{k}": v for k, v in core.state_dict().items() if not k.startswith("mdct.")} | {f"judge.{k}": v for k, v in state["judge"].items()}
    tensors["counts"] = state["books"]["counts"]
    save_file({k: v.half().contiguous() if v.ndim > 1 else v.float().contiguous() for k, v in tensors.items()}, out, {"audio_seconds": str(round(state["seconds"]))})


def load(path, out):
    from safetensors.torch import load_file

    core, tensors = Core(), {k: v.float() for k, v in load_file(path).items()}
    found = core.load_state_dict({k.removeprefix("core."): v for k, v in tensors.items() if k.startswith("core.")}, strict=False)
    assert not found.unexpected_keys and all(k.startswith("mdct.") for k in found.missing_keys), found
    judge = {k.removeprefix("judge."): v for k, v in tensors.items() if k.startswith("judge.")}
    torch.save({"core": core.state_dict(), "judge": judge, "counts": tensors["counts"]}, out)


def averaged(path):
    state = torch.load(path, weights_only=True)
    core = Core()
    core.load_state_dict(state["core"])
    if "average" in state:
        with torch.no_grad():
            for k, p in core.named_parameters():
                p.copy_(state["average"][k])
    return core.eval().requires_grad_(False)


def search(core, latent, n_layers, beam):
    """Return the sum of entries of the best of `beam` paths, [frames, dim]."""
    if beam == 1:
        return quantize(core.codebooks, latent[None], torch.tensor([n_layers])).total[0]
    frames, dim = latent.shape
    rest = latent[:, None]  # [frames, paths, dim]
    for codebook in core.codebooks[:n_layers]:
        errors = codebook.square().sum(1) - 2 * rest @ codebook.t() + rest.square().sum(-1, keepdim=True)  # [f, p, e]
        best, place = errors.flatten(1).topk(beam, largest=False)
        path, entry = place // ENTRIES, place % ENTRIES
        rest = rest.gather(1, path[..., None].expand(-1, -1, dim)) - codebook[entry]
    return latent - rest[:, 0]


@torch.no_grad()
def decode(path, folder, clips, layers, beam=4, with_high=True, high_path=""):
    torch.set_num_threads(1)
    high = None
    if high_path:
        from high import load_high

        high = load_high(high_path)
    core = averaged(path)
    for clip in clips:
        wave, rate = soundfile.read(clip, dtype="float32", always_2d=True)
        wave = wave.mean(1)
        n_samples = len(wave)
        wave = (wave * (10 ** (-22 / 20) / (np.sqrt(np.mean(wave**2)) or 1))).astype(np.float32)
        wave = np.pad(wave, (0, -len(wave) % 960))
        low = soxr.resample(wave, 48_000, 16_000, quality="VHQ")
        latent = core.latent(torch.from_numpy(low)[None], torch.from_numpy(wave)[None])[0]
        for n in layers:
            total = search(core, latent, n, beam)[None]
            out = core.decoder(total[..., :DIM], torch.tensor([n]))[0].numpy()
            out = soxr.resample(out, 16_000, 48_000, quality="VHQ")
            if with_high:
                energies = total[..., DIM:] / core.high_scale + core.high_mean
                if high is not None:
                    out = out + high(core.decoder.features, energies, torch.Generator().manual_seed(0))[0].numpy()
            if with_high and high is None:
                out = out + core.high_wave(energies, torch.Generator().manual_seed(0))[0].numpy()
            place = Path(folder) / f"{n:02d}"
            place.mkdir(parents=True, exist_ok=True)
            soundfile.write(place / (Path(clip).stem + ".wav"), out[:n_samples], 48_000, "FLOAT")


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    c = commands.add_parser("start"); c.add_argument("lyra"); c.add_argument("corpus"); c.add_argument("out")
    for name in ("export", "load"):
        c = commands.add_parser(name); c.add_argument("path"); c.add_argument("out")
    c = commands.add_parser("run"); c.add_argument("corpus")
    defaults = dict(start="start.pt", out="run.pt", audio_seconds=1e9, batch=16, rate=2e-4, encoder_rate=0.3, features=1.0, adversarial=0.5, discriminator_rate=5e-4, decay=0.0, average=0.999, codebook_decay=0.99,
                    alone=300, ramp=300, mel=10.0, stft=5.0, commitment=1.0, clip=10.0, processes=1, seed=31, save_minutes=10.0)
    for k, v in defaults.items():
        c.add_argument("--" + k.replace("_", "-"), type=type(v), default=v)
    c = commands.add_parser("decode"); c.add_argument("run"); c.add_argument("folder"); c.add_argument("clips", nargs="+"); c.add_argument("--layers", default="6,8,10,12,18,22"); c.add_argument("--beam", type=int, default=4); c.add_argument("--high", default="")
    args = parser.parse_args()
    if args.command == "start":
        start(args.lyra, args.corpus, args.out)
    elif args.command in ("export", "load"):
        (export if args.command == "export" else load)(args.path, args.out)
    elif args.command == "decode":
        decode(args.run, args.folder, args.clips, [int(n) for n in args.layers.split(",")], args.beam, high_path=args.high)
    else:
        lock = open(args.out + ".lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if args.processes == 1:
            work(0, args, "")
        else:
            import tempfile
            from torch.multiprocessing.spawn import spawn

            with tempfile.TemporaryDirectory() as folder:
                spawn(work, (args, folder + "/group"), nprocs=args.processes)


if __name__ == "__main__":
    main()
