"""The lock of a home: one conductor at a time changes something.

The file also holds a note of who has it, and of what an unfinished rollout goes back to.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from conductor import proc
from conductor.errors import Failed
from conductor.journal import Report


class Lock:
    """The file `path` and what is noted in it."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path = path
        self._report = report

    def unfinished(self) -> Path | None:
        """The configuration from before a rollout that did not end."""
        before = self._note().get("before")
        return Path(before) if before else None

    def remember(self, before: Path | None) -> None:
        """Note what to go back to until the rollout ends."""
        self._write_note(self._note() | {"before": str(before) if before else None})

    def forget(self) -> None:
        """The rollout has ended."""
        self.remember(None)

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the lock.

        Raises:
            Failed: another conductor holds it (code 4). One whose playbook was killed is waited
                for instead: nobody will see its end, and this one goes on from there.
        """
        try:
            lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError as error:
            raise Failed(f"{self._path}: permission denied: run this as root") from error
        try:
            await self._take(lock)
            since = time.strftime("%H:%M:%S")
            holder = {"pid": os.getpid(), "since": since, "callers": proc.ancestors()}
            self._write_note(self._note() | holder)
            yield
        finally:
            os.close(lock)

    async def _take(self, lock: int) -> None:
        waits = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                note = self._note()
                holder = f"pid {note.get('pid')}, since {note.get('since')}"
                callers = note.get("callers", {})
                if all(proc.started(int(pid)) == at for pid, at in callers.items()):
                    text = f"another rollout is running: {holder}"
                    raise Failed(text, code=4) from None
                if not waits:
                    self._report("wait", f"for a rollout whose caller is gone: {holder}")
                waits = True
                await asyncio.sleep(0.2)

    def _note(self) -> dict[str, Any]:
        try:
            # A conductor killed while it wrote may have left the tail of the note before.
            note, _ = json.JSONDecoder().raw_decode(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _write_note(self, note: dict[str, Any]) -> None:
        text = json.dumps(note)
        with self._path.open("r+", encoding="utf-8") as lock:
            lock.write(text)
            lock.flush()
            lock.truncate(len(text.encode()))
