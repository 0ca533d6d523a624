"""A hundred rolls in a row: nothing grows, nothing is left."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stack import Stack, children
from tests.support.wait import until

BASE_PORT = 9753
# Idle upstream connections would cost each drain two seconds.
VARIABLES = {"tornado_app_processes": 2, "tornado_app_nginx_upstream_keepalive": 0}

# On sockets, whose paths could be left; on ports there is nothing in their place.
pytestmark = pytest.mark.parametrize("stack", ["unix"], indirect=True, scope="module")

ROLLS = 100
KIB = 1024


@dataclass(frozen=True)
class Use:
    """What a process has: resident memory in bytes, file descriptors, threads."""

    memory: int
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> "Use":
        """What it has now."""
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(int(fields["VmRSS"].split()[0]) * KIB, files, int(fields["Threads"]))


def family(pid: int) -> list[int]:
    """A process and all that it has started, and they."""
    return [pid, *(other for child in children(pid) for other in family(child))]


def roll(stack: Stack) -> int:
    """Roll by a conductor of its own; returns the most bytes that it had in memory."""
    [program] = (stack.home / "bin").glob("*-ctl")
    conductor = subprocess.Popen([program, "restart"], stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(conductor.pid, 0)
    conductor.returncode = os.waitstatus_to_exitcode(code)
    assert conductor.returncode == 0
    return usage.ru_maxrss * KIB


def test_a_hundred_rolls(stack: Stack) -> None:
    """Nothing may fail, grow or be left.

    Memory has had its say after ten rolls; from there on a tenth more is an allocator's whim.
    """
    supervisord = int((stack.home / "run/supervisord.pid").read_text())
    nginx = int((stack.home / "run/nginx.pid").read_text())
    conductors = []

    def uses() -> dict[int, Use]:
        return {pid: Use.of(pid) for pid in (supervisord, *family(nginx))}

    def left() -> tuple[int, list[str], int]:
        """Processes, what is in their folder, and unix sockets; of this stack alone."""
        sockets = Path("/proc/net/unix").read_text().count(str(stack.home))
        folder = sorted(path.name for path in (stack.home / "run").iterdir())
        return len(family(supervisord)), folder, sockets

    with stack.load("/slow?seconds=0.1", clients=10) as load:
        conductors += [roll(stack) for _ in range(ROLLS // 10)]
        early = uses()
        conductors += [roll(stack) for _ in range(ROLLS - ROLLS // 10)]
        late = uses()
    until(lambda: left()[2] == 3)  # those that listen
    before = left()
    roll(stack)
    assert load.failed == 0, load.output
    assert load.requests > ROLLS
    until(lambda: left() == before)
    assert before[1] == [
        "9753.sock",
        "9754.sock",
        "nginx.pid",
        "supervisor.sock",
        "supervisord.pid",
    ]
    assert late.keys() == early.keys()
    for pid, use in late.items():
        assert use.memory < early[pid].memory * 1.1
        assert use.threads == early[pid].threads
        # Of connections in between: those of the load, each with one to a process.
        assert abs(use.files - early[pid].files) <= 20
    until(lambda: Use.of(supervisord).files <= early[supervisord].files)
    assert max(conductors[-10:]) < max(conductors[:10]) * 1.1
