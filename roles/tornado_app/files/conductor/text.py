"""What people read: an event as a line, rows as a table. The role's filters use it too."""

import time
from collections.abc import Mapping, Sequence
from typing import Any


def event_line(record: Mapping[str, Any]) -> str:
    """Write one event of the journal as a line."""
    now, process = record["time"], record.get("process") or ""
    clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
    return f"{clock}  {process:<14} {record['event']:<9} {record['text']}".rstrip()


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Write rows of the same length below each other, a line each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
