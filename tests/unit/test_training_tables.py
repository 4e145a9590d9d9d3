"""Static tables: integers that sum to 2^24, and cheaper than flat codes."""

import math

import numpy as np

from rvqcodec.training.release.tables import TOTAL, bits_per_code, count_codes, frequencies
from tests.trainers import made_crops, started, trained_config


def test_frequencies_sum_to_2_to_the_24():
    config = trained_config(n_codebooks=22, codebook_size=1024, search_stops=(6, 22), sinusoid_layers=(6, 7))
    generator = np.random.default_rng(0)
    counts = generator.integers(0, 1000, (24, 1024)) * (generator.random((24, 1024)) < 0.1)
    table = frequencies(counts, config)
    assert [len(row) for row in table] == [1024] * 6 + [256] * 2 + [1024] * 16
    assert all(row.dtype == np.uint32 and row.sum(dtype=np.int64) == TOTAL and row.min() >= 1 for row in table)
    assert all(np.array_equal(row, again) for row, again in zip(table, frequencies(counts, config), strict=True))
    flat = frequencies(np.zeros((4, 16), np.int64), trained_config())
    assert all((row == TOTAL // 16).all() for row in flat)


def test_counted_codes_cost_less_than_flat_ones():
    made = started().eval().requires_grad_(False)
    counts = count_codes(made, made_crops(), 20, minutes=1.0, beam_width=2)
    assert counts.shape == (4, 16)
    assert 0 < counts[0].sum() <= 20 * 5
    assert len(set(counts.sum(1).tolist())) == 1
    assert (bits_per_code(counts, frequencies(counts, made.config)) <= math.log2(16)).all()


def test_layers_of_sinusoids_are_counted_by_their_own_size():
    made = started().eval().requires_grad_(False)
    toned = type(made)(trained_config(sinusoid_layers=(2, 3))).eval().requires_grad_(False)
    toned.load_state_dict({**toned.state_dict(), **made.state_dict()})
    counts = count_codes(toned, made_crops(), 4, minutes=1.0, beam_width=1)
    assert counts.shape == (6, 256) and not counts[[0, 1, 4, 5], 16:].any()
    assert counts[[2, 3], 0].sum() > 0
