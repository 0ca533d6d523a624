"""What /proc says of processes and of the sockets they listen on (proc(5)).

Also a module of the collection (plugins/module_utils): it stands alone, and runs on Python 3.9.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def all_pids() -> list[int]:
    """Every process that we can see."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """The fields of a process's `stat` from its state on; raises `OSError` if it is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if it is gone."""
    try:
        return _stat(pid)[19]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended, reaped or not."""
    try:
        return _stat(pid)[0] not in "ZX"
    except OSError:
        return False


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def ancestors() -> dict[int, str]:
    """The ancestors of this process, init left out, and when each started."""
    found = {}
    pid = os.getppid()
    while pid > 1:
        found[pid] = started(pid)
        pid = parent(pid)
    return found


def command(pid: int) -> str:
    """The command line of a process, in one line; raises `OSError` if it is gone."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return words.rstrip("\0").replace("\0", " ").strip()


def environment(pid: int) -> dict[str, str]:
    """What a process was started with; raises `OSError` where we may not look."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def listening_sockets() -> Iterator[tuple[str, str]]:
    """Yield address (a TCP port or a unix path) and inode of each listening socket."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for row in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == "0A":
                    yield str(int(fields[1].rpartition(":")[2], 16)), fields[9]
    with contextlib.suppress(FileNotFoundError):
        for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = row.split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & 0x10000:
                yield fields[7], fields[6]


def socket_inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets; raises `OSError` where we may not look."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


def listens(pid: int, listen: str) -> bool:
    """Whether a process, or one that it started, is the one that listens at an address.

    supervisord gives each program a process group of its own, named by its first pid. Where we may
    not look, the answer is yes.

    Args:
        pid: of the process.
        listen: ``host:port`` or ``unix:/path``.
    """
    address = listen[len("unix:") :] if listen.startswith("unix:") else listen.split(":")[-1]
    wanted = {inode for where, inode in listening_sockets() if where == address}
    try:
        if wanted & socket_inodes(pid):
            return True
    except OSError:
        return True
    for other in all_pids():
        with contextlib.suppress(OSError):
            if os.getpgid(other) == pid and wanted & socket_inodes(other):
                return True
    return False


def listening_ports() -> dict[str, dict[str, Any]]:
    """Who listens on which TCP port.

    Returns:
        By port, the ``pid`` (None where we may not look) and the ``command``; of several processes
        that share the socket, those of the one that began it.
    """
    ports = {inode: address for address, inode in listening_sockets() if address.isdecimal()}
    holders: dict[str, set[int]] = {port: set() for port in ports.values()}
    for pid in all_pids():
        with contextlib.suppress(OSError):
            for inode in socket_inodes(pid) & ports.keys():
                holders[ports[inode]].add(pid)
    found: dict[str, dict[str, Any]] = {}
    for port, pids in holders.items():
        first = min((pid for pid in pids if parent(pid) not in pids), default=None)
        found[port] = {"pid": first, "command": ""}
        if first is not None:
            with contextlib.suppress(OSError):
                found[port]["command"] = command(first)
    return found
