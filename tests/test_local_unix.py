"""The same on unix sockets, where they differ."""

from collections.abc import Iterator

import pytest

from tests.stack import Stack, deployed
from tests.test_local import (
    test_rolls_lose_nothing,
    test_stop_drains_all_at_once,
    test_who_may_read_what,
)

__all__ = [
    "test_rolls_lose_nothing",
    "test_stop_drains_all_at_once",
    "test_who_may_read_what",
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """On unix sockets, at first without upstream keepalive."""
    variables = {"tornado_app_listener": "unix", "tornado_app_nginx_upstream_keepalive": 0}
    with deployed("e2e-unix", 9303, **variables) as stack:
        yield stack
