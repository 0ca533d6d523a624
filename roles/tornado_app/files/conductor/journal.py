"""What happens, said to the operator and kept in a journal."""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from conductor.text import event_line

JOURNAL_BYTES = 5_000_000


class Report:
    """Says what happens, as lines with times or as JSON lines, and keeps it in the journal."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._journal: IO[bytes] | None = None

    def open_journal(self, log: Path) -> None:
        """Keep events in `log`/rolling_restart.jsonl, the newest 5 to 10 MB of them."""
        path = log / "rolling_restart.jsonl"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > JOURNAL_BYTES:
                path.replace(path.with_suffix(".jsonl.1"))
        # The folder is the app's, and this may be root: a link there must not lead elsewhere.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._journal = os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0)

    def __call__(self, event: str, text: str, process: str | None = None, **facts: Any) -> None:
        """Report one event.

        Args:
            event: one word.
            text: for a person.
            process: the name of the process that it is about, if it is about one.
            facts: for a program; None is left out.
        """
        now = time.time()
        record = {"time": round(now, 3), "event": event, "process": process, "text": text} | facts
        line = json.dumps({key: value for key, value in record.items() if value is not None})
        if self._journal is not None:
            # A full disk stops no roll half-way, with one process less.
            with contextlib.suppress(OSError):
                self._journal.write(f"{line}\n".encode())
        if self._as_json:
            print(line, flush=True)
        else:
            print(event_line(record), flush=True)
