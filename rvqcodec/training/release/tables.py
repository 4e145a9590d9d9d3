"""Estimation of static entropy tables: counts of a frozen codec's codes on the training corpus, normalised to integers."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.models.rvq48.config import Rvq48Config
from rvqcodec.models.rvq48.model import Rvq48
from rvqcodec.training.corpus.crops import Crops

PRECISION = 24
TOTAL = 1 << PRECISION
BATCH = 16
SMOOTHING = 0.5
SILENCE = 1e-8


def count_codes(codec: Rvq48, crops: Crops, n_crops: int, minutes: float, beam_width: int) -> npt.NDArray[np.int64]:
    """Return how often each code is chosen, int64 [layers, largest codebook_size].

    Args:
        codec: The codec, in evaluation mode.
        crops: Training data; frames of digital silence aren't counted, since files have no codes for silent blocks.
        n_crops: Limit on crops.
        minutes: Time limit.
        beam_width: Of the quantizer search.
    """
    config = codec.config
    counts = np.zeros((config.n_layers, max(_sizes(config))), np.int64)
    rows = np.arange(config.n_layers)[:, None] * counts.shape[1]
    end = time.monotonic() + 60 * minutes
    for step in range(-(-n_crops // BATCH)):
        wave = torch.from_numpy(crops.batch(step, 0, min(BATCH, n_crops - step * BATCH)))
        with torch.inference_mode():
            codes = codec.encode(wave[:, None].to(codec.silence.device), config.n_layers, beam_width)
        active = wave.view(len(wave), -1, config.hop_length).square().mean(-1) > SILENCE
        indices = (codes.cpu().transpose(1, 2)[active].T.numpy() + rows).ravel()
        counts += np.bincount(indices, minlength=counts.size).reshape(counts.shape)
        if time.monotonic() > end:
            break
    return counts


def frequencies(counts: npt.NDArray[np.int64], config: Rvq48Config) -> list[npt.NDArray[np.uint32]]:
    """Return integer frequencies of each layer, uint32 [codebook_size], each >= 1, their sum 2^24.

    Half a count is added to each. In integer arithmetic, frequencies are rounded down, and the remainder to 2^24 is added to the most
    frequent code, the first of equal ones.

    Args:
        counts: [layers, largest codebook_size], not negative.
        config: Of the model.
    """
    return [_frequencies(row[:size]) for row, size in zip(counts, _sizes(config), strict=True)]


def _frequencies(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    doubled = 2 * counts.astype(np.int64) + int(2 * SMOOTHING)
    total, size = int(doubled.sum()), len(counts)
    table = 1 + np.array([int(value) * (TOTAL - size) // total for value in doubled], np.int64)
    table[table.argmax()] += TOTAL - table.sum()
    return table.astype(np.uint32)


def _sizes(config: Rvq48Config) -> list[int]:
    return [group.codebook_size for group in config.groups for _ in range(group.n_layers)]


def bits_per_code(counts: npt.NDArray[np.int64], table: Sequence[npt.NDArray[np.uint32]]) -> npt.NDArray[np.float64]:
    """Return the mean cost of each layer's codes under a table, float64 [layers]."""
    rows = zip(counts, table, strict=True)
    means = [(row[: len(f)] * (PRECISION - np.log2(f.astype(np.float64)))).sum() / row.sum() for row, f in rows]
    return np.array(means)
