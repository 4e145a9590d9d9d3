"""Static entropy tables: how often a frozen codec chooses each code on the training corpus, as integers."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch

from rvqcodec.codec.codec import Codec
from rvqcodec.training.corpus.crops import Crops

PRECISION = 24
TOTAL = 1 << PRECISION
BATCH = 16
SMOOTHING = 0.5
SILENCE = 1e-8


def count_codes(codec: Codec, crops: Crops, n_crops: int, minutes: float, n_candidates: int) -> npt.NDArray[np.int64]:
    """Return how often each code is chosen, int64 [layers, codebook_size].

    Args:
        codec: The codec, in evaluation mode.
        crops: What to encode; frames of digital silence aren't counted, as files don't code silent blocks.
        n_crops: How many at most.
        minutes: How long at most.
        n_candidates: Candidates of the quantizer's search.
    """
    config = codec.config
    counts = np.zeros((config.n_layers, config.codebook_size), np.int64)
    rows = np.arange(config.n_layers)[:, None] * config.codebook_size
    end = time.monotonic() + 60 * minutes
    for step in range(-(-n_crops // BATCH)):
        wave = torch.from_numpy(crops.batch(step, 0, min(BATCH, n_crops - step * BATCH)))
        with torch.inference_mode():
            codes = codec.codes(wave.to(codec.silence.device), config.n_layers, n_candidates)
        sounding = wave.view(len(wave), -1, config.hop_length).square().mean(-1) > SILENCE
        places = (codes.cpu().transpose(1, 2)[sounding].T.numpy() + rows).ravel()
        counts += np.bincount(places, minlength=counts.size).reshape(counts.shape)
        if time.monotonic() > end:
            break
    return counts


def frequencies(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Return integer frequencies, uint32 [layers, codebook_size], each >= 1 and each row's sum 2^24.

    Half a count is added to each. All is integer arithmetic: shares are rounded down, and what is left to 2^24 goes to
    the most frequent code, the first of equals.

    Args:
        counts: [layers, codebook_size], not negative.
    """
    doubled = 2 * counts.astype(np.int64) + int(2 * SMOOTHING)
    size = counts.shape[1]
    table = 1 + np.array(
        [[int(value) * (TOTAL - size) // int(row.sum()) for value in row] for row in doubled], np.int64
    )
    largest = table.argmax(1)
    table[np.arange(len(table)), largest] += TOTAL - table.sum(1)
    return table.astype(np.uint32)


def bits_per_code(counts: npt.NDArray[np.int64], table: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """Return the mean cost of each layer's codes under a table, float64 [layers]."""
    costs = PRECISION - np.log2(table.astype(np.float64))
    mean: npt.NDArray[np.float64] = (counts * costs).sum(1) / counts.sum(1)
    return mean
