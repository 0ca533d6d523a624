"""What the controller keeps of artifacts: locks by what was asked, and wheels by lock."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = {"locks": 200, "wheelhouses": 20}


class Store:
    """A folder with an artifact's parts.

    Args:
        folder: where it is, made where it is missing.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for kind in KEPT:
            (folder / kind).mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within this context nobody else builds: Ansible asks for each host in a process."""
        with (self.folder / "locked").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def lock(self, key: str, run: str = "") -> list[str] | None:
        """Look a lock up.

        Args:
            key: of what was asked.
            run: the playbook's run that must have resolved it; any if empty.
        """
        try:
            kept = json.loads((self.folder / "locks" / key).read_text())
        except (OSError, ValueError):
            return None
        if run and kept["run"] != run:
            return None
        os.utime(self.folder / "locks" / key)
        lines: list[str] = kept["lock"]
        return lines

    def keep_lock(self, key: str, lock: list[str], run: str) -> None:
        """Keep the lock that a run has resolved."""
        path = self.folder / "locks" / key
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"run": run, "lock": lock}))
        new.replace(path)
        self._forget_oldest("locks")

    def wheels(self, key: str, fill: Callable[[Path], None]) -> list[Path]:
        """Find the wheels of a lock.

        Args:
            key: of the lock.
            fill: puts them into a folder, where they are not kept yet.
        """
        entry = self.folder / "wheelhouses" / key
        if entry.is_dir():
            os.utime(entry)
        else:
            with tempfile.TemporaryDirectory(dir=self.folder) as spare:
                (Path(spare) / "wheels").mkdir()
                fill(Path(spare) / "wheels")
                (Path(spare) / "wheels").replace(entry)
            self._forget_oldest("wheelhouses")
        return sorted(entry.glob("*.whl"))

    def _forget_oldest(self, kind: str) -> None:
        by_use = sorted(
            (self.folder / kind).iterdir(), key=lambda path: path.stat().st_mtime, reverse=True
        )
        for path in by_use[KEPT[kind] :]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def digest(*parts: str) -> str:
    """Name what some texts say, 12 hexadecimal digits."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()[:12]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
