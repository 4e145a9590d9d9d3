"""The trainer: repeatable, resumable, the same in one process or several; each stage leaves alone what it should."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from rvqcodec.errors import ModelError, RvqError
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.train.checkpoint import load_checkpoint, save_checkpoint
from rvqcodec.training.train.muon import Muon, orthogonalised
from rvqcodec.training.train.parallel import Group
from rvqcodec.training.train.settings import Settings
from rvqcodec.training.train.trainer import Trainer, draw_layers
from tests.trainers import CROP, SETTINGS, made_crops, started, trained_config


def parameters(trainer):
    return torch.cat([value.detach().flatten() for value in trainer.codec.state_dict().values()])


def changed_by(trainer, n_steps=1):
    """Return the last step's values, and the names of tensors that the steps changed."""
    before = {name: value.clone() for name, value in trainer.codec.state_dict().items()}
    values = [trainer.step() for _ in range(n_steps)]
    after = trainer.codec.state_dict()
    return values, {name for name, value in after.items() if not torch.equal(value, before[name])}


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


def test_crops_are_repeatable_levelled_and_shared_out():
    batch = made_crops().batch(5, 0, 6)
    assert batch.dtype == np.float32
    assert np.array_equal(batch[2:4], made_crops().batch(5, 2, 2))
    assert not np.array_equal(batch, made_crops().batch(6, 0, 6))
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


def test_training_lowers_the_loss():
    trainer = Trainer(started(), made_crops(), replace(SETTINGS, steps=24, decay_share=0.0, rate=2.0))
    wave = trainer.crops.batch(0, 0, 2)
    trainer.crops.batch = lambda *_: wave
    losses = [values["stft"] + values["mel"] for values in (trainer.step() for _ in range(24))]
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


def test_a_step_trains_the_network_and_not_the_chain():
    """With the low loss too, which looks at the spectrum behind the first steps of the chain."""
    trainer = Trainer(started(), made_crops(), replace(SETTINGS, low=1.0, waveform=0.3))
    (values,), changed = changed_by(trainer)
    assert values["low"] > 0
    assert {"encoder.linear.weight", "decoder.head.weight", "quantizer.codebooks"} <= changed
    chain = ("compression", "noise", "smoothing", "decorrelation", "postfilter", "sinusoids")
    assert not any(name.startswith(f"decoder.{step}.") for name in changed for step in chain)
    assert "low" not in Trainer(started(), made_crops(), SETTINGS).step()


def test_what_skips_stays_zero_in_training():
    made = started()
    assert made.quantizer.costs.any()
    trainer = Trainer(made, made_crops(), SETTINGS)
    for _ in range(4):  # with a restart of dead codes
        trainer.step()
    assert not made.quantizer.codebooks[:, 0].any()
    assert made.quantizer.codebooks[:, 1:].any(-1).all()


def test_codebooks_alone_follow_frozen_networks():
    made = started()
    made.quantizer.codebooks.mul_(0.8)
    settings = replace(SETTINGS, stage="codebooks", steps=30, batch=8, codebook_decay=0.8)
    trainer = Trainer(made, made_crops(), settings)
    values, changed = changed_by(trainer, 30)
    errors = [value["error"] for value in values]
    assert sum(errors[-5:]) < sum(errors[:5])
    assert changed == {"quantizer.codebooks"}
    assert trainer.step_number == 30 and trainer.audio_seconds == pytest.approx(24)


@pytest.mark.parametrize("stage", ["decoder", "adversarial"])
def test_decoder_stages_leave_encoder_and_codebooks_alone(stage):
    values, changed = changed_by(
        Trainer(started(), made_crops(), replace(SETTINGS, stage=stage, discriminator_width=2))
    )
    assert ({"adversarial", "features"} <= set(values[0])) == (stage == "adversarial")
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_infinite_gradients_are_skipped_and_then_an_error():
    trainer = Trainer(started(), made_crops(), SETTINGS)
    trainer.crops.batch = lambda *_: np.full((2, CROP), np.nan, np.float32)
    before = parameters(trainer).clone()
    trainer.step()
    assert torch.equal(before, parameters(trainer))
    with pytest.raises(RvqError, match="diverged"):
        for _ in range(30):
            trainer.step()


@pytest.mark.parametrize("stage", ["joint", "adversarial"])
def test_checkpoint_resumes_to_the_step(tmp_path, stage):
    settings = replace(SETTINGS, stage=stage, discriminator_width=2, crop_s=0.1)
    straight = Trainer(started(), made_crops(), settings)
    for _ in range(6):
        straight.step()
    first = Trainer(started(), made_crops(), settings)
    for _ in range(3):
        first.step()
    save_checkpoint(first.state_dict(), tmp_path / "c.pt")
    state = load_checkpoint(tmp_path / "c.pt")
    second = Trainer(Rvq48(trained_config()), made_crops(), Settings(**state["settings"]))
    second.load_state_dict(state)
    for _ in range(3):
        second.step()
    assert second.step_number == 6
    assert torch.equal(parameters(straight), parameters(second))
    for name, average in straight.average.items():
        assert torch.equal(average, second.average[name])


def test_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"nothing")
    with pytest.raises(ModelError):
        load_checkpoint(tmp_path / "c.pt")
    torch.save({"codec": {}}, tmp_path / "d.pt")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "d.pt")


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
    trainer = Trainer(started(), made_crops(), replace(SETTINGS, batch=4), group)
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
