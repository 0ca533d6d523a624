"""How processes leave: all at once, by MAX_WAIT, by stopwaitsecs, and not before they have to."""

import os
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conductor import proc

from tests.support.clients import get, in_flight
from tests.support.home import Home, MakeHome
from tests.support.wait import until


def seconds_to_drain(home: Home, end: Callable[[], object]) -> float:
    """How long `end` takes where each process takes 2 s from its signal on to leave."""
    with ThreadPoolExecutor(len(home.ports)) as threads:
        answers = [threads.submit(get, port, "/linger?seconds=2") for port in home.ports]
        until(lambda: all(in_flight(port) == 1 for port in home.ports))
        began = time.monotonic()
        end()
        took = time.monotonic() - began
        assert [answer.result()[0] for answer in answers] == [200] * len(home.ports)
    return took


def test_stop_drains_all_at_once(make_home: MakeHome) -> None:
    home = make_home(processes=6)
    home.ctl("rollout", home.add("r1"))
    assert 2 < seconds_to_drain(home, lambda: home.ctl("stop")) < 5
    assert [record["state"] for record in home.status()] == ["stopped"] * 6
    home.ctl("start")
    assert all(record["ready"] for record in home.status())


@pytest.mark.parametrize("how", ["shutdown", "SIGTERM"])
def test_the_end_of_supervisord_drains_all_at_once(make_home: MakeHome, how: str) -> None:
    home = make_home(processes=6)
    home.ctl("rollout", home.add("r1"))
    pid = int((home.path / "run/supervisord.pid").read_text())

    def end() -> None:
        if how == "shutdown":
            home.ctl("shutdown")
        else:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not proc.alive(pid))

    assert 2 < seconds_to_drain(home, end) < 6


def test_a_request_of_max_wait_less_one_second_finishes_across_a_restart(
    make_home: MakeHome,
) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", max_wait=4))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, home.ports[0], "/linger?seconds=3")
        longer = threads.submit(get, home.ports[1], "/?seconds=60")
        until(lambda: all(in_flight(port) == 1 for port in home.ports[:2]))
        home.ctl("restart")
        assert answer.result()[0] == 200
        with pytest.raises(OSError, match=r"."):
            longer.result()
    drained = [e for e in home.events("drained") if e["process"] == f"app-{home.ports[1]}"]
    assert 3.9 < drained[-1]["seconds"] < 5
    assert not drained[-1]["killed"]
    log = (home.path / f"log/app-{home.ports[1]}.log").read_text()
    assert re.search(r"cut off at MAX_WAIT \(4 s\): request GET /\?seconds=60, \d\.\d s old", log)


def test_a_handler_that_never_yields_is_killed_reported_and_the_roll_goes_on(
    make_home: MakeHome,
) -> None:
    home = make_home()
    ladder: dict[str, Any] = {"max_wait": 1, "__tornado_app_stopwaitsecs": 3}
    home.ctl("rollout", home.add("r1", **ladder))
    # For so long the roll waits for one that does not answer.
    home.add("r1", ready_timeout=3, **ladder)
    with ThreadPoolExecutor() as threads:
        stuck = threads.submit(get, home.ports[0], "/block?seconds=30")
        until((home.path / "data/blocked").exists)
        done = home.ctl("restart")
        with pytest.raises(OSError, match=r"."):
            stuck.result()
    assert "killed by supervisord after stopwaitsecs (3 s)" in done.stdout
    assert "3 of 3 processes replaced" in done.stdout


def test_who_had_to_be_killed_is_told_at_the_end(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    home.add("r1", __tornado_app_stopwaitsecs=2, trial=0)
    home.misbehave("r1", home.ports[0], "deaf")
    name = f"app-{home.ports[0]}"
    assert home.ctl("rollout", "r1").stderr == ""
    [done] = home.events("done")
    assert done["killed"] == []

    warning = f"warning: {name} did not drain within stopwaitsecs (2 s): killed\n"
    restart = home.ctl("restart")
    assert restart.stderr == warning
    assert restart.stdout.endswith(f"release r1; killed, for they did not drain: {name}\n")
    [_, done] = home.events("done")
    assert done["killed"] == [name]
    assert [e["process"] for e in home.events("drained") if e["killed"]] == [name]

    home.add("r2", trial=0)
    home.misbehave("r2", home.ports[1], "exit")
    reverted = home.ctl("rollout", "r2", code=1)
    first, last = reverted.stderr.splitlines()
    assert first == warning.rstrip()
    assert last.startswith("error: reverted: ")
    [event] = home.events("reverted")
    assert event["killed"] == [name]
    assert name in event["text"]
    assert home.releases() == {"r1"}


def test_a_process_that_is_busy_for_long_is_waited_for(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", ready_timeout=20))
    with ThreadPoolExecutor() as threads:
        busy = threads.submit(get, home.ports[-1], "/block?seconds=12")
        until((home.path / "data/blocked").exists)
        home.ctl("restart")
        assert busy.result()[0] == 200
    assert list(home.events("unready", "failed")) == []


def test_a_process_pool_finishes_and_leaves_nothing(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    home.ctl("rollout", home.add("r1"))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, home.ports[0], "/pool?seconds=2")
        until(lambda: in_flight(home.ports[0]) == 1)
        home.ctl("restart")
        status, child = answer.result()
    assert status == 200
    until(lambda: not Path(f"/proc/{child}").exists(), 5)
