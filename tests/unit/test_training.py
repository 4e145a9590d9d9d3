import copy
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tiny import small_config

from rvqcodec.codec.codec import Codec
from rvqcodec.errors import ModelError, RvqError
from rvqcodec.models.rvq48.transform import MDCT
from rvqcodec.training.corpus.corpus import Corpus, Recording
from rvqcodec.training.corpus.crops import Crops
from rvqcodec.training.release.tables import TOTAL, bits_per_code, count_codes, frequencies
from rvqcodec.training.train import session as sessions
from rvqcodec.training.train.checkpoint import load_checkpoint, save_checkpoint
from rvqcodec.training.train.codebooks import CodebookAverages, kmeans_start, quantize
from rvqcodec.training.train.discriminator import Discriminator, discriminator_loss, generator_losses
from rvqcodec.training.train.losses import MELS, LowLoss, ReconstructionLoss, ShortTimeSpectrum, mel_filters
from rvqcodec.training.train.muon import Muon, orthogonalised
from rvqcodec.training.train.parallel import Group
from rvqcodec.training.train.settings import Settings
from rvqcodec.training.train.start import emphasise_low, let_skip, scale_energies, start_codebooks, start_linear_paths
from rvqcodec.training.train.trainer import Trainer, draw_layers

TINY = small_config()
CROP = 4_800
SETTINGS = Settings(steps=8, batch=2, crop_s=0.1, warmup=1, restart_every=3, bf16=False, decay_share=0.5)


def corpus():
    generator = np.random.default_rng(0)
    audio = generator.normal(0, 2000, 96_000).astype(np.int16)
    recordings = []
    for kind in ("speech", "music"):
        for index, seconds in enumerate((0.05, 1.0)):
            n = round(48_000 * seconds)
            values = ("p", "1", f"{kind}{index}", "00", "CC0", 48_000, seconds, kind, "train", index * 2400, n)
            recordings.append(Recording(**dict(zip(Recording.__dataclass_fields__, values, strict=True))))
    return Corpus(tuple(recordings), {"speech": audio, "music": audio[::-1]})


def crops(seed=0):
    return Crops(corpus(), CROP, seed)


@cache
def started():
    torch.manual_seed(0)
    made = Codec(TINY, "tiny")
    waves = [torch.from_numpy(crops().batch(step, 0, 8)) for step in range(4)]
    start_linear_paths(made, waves)
    start_codebooks(made, waves, seed=0)
    return made


def codec():
    return copy.deepcopy(started())


def parameters(trainer):
    return torch.cat([value.detach().flatten() for value in trainer.codec.state_dict().values()])


def noise(seconds=0.2, batch=2):
    return 0.08 * torch.randn(batch, round(48_000 * seconds), generator=torch.Generator().manual_seed(1))


def reconstruction_loss():
    made = Codec(TINY)
    return ReconstructionLoss(48_000, made.encoder.mdct, made.encoder.energies)


def test_losses_are_zero_for_equal_signals():
    for step in range(4):
        losses = reconstruction_loss()(noise(), noise(), step)
        assert set(losses) == {"mel", "stft", "energies", "waveform"}
        assert all(float(value) == 0.0 for value in losses.values())


def test_waveform_loss_is_the_ratio_of_noise_below_2600_hertz():
    low = torch.sin(2 * math.pi * 500 / 48_000 * torch.arange(9600))[None]
    high = torch.sin(2 * math.pi * 6000 / 48_000 * torch.arange(9600))[None]
    losses = [float(reconstruction_loss()(low + noise, low, 0)["waveform"]) for noise in (0.1 * low, low, high)]
    assert losses[0] == pytest.approx(1.0, abs=0.1)
    assert losses[1] == pytest.approx(3.0, abs=0.1)
    assert losses[2] < 0.2


def test_low_loss_minds_noise_between_harmonics_and_nothing_above_3000_hertz():
    loss, time = LowLoss(42), torch.arange(48_000)
    low, between, high = (torch.sin(2 * math.pi * hertz / 48_000 * time)[None] for hertz in (500, 750, 6000))
    mdct = MDCT(320)
    coefficients = [mdct(0.1 * x, 42) for x in (low, low + 0.1 * between, low + high)]
    losses = [float(loss(found, coefficients[0], 2)) for found in coefficients]
    assert losses[0] == 0.0 and losses[1] > 0.3 and losses[2] < 0.1


def test_a_step_with_the_low_loss_leaves_a_postfilter_alone():
    finish = {"pitch_strengths": (0,) * 4, "noise_evenness": (0,) * 4, "postfilter": (8, 1)}
    made = Codec(replace(TINY, low_exponents=(80,) * 4, **finish), "tiny")
    made.load_state_dict(started().state_dict(), strict=False)
    trainer = Trainer(made, crops(), replace(SETTINGS, low=1.0, waveform=0.3))
    before, head = parameters(trainer), made.decoder.postfilter.inputs.weight.clone()
    losses = trainer.step()
    assert losses["low"] > 0 and not torch.equal(parameters(trainer), before)
    assert torch.equal(made.decoder.postfilter.inputs.weight, head)
    assert "low" not in Trainer(codec(), crops(), SETTINGS).step()


def test_losses_and_gradients_are_finite_for_silence():
    for target in (torch.zeros(2, 9600), noise()):
        output = torch.zeros(2, 9600, requires_grad=True)
        total = sum(reconstruction_loss()(output, target, 3).values())
        total.backward()
        assert torch.isfinite(total)
        assert torch.isfinite(output.grad).all()


def test_spectra_by_product_and_by_stft_agree():
    product = ShortTimeSpectrum(64)
    wave = noise()
    expected = torch.stft(wave, 64, 16, window=product.window, center=False, return_complex=True).transpose(1, 2)
    spectrum = product(wave)
    assert torch.allclose(torch.complex(spectrum.real, spectrum.imaginary), expected, atol=1e-5)
    assert float(ShortTimeSpectrum(512)(wave).magnitude().square().mean().sqrt()) == pytest.approx(0.08, rel=0.1)


@pytest.mark.parametrize(("size", "n_mels"), MELS.items())
def test_mel_filters_have_no_holes(size, n_mels):
    filters = mel_filters(n_mels, size, 48_000)
    assert torch.allclose(filters.sum(0), torch.ones(n_mels))
    assert torch.isfinite(filters).all()


def test_muon_makes_matrices_orthogonal():
    for shape in ((48, 96), (96, 48), (64, 64)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1e-3
        values = torch.linalg.svdvals(orthogonalised(matrix))
        assert float(values.median()) == pytest.approx(1, abs=0.2)
        assert values.max() < 1.7
        assert (values > 0.4).float().mean() > 0.9
        assert torch.isfinite(orthogonalised(torch.zeros(shape))).all()


def test_muon_shares_its_work_out():
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((8, 8), (8, 8), (16, 16))]
    owners = Muon(weights, Group(0, 2)).owners
    assert owners[0] == owners[1] != owners[2]


def test_quantizer_uses_only_an_items_layers():
    made = codec()
    latent = made.encoder(noise(0.2, 3)).detach()
    n_layers = torch.tensor([1, 4, 2])
    result = quantize(made.quantizer.codebooks, latent, n_layers)
    codes = made.quantizer.encode(latent, 4)
    expected = made.quantizer.decode(codes, n_layers[:, None].expand(3, 10))
    assert torch.allclose(result.total, expected, atol=1e-4)
    assert result.counts.sum(1).tolist() == [30, 20, 10, 10]


def test_codebooks_follow_and_dead_codes_restart():
    made = codec()
    latent = made.encoder(noise(0.5, 4)).detach()
    averages = CodebookAverages(made.quantizer.codebooks)
    layers = torch.full((4,), 4)
    before = (latent - quantize(averages.codebooks, latent, layers).total).square().mean()
    for _ in range(20):
        averages.update(quantize(averages.codebooks, latent, layers), 0.5, Group())
    result = quantize(averages.codebooks, latent, layers)
    assert (latent - result.total).square().mean() < before
    assert all(1 <= value <= 16 for value in averages.perplexity())
    averages.counts[0, 3] = 0
    assert averages.restart(result, Group()) >= 1
    assert torch.isfinite(averages.codebooks).all()
    assert averages.counts[0, 3] > 0


def test_kmeans_start_codes_better_layer_by_layer():
    latents = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    codebooks = torch.zeros(3, 16, 6)
    counts = kmeans_start(codebooks, latents, seed=0)
    assert counts.sum(1).tolist() == [500, 500, 500]
    errors = [
        float((latents - quantize(codebooks, latents[None], torch.tensor([n])).total[0]).square().mean())
        for n in (1, 2, 3)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.3


def test_frames_skip_layers_that_save_little():
    waves = [torch.from_numpy(crops().batch(step, 0, 8)) for step in range(4)]
    skipping = let_skip(codec(), waves, share=0.8)
    first, *_, last = skipping.config.code_costs
    assert first == 0 < last
    assert not skipping.quantizer.codebooks[:, 0].any()
    latent = torch.cat([skipping.encoder(wave) for wave in waves])
    n_layers = torch.full((len(latent),), 4)
    free, costly = (
        quantize(skipping.quantizer.codebooks, latent, n_layers, costs) for costs in (None, skipping.quantizer.costs)
    )
    assert (costly.counts[2:, 0] > free.counts[2:, 0]).all()
    assert torch.equal(costly.counts[:2], free.counts[:2])
    codes = skipping.quantizer.encode(latent, 4)
    counted = torch.stack([torch.bincount(codes[:, layer].flatten(), minlength=16) for layer in range(4)])
    assert torch.equal(counted.float(), costly.counts)


def test_what_skips_stays_zero_in_training():
    made = let_skip(codec(), [torch.from_numpy(crops().batch(0, 0, 8))], share=0.8)
    trainer = Trainer(made, crops(), SETTINGS)
    for _ in range(4):  # with a restart of dead codes
        trainer.step()
    assert not made.quantizer.codebooks[:, 0].any()
    assert made.quantizer.codebooks[:, 1:].any(-1).all()


def test_codebooks_alone_follow_frozen_networks():
    made = codec()
    made.quantizer.codebooks.mul_(0.8)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    trainer = Trainer(made, crops(), replace(SETTINGS, stage="codebooks", steps=30, batch=8, codebook_decay=0.8))
    errors = [trainer.step()["error"] for _ in range(30)]
    assert sum(errors[-5:]) < sum(errors[:5])
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"quantizer.codebooks"}
    assert trainer.step_number == 30 and trainer.audio_seconds == pytest.approx(24)


@pytest.mark.parametrize(
    "change", [lambda made: scale_energies(made, 0.5), lambda made: emphasise_low(made, [noise()], 0.25)]
)
def test_a_scaled_latent_sounds_the_same(change):
    plain, scaled = codec(), codec()
    change(scaled)
    assert not torch.allclose(plain.encoder(noise()), scaled.encoder(noise()), rtol=0.01)
    outputs = []
    for made in (plain, scaled):
        latent = made.encoder(noise())
        outputs.append(made.decoder(latent, torch.full(latent.shape[:2], 4)))
    assert torch.allclose(*outputs, atol=1e-5)


def test_untrained_start_already_codes():
    made = codec().eval()
    wave = noise(0.4)
    with torch.inference_mode():
        latent = made.encoder(wave)
        decoded = made.decoder(latent, torch.full(latent.shape[:2], 4))
    assert decoded.square().mean() == pytest.approx(float(wave.square().mean()), rel=0.4)


def test_crops_are_repeatable_levelled_and_shared_out():
    batch = crops().batch(5, 0, 6)
    assert batch.dtype == np.float32
    assert np.array_equal(batch[2:4], crops().batch(5, 2, 2))
    assert not np.array_equal(batch, crops().batch(6, 0, 6))
    levels = 10 * np.log10(np.square(batch).mean(1))
    assert (levels > -33).all()
    assert (levels < -13).all()


def test_layer_counts_favour_all_and_few():
    counts = np.concatenate([draw_layers(SETTINGS, step, 24) for step in range(500)])
    assert 0.36 < (counts == 24).mean() < 0.46
    assert set(counts) == set(range(1, 25))
    assert (counts <= 6).mean() > (counts[counts < 24] > 17).mean()


def test_schedule_warms_up_and_decays():
    settings = replace(SETTINGS, steps=100, warmup=10, rate=0.5)
    assert settings.rate_factor(0, 0.0) == pytest.approx(0.05)
    assert settings.rate_factor(40, 0.4) == pytest.approx(0.5)
    assert settings.rate_factor(75, 0.75) == pytest.approx(0.25)
    assert settings.rate_factor(100, 1.0) == 0.0
    with pytest.raises(ValueError, match="length"):
        Settings(steps=1, minutes=1.0)


@pytest.mark.parametrize("stage", ["joint", "adversarial"])
def test_checkpoint_resumes_to_the_step(tmp_path, stage):
    settings = replace(SETTINGS, stage=stage, discriminator_width=2, crop_s=0.1)
    straight = Trainer(codec(), crops(), settings)
    for _ in range(6):
        straight.step()
    first = Trainer(codec(), crops(), settings)
    for _ in range(3):
        first.step()
    save_checkpoint(first.state_dict(), tmp_path / "c.pt")
    state = load_checkpoint(tmp_path / "c.pt")
    second = Trainer(Codec(TINY, "tiny"), crops(), Settings(**state["settings"]))
    second.load_state_dict(state)
    for _ in range(3):
        second.step()
    assert second.step_number == 6
    assert torch.equal(parameters(straight), parameters(second))
    for name, average in straight.average.items():
        assert torch.equal(average, second.average[name])


def test_training_lowers_the_loss():
    trainer = Trainer(codec(), crops(), replace(SETTINGS, steps=24, decay_share=0.0, rate=2.0))
    wave = trainer.crops.batch(0, 0, 2)
    trainer.crops.batch = lambda *_: wave
    values = [trainer.step() for _ in range(24)]
    assert np.mean([v["stft"] + v["mel"] for v in values[-8:]]) < np.mean([v["stft"] + v["mel"] for v in values[:8]])


def test_adversarial_stage_leaves_encoder_and_codebooks_alone():
    trainer = Trainer(codec(), crops(), replace(SETTINGS, stage="adversarial", discriminator_width=2))
    before = {name: value.clone() for name, value in trainer.codec.state_dict().items()}
    values = trainer.step()
    assert {"adversarial", "features"} <= set(values)
    changed = {name for name, value in trainer.codec.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_infinite_gradients_are_skipped_and_then_an_error():
    trainer = Trainer(codec(), crops(), SETTINGS)
    trainer.crops.batch = lambda *_: np.full((2, CROP), np.nan, np.float32)
    before = parameters(trainer).clone()
    trainer.step()
    assert torch.equal(before, parameters(trainer))
    with pytest.raises(RvqError, match="diverged"):
        for _ in range(30):
            trainer.step()


class Threads(Group):
    """Threads of this process that exchange as processes do, by a barrier and a board."""

    barrier = threading.Barrier(2)
    board: ClassVar[dict] = {}

    def sum_all(self, tensors):
        self.board[self.rank] = [tensor.clone() for tensor in tensors]
        self.barrier.wait(30)
        for tensor, first, second in zip(tensors, self.board[0], self.board[1], strict=True):
            tensor.copy_(first + second)
        self.barrier.wait(30)

    def copy_first(self, tensors):
        self.sum_all([tensor if self.rank == 0 else tensor.zero_() for tensor in tensors])


def train_together(group):
    trainer = Trainer(codec(), crops(), replace(SETTINGS, batch=4), group)
    return [trainer.step() for _ in range(2)], parameters(trainer)


def test_two_processes_equal_one_with_all_items():
    """Parameters may differ by more than rounding, a few by a whole step of 0.01: Muon makes even tiny gradients orthogonal."""
    losses, weights = train_together(Group())
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(train_together, [Threads(0, 2), Threads(1, 2)]))
    for other_losses, other_weights in results:
        for step in range(2):
            assert other_losses[step] == pytest.approx(losses[step], rel=1e-4)
        assert (other_weights - weights).abs().mean() < 5e-4
    assert torch.equal(results[0][1], results[1][1])


EXCHANGE = """
import sys, torch
from rvqcodec.training.train.parallel import join, leave
rank = int(sys.argv[1])
group = join(rank, 2, sys.argv[2])
sums, means, first = torch.full((2, 3), rank + 1.0), torch.full((4,), 2.0 * rank), torch.tensor([rank + 7])
group.sum_all([sums]); group.average_all([means]); group.copy_first([first])
leave(group)
sys.exit(not (sums.eq(3).all() and means.eq(1).all() and int(first) == 7))
"""


def test_processes_exchange(tmp_path):
    meeting_point = str(tmp_path / "group")
    both = [subprocess.Popen([sys.executable, "-c", EXCHANGE, str(rank), meeting_point]) for rank in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]


def test_a_process_whose_parent_was_killed_does_not_train_on(monkeypatch):
    assert not sessions._abandoned()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(sessions.multiprocessing, "parent_process", lambda: Mock(is_alive=lambda: gone.poll() is None))
    assert sessions._abandoned()


def test_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        load_checkpoint(tmp_path / "c.pt")
    torch.save({"codec": {}}, tmp_path / "d.pt")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "d.pt")


def test_discriminator_losses_are_finite_on_silence():
    judge = Discriminator(2)
    with torch.no_grad():
        silent, loud = judge(torch.zeros(1, 9600)), judge(noise(0.2, 1))
    losses = generator_losses(silent, loud)
    assert all(torch.isfinite(value) for value in losses.values())
    assert float(generator_losses(silent, silent)["features"]) == 0.0
    assert float(discriminator_loss(silent, silent)) >= 0


def test_frequencies_sum_to_2_to_the_24():
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 1000, (24, 1024)) * (generator.random((24, 1024)) < 0.1)
    table = frequencies(counts)
    assert table.dtype == np.uint32
    assert (table.sum(1, dtype=np.int64) == TOTAL).all()
    assert table.min() >= 1
    assert np.array_equal(table, frequencies(counts))
    assert (frequencies(np.zeros((1, 8), np.int64)) == TOTAL // 8).all()


def test_counted_codes_cost_less_than_flat_ones():
    made = codec().eval()
    counts = count_codes(made, crops(), 20, minutes=1.0, n_candidates=2)
    assert counts.shape == (4, 16)
    assert 0 < counts[0].sum() <= 20 * 5
    assert len(set(counts.sum(1).tolist())) == 1
    assert (bits_per_code(counts, frequencies(counts)) <= math.log2(16)).all()


def fake_session(monkeypatch, tmp_path, **changes):
    monkeypatch.setattr(sessions, "open_corpus", lambda _: corpus())
    monkeypatch.setattr(sessions, "START_CROPS", 32)
    monkeypatch.setattr(sessions, "LOG_EVERY", 2)
    values = {
        "settings": replace(SETTINGS, steps=4),
        "evaluate_minutes": 0.0,
        "device": "cpu",
        "name": "tiny",
        "config": TINY,
    }
    return sessions.Session(**({"corpus": tmp_path, "folder": tmp_path / "run"} | values | changes))


def test_session_runs_from_nothing_and_continues(monkeypatch, tmp_path):
    sessions.train(fake_session(monkeypatch, tmp_path))
    log = (tmp_path / "run" / "losses.csv").read_text()
    sessions.train(fake_session(monkeypatch, tmp_path, settings=replace(SETTINGS, steps=9)))
    assert (tmp_path / "run" / "losses.csv").read_text() == log
    adversarial = replace(SETTINGS, steps=2, stage="adversarial", discriminator_width=2)
    init = str(tmp_path / "run" / "checkpoint.pt")
    sessions.train(fake_session(monkeypatch, tmp_path, folder=tmp_path / "next", settings=adversarial, init=init))
    assert (tmp_path / "next" / "before-adversarial.pt").exists()
    lines = (tmp_path / "run" / "losses.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4"]
    assert "layer_3" in (tmp_path / "run" / "perplexity.csv").read_text()


def test_commands_do_not_import_torch():
    code = "import sys, rvqcodec.training.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
