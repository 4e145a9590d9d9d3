"""What all tests share; made-up models and files are in `tiny`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from tiny import tiny_codec

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
