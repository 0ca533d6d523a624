"""One conductor at a time, and what becomes of a roll that is interrupted, killed or deployed over.

The app of these tests holds a request until there is a file.
"""

import json
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from conductor import proc

from tests.support.clients import Clients, get, in_flight
from tests.support.home import CONDUCTOR, Home, MakeHome
from tests.support.wait import until


def until_events(home: Home, count: int) -> None:
    """Wait until the journal has so many events."""
    until(lambda: len(list(home.events())) >= count)


@contextmanager
def held(home: Home) -> Iterator[Future[tuple[int, str]]]:
    """Within this context the first process cannot end its drain."""
    with ThreadPoolExecutor() as threads:
        file = home.path / "data/go"
        answer = threads.submit(get, home.ports[0], f"/held?file={file}")
        try:
            until(lambda: in_flight(home.ports[0]) == 1)
            yield answer
        finally:
            file.touch()


def test_endpoints_amid_a_rollout_are_those_of_before_too(make_home: MakeHome) -> None:
    """Both are for nginx to know: a process that is not rolled yet listens where it did."""
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    before = [f"127.0.0.1:{port}" for port in home.ports]
    assert json.loads(home.ctl("endpoints").stdout) == before
    home.add("r2", tornado_app_listener="unix")
    after = [f"unix:{home.path}/run/{port}.sock" for port in home.ports]
    with held(home):
        rollout = home.popen("rollout", "r2")
        until(lambda: (home.path / "current").readlink().name == "r2.conf")
        assert json.loads(home.ctl("endpoints").stdout) == after + before
        rollout.kill()
        rollout.wait()
        assert json.loads(home.ctl("endpoints").stdout) == after + before
    home.ctl("rollout", "r2")
    assert json.loads(home.ctl("endpoints").stdout) == after


def test_the_lock(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", max_wait=60))
    with held(home) as slow:
        first = home.popen("restart")
        until(lambda: len(list(home.events("drain"))) > 0)
        second = home.ctl("restart", code=4)
        assert f"another rollout is running: pid {first.pid}" in second.stderr
        assert home.ctl("status", code=1).stdout.count("draining") == 1
        assert not slow.done()
    assert slow.result()[0] == 200
    assert first.wait() == 0


def test_another_conductor_is_deployed_during_a_roll(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", max_wait=60))
    old = (home.path / "conductor").resolve()
    shutil.copytree(CONDUCTOR, tmp_path / "conductor")
    with (tmp_path / "conductor/roll.py").open("a") as module:
        module.write("\nraise SystemExit('another conductor')\n")
    with held(home):
        rolling = home.popen("restart")
        until(lambda: len(list(home.events("drain"))) > 0)
        new = home.deploy(tmp_path / "conductor")
        assert "another conductor" in home.ctl("status", code=1).stderr
        assert proc.environment(rolling.pid)["PYTHONPATH"] == str(old)
    output, _ = rolling.communicate()
    assert rolling.returncode == 0, output
    assert "3 of 3 processes replaced" in output
    assert old.is_dir()
    # The next one works, and takes away what is not used any more.
    (tmp_path / "conductor/roll.py").write_text((CONDUCTOR / "roll.py").read_text() + "\n")
    newest = home.deploy(tmp_path / "conductor")
    home.ctl("retire")
    assert not old.exists()
    assert not new.exists()
    assert newest.is_dir()
    assert all(record["ready"] for record in home.status())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_between_two_processes(make_home: MakeHome, number: signal.Signals) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    home.add("r2", trial=0)
    rollout = home.popen("rollout", "r2")
    until(lambda: any(e["process"] != "app-trial" for e in home.events("drain")))
    rollout.send_signal(number)
    assert rollout.wait() == 130
    assert home.releases() == {"r1", "r2"}
    assert all(record["ready"] for record in home.status())
    assert len(home.pending("r2")) == 3
    home.ctl("rollout", "r2")
    assert home.releases() == {"r2"}
    home.ctl("rollback")
    assert home.releases() == {"r1"}


def test_killed_at_any_point_the_next_run_completes(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r0"))
    # After which of its events: those of the trial, where there is one, then those of the roll.
    points = [(1, 1), (1, 3), (1, 4), (0, 1), (0, 2), (0, 3), (0, 4), (0, 8)]
    with Clients(home) as clients:
        for number, (trial, events) in enumerate(points):
            release = home.add(f"k{number}", trial=trial)
            so_far = len(list(home.events()))
            rollout = home.popen("rollout", release)
            until_events(home, so_far + events)
            rollout.kill()
            assert rollout.wait() == -signal.SIGKILL
            home.ctl("rollout", release)
            assert home.releases() == {release}
            assert home.pending(release) == []
        # And what a rollback goes to is what served before, not what was half-way.
        home.ctl("rollback")
        assert home.releases() == {"k6"}
    assert clients.failures == []


def test_killed_while_a_broken_release_rolls_the_next_run_reverts_to_what_served(
    make_home: MakeHome,
) -> None:
    home = make_home()
    home.ctl("rollout", home.add("good"))
    home.add("bad", ready_timeout=5)
    home.misbehave("bad", home.ports[-1], "unready")
    with Clients(home) as clients:
        rollout = home.popen("rollout", "bad")
        until(lambda: len(list(home.events("start"))) == 3 + 1 + 3)
        rollout.kill()
        rollout.wait()
        home.ctl("rollout", "bad", code=1)
        assert home.releases() == {"good"}
    assert clients.failures == []
