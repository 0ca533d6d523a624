"""What the module `files` is going to change, found out before it changes anything."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "absent": "nothing",
    "file": "a file",
    "directory": "a directory",
    "link": "a link",
    "special": "a socket, pipe or device",
}
# Owner or group: whatever it will be; one that only an earlier task of a check would have made.
ANY = -1
UNKNOWN = -2


class Found(NamedTuple):
    """What is at a path, or will be."""

    kind: str
    mode: str = ""
    owner: int = ANY
    group: int = ANY
    target: str = ""
    content: bytes = b""


ABSENT = Found("absent")

# An entry that says nothing.
EMPTY: dict[str, Any] = {
    "state": "file",
    "content": None,
    "source": None,
    "target": None,
    "mode": None,
    "only": None,
    "owner": None,
    "group": None,
    "secret": False,
}


class Change(NamedTuple):
    """One path that is to be changed."""

    path: Path
    before: Found
    after: Found
    secret: bool


def found_at(path: Path, kind: str) -> Found:
    """Read what is at a path, where `kind` is expected.

    Raises:
        OSError: the path may not be read.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) and kind == "directory" and path.is_dir():
            status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    mode, owner, group = f"{stat.S_IMODE(status.st_mode):04o}", status.st_uid, status.st_gid
    if stat.S_ISDIR(status.st_mode):
        return Found("directory", mode, owner, group)
    if stat.S_ISLNK(status.st_mode):
        return Found("link", "", owner, group, target=str(path.readlink()))
    if not stat.S_ISREG(status.st_mode):
        return Found("special", mode, owner, group)
    return Found("file", mode, owner, group, content=path.read_bytes() if kind == "file" else b"")


def entry_error(entry: dict[str, Any]) -> str:
    """Say what is wrong with one of `files`, in itself."""
    path, state, mode = entry["path"], entry["state"], entry["mode"]
    if not path.startswith("/") or ".." in Path(path).parts:
        return f"got the path {path!r}; expected an absolute one without .."
    if state == "file" and not isinstance(entry["content"], str) and not entry["source"]:
        return f"got no text as content of {path}; expected some, or an empty string"
    if state == "link" and not entry["target"]:
        return f"got no target of the link {path}; expected one"
    has_mode = state in ("file", "directory")
    if has_mode and not (isinstance(mode, str) and re.fullmatch("[0-7]{3,4}", mode)):
        return f'got {mode!r} as mode of {path}; expected a string such as "0640"'
    return ""


class Plan:
    """What is to be done for a list of files, found out before anything is.

    Args:
        files: as the option has them.
        defaults: owner, group, mode and directory_mode of those that name none.
        check: whether nothing will be done. What tasks before this one have only predicted, such as
            a user or a folder, is then missing and no error.
    """

    def __init__(self, files: list[dict[str, Any]], defaults: dict[str, Any], check: bool) -> None:
        self.check = check
        self.changes: list[Change] = []
        self.errors: list[str] = []
        self._after: dict[Path, Found] = {}
        self._removed: set[Path] = set()
        for given in files:
            own = {name: value for name, value in given.items() if value is not None}
            entry = {**EMPTY, **defaults, **own}
            if entry["state"] == "directory" and "mode" not in own:
                entry["mode"] = defaults["directory_mode"]
            error = entry_error(entry)
            if error:
                self.errors.append(error)
                continue
            try:
                self._add(Path(entry["path"]), entry)
                for other in self._others(Path(entry["path"]), entry["only"]):
                    self._add(other, {**EMPTY, "path": str(other), "state": "absent"})
            except OSError as unreadable:
                self.errors.append(f"got {unreadable.strerror!r} at {unreadable.filename}")

    def _others(self, path: Path, only: list[str] | None) -> list[Path]:
        """What is in a directory and is not among the names that may be."""
        if only is None or self._look(path, "directory").kind != "directory":
            return []
        there = {other.name for other in path.iterdir()} if path.is_dir() else set()
        return [path / name for name in sorted(there - set(only))]

    def _look(self, path: Path, kind: str) -> Found:
        """What will be at a path when it is its turn."""
        if path in self._after:
            return self._after[path]
        if self._removed.intersection(path.parents):
            return ABSENT
        return found_at(path, kind)

    def _add(self, path: Path, entry: dict[str, Any]) -> None:
        state = entry["state"]
        before = self._look(path, state)
        after = ABSENT
        if state != "absent":
            if before.kind not in (state, "absent"):
                self.errors.append(f"got {KINDS[before.kind]} at {path}; expected {KINDS[state]}")
                return
            if not self._add_parent(path, entry):
                return
            after = self._wanted(path, entry, before)
        if before == after:
            return
        if not self.check and os.geteuid() != 0:
            self._refuse_foreign(path, before, after)
        self.changes.append(Change(path, before, after, entry["secret"]))
        if state == "absent":
            self._removed.add(path)
            self._after = {p: found for p, found in self._after.items() if path not in p.parents}
        self._after[path] = after

    def _add_parent(self, path: Path, entry: dict[str, Any]) -> bool:
        """Whether a path's parent is or will be there; that of a directory is added."""
        found = self._look(path.parent, "directory")
        if found.kind == "absent" and entry["state"] == "directory":
            self._add(path.parent, entry)
            return path.parent in self._after
        if found.kind == "directory" or (found.kind == "absent" and self.check):
            return True
        got = f"got {KINDS[found.kind]} at {path.parent}"
        self.errors.append(f"{got}; expected a directory, for {path}")
        return False

    def _wanted(self, path: Path, entry: dict[str, Any], before: Found) -> Found:
        def number(of: str, lookup: Callable[[str], int]) -> int:
            name: str | None = entry[of]
            if name is None:
                kept: int = getattr(before, of)
                return kept
            if name.isdecimal():
                return int(name)
            try:
                return lookup(name)
            except KeyError:
                if not self.check:
                    error = f"got {name!r} as {of} of {path}; expected one that this host knows"
                    self.errors.append(error)
                return UNKNOWN

        owner = number("owner", lambda name: pwd.getpwnam(name).pw_uid)
        group = number("group", lambda name: grp.getgrnam(name).gr_gid)
        if entry["state"] == "link":
            return Found("link", "", owner, group, target=entry["target"])
        content = b""
        if entry["state"] == "file":
            source = entry["source"]
            content = Path(source).read_bytes() if source else entry["content"].encode()
        return Found(entry["state"], entry["mode"].rjust(4, "0"), owner, group, content=content)

    def _refuse_foreign(self, path: Path, before: Found, after: Found) -> None:
        """Refuse what only root may do, give files away (chown(2))."""
        owner = before.owner if before.kind == "directory" else os.geteuid()
        groups = {before.group, os.getegid(), *os.getgroups()}
        if after.kind == "absent":
            return
        if after.owner not in (ANY, UNKNOWN, owner):
            self.errors.append(f"got {after.owner} as owner of {path}; expected {owner}: not root")
        if after.group not in (ANY, UNKNOWN, *groups):
            names = ", ".join(map(str, sorted(groups - {ANY})))
            self.errors.append(f"got {after.group} as group of {path}; expected {names}: not root")
