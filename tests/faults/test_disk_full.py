"""A full disk: what is installed on it fails, what serves from it does not."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import LIGHT, Stack

BASE_PORT = 9713


def as_root(*command: str) -> None:
    """Run a command as root."""
    subprocess.run([*([] if os.geteuid() == 0 else ["sudo"]), *command], check=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of its own."""
    path = tmp_path_factory.mktemp("disk")
    as_root(
        "mount", "-t", "tmpfs", "-o", f"size=200m,mode=700,uid={os.geteuid()}", "tmpfs", str(path)
    )
    yield path
    as_root("umount", str(path))


@pytest.fixture(scope="module")
def stack(disk: Path) -> Iterator[Stack]:
    """A stack whose home is there."""
    home = str(disk / "home")
    with Stack("disk-full", BASE_PORT, tornado_app_home=home).deployed() as stack:
        yield stack


def extend(path: Path, size: int) -> None:
    """Reserve space for so many bytes beyond the end of a file (fallocate(2), KEEP_SIZE)."""
    offset = str(path.stat().st_size)
    subprocess.run(["fallocate", "-n", "-o", offset, "-l", str(size), str(path)], check=True)


def fill(disk: Path, leaving: int) -> Path:
    """Fill the disk with a file, but for so many bytes."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        size = 0
        while (free := shutil.disk_usage(disk).free) > leaving:
            # What is logged meanwhile may have taken it: then again, with what is left.
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), size, free - leaving)
                size += free - leaving
    return filler


def test_a_release_that_does_not_fit(stack: Stack, disk: Path) -> None:
    """May fail: the playbook, and it says why. The old release answers every request meanwhile.

    Once there is room, the same command completes; nothing of the first attempt is left.
    """
    before = stack.status()
    # As a user would: the same app in another version of one package.
    packages = ["./app[metrics]", "./app/demo_app", "tornado==6.5.2"]
    with stack.load(LIGHT) as load:
        filler = fill(disk, 1_000_000)
        output = stack.playbook(code=2, tornado_app_packages=packages)
        # Of what pip says, Ansible may break the line anywhere.
        assert "No space left on device" in " ".join(output.split())
        assert stack.status() | {"processes": []} == before | {"processes": []}
        assert [p["pid"] for p in stack.status()["processes"]] == [
            p["pid"] for p in before["processes"]
        ]
        filler.unlink()
        stack.playbook(tornado_app_packages=packages)
        after = stack.status()
        assert after["release"] != before["release"]
        assert all(p["ready"] and p["release"] == after["release"] for p in after["processes"])
    assert load.failed == 0, load.output
    whole = {path.parent.name for path in stack.home.glob("releases/*/requirements.txt")}
    assert {path.name for path in (stack.home / "releases").iterdir()} == whole


def test_a_roll_on_a_full_disk(stack: Stack, disk: Path) -> None:
    """May fail: the roll, at its first process, for this app writes a file at its start.

    The others answer every request meanwhile. Once there is room, the same command completes.
    """
    before = [p["pid"] for p in stack.status()["processes"]]
    with contextlib.ExitStack() as held, stack.load(LIGHT) as load:
        # Nor does what an ending process deletes make room for the next: it stays, being open.
        for path in stack.home.glob("data/process-*"):
            held.enter_context(path.open())
        # But what a process says at its end finds room in its log, however full its last page is.
        for log in stack.home.glob("log/disk-full-*.log"):
            extend(log, 1 << 16)
        filler = fill(disk, 0)
        output = stack.ctl("restart", code=1)
        assert "No space left on device" in output
        assert "the other processes were left as they are" in output
        assert all(Path(f"/proc/{pid}").exists() for pid in before[1:])
        filler.unlink()
        stack.ctl("restart")
    assert load.failed == 0, load.output
    after = stack.status()["processes"]
    assert all(p["ready"] and p["pid"] not in before for p in after)
