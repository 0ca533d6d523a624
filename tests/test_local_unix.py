"""The same on unix sockets, where they differ."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack
from tests.test_local import (
    deployed,
    test_rollout_and_broken_release_under_load,
    test_rolls_lose_nothing,
    test_stop_drains_all_at_once,
    test_who_may_read_what,
)

__all__ = [
    "test_rollout_and_broken_release_under_load",
    "test_rolls_lose_nothing",
    "test_stop_drains_all_at_once",
    "test_who_may_read_what",
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """On unix sockets."""
    yield from deployed("unix", 9303)
