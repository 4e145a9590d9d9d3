"""A small part of what `make fuzz` goes through, and all cases that failed once."""

import pytest

from tests.hostile.fuzz import SEEDS, run

N_CASES = 300


@pytest.mark.parametrize("first", range(0, N_CASES, 50))
def test_changed_files_are_read_or_refused(first):
    for seed in range(first, first + 50):
        run(seed)


def test_what_failed_once():
    for seed in SEEDS:
        run(seed)
