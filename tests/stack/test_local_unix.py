"""The same on unix sockets, where they differ."""

import os
from collections.abc import Iterator

import pytest

from tests.stack.test_local import (
    test_rolls_lose_nothing,
    test_stop_drains_all_at_once,
    test_who_may_read_what,
)
from tests.support.stack import Stack

__all__ = [
    "test_rolls_lose_nothing",
    "test_stop_drains_all_at_once",
    "test_who_may_read_what",
]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """On unix sockets, without upstream keepalive."""
    variables = {"tornado_app_listener": "unix", "tornado_app_nginx_upstream_keepalive": 0}
    with Stack("e2e-unix", 9303, **variables).deployed() as stack:
        yield stack


def test_removed_without_a_trace(stack: Stack) -> None:
    """The last one here."""
    stack.playbook(tornado_app_state="absent")
    assert not stack.home.exists()
    assert str(stack.home) not in os.popen("ps -eo args").read()
