"""What the conductor keeps on disk, and what it deletes: journal, lock, links, prune."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conductor import proc
from conductor.errors import Failed
from conductor.home import Home, link, linked
from conductor.journal import JOURNAL_BYTES, Report
from conductor.lock import Lock
from conductor.prune import prune
from conductor.status import describe, table
from conductor.supervisor_client import State

from tests.support.home import CONDUCTOR
from tests.support.wait import until

REPORT = Report(as_json=True)


def test_an_event_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        report = Report(as_json)
        report.open_journal(tmp_path)
        report("drained", "0.10 s", "shop-9001", seconds=0.1, killed=False, nothing=None)
    lines, objects = capsys.readouterr().out.splitlines()
    assert lines.split()[1:] == ["shop-9001", "drained", "0.10", "s"]
    [first, second] = map(json.loads, (tmp_path / "rolling_restart.jsonl").read_text().splitlines())
    assert second == json.loads(objects)
    assert first | {"time": 0} == {
        "time": 0,
        "event": "drained",
        "process": "shop-9001",
        "text": "0.10 s",
        "seconds": 0.1,
        "killed": False,
    }


def test_the_journal_is_rotated_once_it_is_large(tmp_path: Path) -> None:
    journal, old = tmp_path / "rolling_restart.jsonl", tmp_path / "rolling_restart.jsonl.1"
    journal.write_text("x" * JOURNAL_BYTES)
    REPORT.open_journal(tmp_path)
    assert not old.exists()
    journal.write_text("y" * (JOURNAL_BYTES + 1))
    REPORT.open_journal(tmp_path)
    assert old.read_text().startswith("y")
    assert journal.read_text() == ""


def test_a_journal_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "rolling_restart.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Report(as_json=True).open_journal(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_the_note_in_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path, REPORT)
    assert lock.unfinished() is None

    async def roll() -> None:
        async with lock.held():
            lock.remember(tmp_path / "a-long-name.conf")
            lock.remember(tmp_path / "a.conf")

    asyncio.run(roll())
    note = json.loads(path.read_text())
    assert note["pid"] == os.getpid()
    assert note["callers"][str(os.getppid())] == proc.started(os.getppid())
    assert Lock(path, REPORT).unfinished() == tmp_path / "a.conf"
    # What a conductor that is killed while it writes leaves behind the note.
    path.write_text(path.read_text() + 'ong-name.conf"}')
    assert lock.unfinished() == tmp_path / "a.conf"
    lock.forget()
    assert lock.unfinished() is None
    path.write_text("no note")
    assert lock.unfinished() is None


HOLD = """
import asyncio, sys
from pathlib import Path
from conductor.journal import Report
from conductor.lock import Lock

async def main() -> None:
    async with Lock(Path(sys.argv[1]), Report(True)).held():
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(main())
"""


@contextmanager
def holder(path: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """Within this context another process holds the lock."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLD, path],
        env=os.environ | {"PYTHONPATH": str(CONDUCTOR.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        assert process.stdout.readline() == "held\n"
        yield process
    process.wait()


async def take(lock: Lock) -> None:
    """Take the lock and give it back."""
    async with lock.held():
        pass


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        with pytest.raises(Failed, match=rf"is running: pid {process.pid}, since ") as failed:
            asyncio.run(take(Lock(path, REPORT)))
        assert failed.value.code == 4
    asyncio.run(take(Lock(path, REPORT)))


def test_one_whose_caller_is_gone_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock"
    with holder(path, "sh", "-c", '"$@"; :', "sh") as shell:
        shell.kill()
        shell.wait()
        pid = json.loads(path.read_text())["pid"]

        async def take_and_release() -> None:
            waiting = asyncio.create_task(take(Lock(path, REPORT)))
            while "caller is gone" not in capsys.readouterr().out:
                assert not waiting.done()
                await asyncio.sleep(0.01)
            os.kill(pid, 9)
            await asyncio.wait_for(waiting, 10)

        asyncio.run(take_and_release())


def test_a_link_is_moved_in_one_step(tmp_path: Path) -> None:
    current = tmp_path / "current"
    assert linked(current) is None
    for target in (tmp_path / "a", tmp_path / "b"):
        link(current, target)
        assert linked(current) == target
    current.with_name("current.new").symlink_to("left of one that was killed")
    link(current, tmp_path / "c")
    assert linked(current) == tmp_path / "c"
    current.unlink()
    current.symlink_to("relative")
    assert linked(current) == tmp_path / "relative"
    link(current, None)
    link(current, None)
    assert linked(current) is None


def test_prune(tmp_path: Path) -> None:
    """Of five configurations the oldest serves, the one before it is the next to oldest."""
    home = Home(tmp_path)
    for kind in ("configurations", "environments"):
        (tmp_path / kind).mkdir()
    for number in range(5):
        release = tmp_path / f"releases/r{number}"
        release.mkdir(parents=True)
        (tmp_path / f"environments/e{number}").write_text("")
        path = home.configuration(f"c{number}")
        path.write_text(f"{tmp_path}/environments/e{number} {release}/venv")
        os.utime(path, (number, number))
    link(home.current, home.configuration("c0"))
    link(home.previous, home.configuration("c1"))
    prune(home, 3)

    def left(kind: str) -> set[str]:
        return {path.name for path in (tmp_path / kind).iterdir()}

    assert left("configurations") == {"c0.conf", "c1.conf", "c4.conf"}
    assert left("releases") == {"r0", "r1", "r4"}
    assert left("environments") == {"e0", "e1", "e4"}
    home.configuration("c1").unlink()
    prune(home, 2)
    assert left("releases") == {"r0", "r4"}
    assert linked(home.previous) is None, "there is nothing to go back to"


def test_prune_removes_what_versions_before_had(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "wheels/0a1b").mkdir(parents=True)
    for name in ("rolling_restart.py", "supervisord.py", "supervisord.conf"):
        (tmp_path / name).write_text("")
    prune(home, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["supervisord.conf"]


def test_prune_keeps_the_conductors_that_are_linked_or_run(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("old", "running", "linked"):
        (tmp_path / f"conductors/{name}/conductor").mkdir(parents=True)
    link(home.conductor, Path("conductors/linked"))

    def left() -> set[str]:
        return {path.name for path in (tmp_path / "conductors").iterdir()}

    folder = tmp_path / "conductors/running"
    running = subprocess.Popen(["sleep", "60"], env={"PYTHONPATH": str(folder)})
    try:
        until(lambda: proc.command(running.pid) == "sleep 60")
        prune(home, 1)
        assert left() == {"running", "linked"}
    finally:
        running.kill()
        running.wait()
    prune(home, 1)
    assert left() == {"linked"}


@pytest.mark.parametrize(
    ("state", "ready", "word"),
    [
        ("RUNNING", True, "serving"),
        ("STARTING", True, "serving"),
        ("STARTING", False, "starting"),
        ("RUNNING", False, "not ready"),
        ("STOPPING", True, "draining"),
        ("STOPPED", False, "stopped"),
        ("FATAL", False, "fatal"),
        ("EXITED", False, "exited"),
        ("BACKOFF", False, "backoff"),
    ],
)
def test_a_word_for_each_state(state: str, ready: bool, word: str) -> None:
    assert describe(State("shop-9001", 1, state, 0, 0), ready) == word


def test_the_table() -> None:
    assert describe(None, ready=False) == "absent"
    serving = {"port": 9001, "pid": 77, "state": "serving", "release": "0123456789ab"}
    absent = {"port": 9002, "pid": None, "state": "absent", "release": None}
    text = table(
        [serving | {"uptime": 5, "in_flight": 0}, absent | {"uptime": None, "in_flight": None}]
    )
    assert text.splitlines() == [
        "PORT  PID  STATE    RELEASE       UPTIME  IN-FLIGHT",
        "9001  77   serving  0123456789ab  5       0",
        "9002  -    absent   -             -       -",
    ]
