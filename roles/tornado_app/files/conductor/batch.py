"""How many processes are replaced at a time."""

import math
import re
from collections.abc import Iterator

from conductor.errors import Failed


def batch_size(text: str, processes: int) -> int:
    """How many processes a batch takes.

    Args:
        text: a number of processes, or a percentage of them such as ``25%``.
        processes: how many there are.

    Raises:
        Failed: it is neither, or none would be left to serve (code 2).
    """
    found = re.fullmatch(r"([1-9]\d*)(%?)", text)
    if not found:
        raise Failed(f"batch {text!r}: expected a number of processes, or a percentage", code=2)
    number = int(found[1])
    size = max(1, math.floor(processes * number / 100)) if found[2] else number
    if size >= processes > 1:
        raise Failed(f"batch {text}: {size} of {processes} processes leaves none to serve", code=2)
    return size


def batches(names: list[str], size: int) -> Iterator[list[str]]:
    """Cut a list into lists of at most `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]
