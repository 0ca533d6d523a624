"""Waiting for conditions, the only way in which tests wait."""

import time
from collections.abc import Callable


def until(
    condition: Callable[[], object],
    seconds: float = 30,
    tell: Callable[[], str] = lambda: "",
) -> float:
    """Wait for a condition.

    Args:
        condition: asked every 10 ms; true once it holds.
        seconds: how long it may take.
        tell: says what is the matter, where it took too long.

    Returns:
        When it held, by the monotonic clock, seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s{tell()}"
        time.sleep(0.01)
    return time.monotonic()
