#!/usr/bin/env python3
"""The bands above 8 kHz: a wave from the core decoder's last features and modulated noise, its bands brought to the coded energies. high.py CORPUS CORE.pt OUT.pt SECONDS"""
import sys, time
import numpy as np, torch
from torch import nn
from torch.nn import functional
from core import *

NOISE, RATE = 32, 48_000


class High(nn.Module):
    def __init__(self):
        super().__init__()
        w = DECODER[0]
        self.norm = nn.LayerNorm(w)
        self.hidden = nn.Linear(w, 128)
        self.gain = nn.Linear(128, NOISE)
        self.up = Upsampling(128 + NOISE, 1, 192, 48)
        nn.init.normal_(self.up.weight, std=0.05)
        nn.init.zeros_(self.gain.weight), nn.init.zeros_(self.gain.bias)
        self.mdct = MDCT(320)
        member = torch.zeros(len(HIGH_EDGES) - 1, 320 - HIGH_EDGES[0])
        for i, (a, b) in enumerate(zip(HIGH_EDGES, HIGH_EDGES[1:])):
            member[i, a - HIGH_EDGES[0] : b - HIGH_EDGES[0]] = 1
        self.register_buffer("member", member, persistent=False)

    def forward(self, x, energies, generator=None):
        """[batch, steps of 1 ms, width], log energies [batch, frames, 8] -> [batch, frames * 960]"""
        x = functional.gelu(self.hidden(self.norm(x)))
        noise = torch.randn(*x.shape[:2], NOISE, generator=generator) * functional.softplus(self.gain(x))
        wave = self.up(torch.cat([x, noise], -1))[..., 0]
        c = self.mdct(wave)[..., HIGH_EDGES[0] :].unflatten(1, (-1, 3))  # [b, frames, 3, bins]
        power = c.square().mean(2) @ (self.member / self.member.sum(1, keepdim=True)).T
        gain = 10 ** (energies - 0.5 * torch.log10(power + 1e-10)).clamp(-6, 3) * (energies > -4.6)
        c = (c * (gain @ self.member)[:, :, None]).flatten(1, 2)
        return self.mdct.inverse(functional.pad(c, (HIGH_EDGES[0], 0)))


class HighLoss(nn.Module):
    """Log spectra above 8 kHz in bands of 375 Hz (1024), 1.5 kHz (256) and 3 kHz (128)."""

    def __init__(self):
        super().__init__()
        for size in (1024, 256, 128):
            w = torch.hann_window(size, dtype=torch.float64)
            self.register_buffer(f"w{size}", (w / w.square().sum().sqrt()).float())

    def forward(self, a, b):
        losses = []
        for size, width in ((1024, 8), (256, 8), (128, 8)):
            logs = []
            for x in (a, b):
                s = torch.stft(x, size, size // 4, window=getattr(self, f"w{size}"), center=False, return_complex=True)
                p = (s.real.square() + s.imag.square())[:, size // 6 :]
                p = p[:, : p.shape[1] // width * width].unflatten(1, (-1, width)).mean(2)
                logs.append(0.5 * torch.log10(p + 1e-9))
            losses.append(functional.l1_loss(*logs))
        return torch.stack(losses).mean()


def high_pass(wave, mdct):
    c = mdct(wave)
    c[..., : HIGH_EDGES[0]] = 0
    return mdct.inverse(c)


def load_high(path):
    high = High()
    state = torch.load(path, weights_only=True)
    high.load_state_dict(state["average"] | {})
    return high.eval().requires_grad_(False)


def run(corpus, core_path, out, seconds, batch=12):
    torch.set_num_threads(1)
    core = averaged(core_path)
    high, loss = High(), HighLoss()
    data = Data(corpus, 77)
    edges = (8_000, 11_000, 15_000, 24_000)
    judges = nn.ModuleList([BandDiscriminator(1024, 512, edges, 64, 2, rate=RATE), BandDiscriminator(256, 64, edges, 64, 2, rate=RATE)])
    adam = torch.optim.AdamW(high.parameters(), lr=1e-3, betas=(0.8, 0.99), weight_decay=0)
    adam_judge = torch.optim.AdamW(judges.parameters(), lr=2e-4, betas=(0.8, 0.99), weight_decay=1e-3)
    average = {k: v.clone() for k, v in high.state_dict().items()}
    weights, number, done, begun = None, 0, 0.0, time.time()
    while done < seconds:
        wave, low = data.batch(number, 0, batch)
        layers = draw_layers(77, number, batch)
        with torch.no_grad():
            latent = core.latent(low, wave)
            total = quantize(core.codebooks, latent, layers).total
            core.decoder(total[..., :DIM], layers)
            x = core.decoder.features
            energies = total[..., DIM:] / core.high_scale + core.high_mean
            target = high_pass(wave, core.mdct)[:, 9600:-960]
        output = high(x, energies)[:, 9600:-960]
        real, fake = ([judge(x + 3e-4 * torch.randn_like(x)) for judge in judges] for x in (target, output))
        judged = torch.stack([functional.relu(1 - r).mean() + functional.relu(1 + f).mean() for (r, _), (f, _) in zip(real, fake)]).mean()
        parameters = list(judges.parameters())
        for p, g in zip(parameters, torch.autograd.grad(judged, parameters, retain_graph=True)):
            p.grad = g
        adversarial = torch.stack([-l.mean() for l, _ in fake]).mean()
        features = torch.stack([RelativeL1.apply(f, r.detach()) for (_, rs), (_, fs) in zip(real, fake) for f, r in zip(fs, rs)]).mean()
        spectral = loss(output, target)
        if number % 50 == 0:
            n = [torch.autograd.grad(v, output, retain_graph=True)[0].norm() for v in (spectral, features, adversarial)]
            new = (float(n[0] / n[1]), float(0.5 * n[0] / n[2]))
            weights = new if weights is None else tuple(0.8 * a + 0.2 * b for a, b in zip(weights, new))
        ramp = min(1.0, number / 100)
        adam.zero_grad()
        (spectral + ramp * (weights[0] * features + weights[1] * adversarial)).backward()
        torch.nn.utils.clip_grad_norm_(high.parameters(), 1.0)
        fall = min(1.0, (seconds - done) / (0.3 * seconds))
        adam.param_groups[0]["lr"] = 1e-3 * fall
        adam.step()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        adam_judge.step()
        with torch.no_grad():
            for k, v in high.state_dict().items():
                average[k].lerp_(v, 0.01)
        number, done = number + 1, done + batch * CROP_S
        if number % 20 == 0:
            print(f"{number} {done:.0f}s {done / (time.time() - begun):.1f}/s spectral {float(spectral):.3f} features {float(features):.3f} adversarial {float(adversarial):.3f} discriminator {float(judged):.3f}", flush=True)
    torch.save({"average": average}, out)


if __name__ == "__main__":
    run(*sys.argv[1:4], float(sys.argv[4]))
