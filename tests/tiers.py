"""Which tests are slow: they have the marker `slow`, and `make quick` leaves them out."""

from __future__ import annotations

SLOW = (
    "tests/batch/test_ray_engine.py",  # a cluster of two nodes
)


def is_slow(nodeid: str) -> bool:
    """Tell whether a test is one of those, or in one of their files."""
    return nodeid.startswith(SLOW)
