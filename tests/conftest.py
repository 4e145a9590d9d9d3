"""What all tests share; made-up models are in `tiny`, files of them in `streams`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny import tiny_codec

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes: two threads add up in another order, and slower

settings.register_profile("quick", max_examples=30, deadline=None, derandomize=True, print_blob=True)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def codec():
    """A tiny seeded model."""
    return tiny_codec()


@pytest.fixture(scope="session")
def vectors():
    """The folder of the golden vectors."""
    return Path(__file__).parent / "vectors"
