"""The conductor on real supervisord, with real processes under load."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.clients import Clients
from tests.support.home import Home
from tests.support.paths import PROGRAMS, ROOT
from tests.support.wait import until

MakeHome = Callable[..., Home]


def get(home: Home, port: int, path: str) -> tuple[int, str]:
    """GET a path of a process over TCP."""
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("listener", ["port", "unix"])
def test_rollout_and_rollback_under_load(make_home: MakeHome, listener: str) -> None:
    home = make_home(listener=listener)
    home.ctl("rollout", home.add("r1"))
    before = home.pids()
    assert home.releases() == {"r1"}
    with Clients(home) as clients:
        home.add("r2")
        assert home.pending("r2") == ["the configuration is another one"]
        home.ctl("rollout", "r2")
        assert home.releases() == {"r2"}
        assert not set(before.values()) & set(home.pids().values())
        assert home.pending("r2") == []
        again = home.pids()
        home.ctl("rollout", "r2")
        assert home.pids() == again, "nothing differed, and yet something was replaced"
        home.ctl("rollback")
        assert home.releases() == {"r1"}
        home.ctl("restart")
        assert not set(again.values()) & set(home.pids().values())
    assert clients.failures == []
    assert clients.answers > 100


def test_one_at_a_time_and_each_ready_before_the_next(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    home.ctl("restart")
    events = list(home.events("drain", "drained", "start", "ready", "rollout"))
    roll = events[[e["event"] for e in events].index("drain") :]
    assert [e["event"] for e in roll] == ["drain", "drained", "start", "ready"] * 3
    assert [e["process"] for e in roll[::4]] == [f"app-{port}" for port in home.ports]
    assert all(isinstance(e["seconds"], float) for e in roll if e["event"] in ("drained", "ready"))


def test_batches(make_home: MakeHome) -> None:
    home = make_home(processes=4)
    home.ctl("rollout", home.add("r1"))
    home.ctl("restart", "--batch", "50%")
    events = [e["event"] for e in home.events("drain", "ready")]
    assert events[-8:] == ["drain", "drain", "ready", "ready"] * 2
    for bad in ("4", "100%", "0", "-1", "x", "1.5"):
        refused = home.ctl("restart", f"--batch={bad}", code=2)
        assert bad in refused.stderr


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("exit", "ended before it was ready"),
        ("unready", "did not become ready in 2 s: it answers 503 on /-/ready"),
        # Seen as the process ends, or just before supervisord has noticed.
        ("dies", "(ended after it had become ready|does not answer)"),
    ],
)
def test_broken_release_is_reverted(make_home: MakeHome, mode: str, message: str) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    home.add("r2", ready_timeout=2, environment={"MODE": mode})
    pids = home.pids()
    with Clients(home) as clients:
        failed = home.ctl("rollout", "r2", code=1)
    assert clients.failures == []
    assert home.pids() == pids, "the trial was to fail before anything was replaced"
    assert not (home.path / "trial.conf").exists()
    assert re.search(f"reverted: app-trial {message}", failed.stderr), failed.stderr
    if mode == "exit":
        assert "ImportError: no such thing" in failed.stdout
    assert home.releases() == {"r1"}
    assert all(record["ready"] for record in home.status())
    assert home.pending("r1") == []
    assert (home.path / "current").readlink().name == "r1.conf"


def test_a_release_that_serves_once_and_dies_later_reverts_those_already_rolled(
    make_home: MakeHome,
) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    home.add("r2")
    # Only the third process of the new release fails.
    conf = home.path / "configurations/r2.conf"
    last = f'TORNADO_DRAIN_PORT="{home.ports[-1]}"'
    conf.write_text(conf.read_text().replace(last, last + ',MODE="exit"'))
    with Clients(home) as clients:
        home.ctl("rollout", "r2", code=1)
    assert clients.failures == []
    assert home.releases() == {"r1"}
    rolled = [e["process"] for e in home.events("ready") if e["process"] != "app-trial"]
    assert len(rolled) == 3 + 2 + 3


def test_first_release_broken_leaves_nothing_behind(make_home: MakeHome) -> None:
    home = make_home()
    home.add("r1", environment={"MODE": "exit"})
    failed = home.ctl("rollout", "r1", code=1)
    assert "ended before it was ready" in failed.stderr
    assert not (home.path / "current").is_symlink()
    assert home.ctl("status", code=1).stderr.startswith("error: ")
    home.ctl("rollout", home.add("r2"))
    assert home.releases() == {"r2"}


def test_refuses_to_take_a_process_down_while_another_is_not_ready(make_home: MakeHome) -> None:
    home = make_home()
    home.add("r1", environment={"MODE": "once"}, ready_timeout=3)
    home.ctl("rollout", "r1")
    (home.path / "data/once").touch()
    pids = home.pids()
    os.kill(pids[home.ports[0]], signal.SIGKILL)
    until(lambda: not home.status()[0]["ready"])
    refused = home.ctl("restart", code=1)
    assert f"app-{home.ports[0]}" in refused.stderr
    assert {p: pid for p, pid in home.pids().items() if p != home.ports[0]} == {
        p: pid for p, pid in pids.items() if p != home.ports[0]
    }


def test_a_process_that_is_down_is_started_first(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    subprocess.run(
        [
            Path(sys.executable).parent / "supervisorctl",
            *("-c", home.path / "supervisord.conf"),
            *("stop", f"app-{home.ports[2]}:*"),
        ],
        check=True,
        capture_output=True,
    )
    assert home.ctl("status", code=1).stdout.count("stopped") == 1
    assert home.pending("r1") == [f"app-{home.ports[2]} is stopped"]
    home.ctl("rollout", "r1")
    assert all(record["ready"] for record in home.status())


def test_processes_more_and_fewer_and_elsewhere(make_home: MakeHome) -> None:
    home = make_home(processes=6)
    few, many = home.ports[:2], home.ports
    home.ctl("rollout", home.add("r1", ports=few))
    home.ctl("rollout", home.add("r2", ports=many))
    assert [record["port"] for record in home.status()] == many
    home.ctl("rollout", home.add("r3", ports=few))
    # Those no longer configured serve until they are retired: nginx may still route to them.
    assert get(home, many[-1], "/")[0] == 200
    home.ctl("retire")
    with pytest.raises(OSError, match="refused"):
        get(home, many[-1], "/")
    home.ctl("rollout", home.add("r4", ports=many[3:]))
    home.ctl("retire")
    assert [record["port"] for record in home.status()] == many[3:]


def test_the_lock(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(get, home, home.ports[0], "/?seconds=3")
        time.sleep(0.2)
        first = home.popen("restart")
        until(lambda: len(list(home.events("drain"))) > 0)
        second = home.ctl("restart", code=4)
        assert f"another rollout is running: pid {first.pid}" in second.stderr
        assert home.ctl("status", code=1).stdout.count("draining") == 1
        assert slow.result()[0] == 200
    assert first.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_between_two_processes(make_home: MakeHome, number: signal.Signals) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    home.add("r2")
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
    with Clients(home) as clients:
        for number in range(8):
            release = home.add(f"k{number}")
            rollout = home.popen("rollout", release)
            time.sleep(0.3 + 0.25 * number)
            rollout.kill()
            rollout.wait()
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
    home.add("bad", ready_timeout=3)
    conf = home.path / "configurations/bad.conf"
    last = f'TORNADO_DRAIN_PORT="{home.ports[-1]}"'
    conf.write_text(conf.read_text().replace(last, last + ',MODE="unready"'))
    with Clients(home) as clients:
        rollout = home.popen("rollout", "bad")
        until(lambda: len(list(home.events("start"))) == 3 + 1 + 3)
        rollout.kill()
        rollout.wait()
        home.ctl("rollout", "bad", code=1)
        assert home.releases() == {"good"}
    assert clients.failures == []


def seconds_to_drain(home: Home, end: Callable[[], object]) -> float:
    """How long `end` takes with a request of 3 s on each process, all of which are answered."""
    with ThreadPoolExecutor(len(home.ports)) as threads:
        answers = [threads.submit(get, home, port, "/?seconds=3") for port in home.ports]
        time.sleep(0.5)
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
            until(lambda: not Path(f"/proc/{pid}").exists())

    assert 2 < seconds_to_drain(home, end) < 6


def test_a_request_of_max_wait_less_one_second_finishes_across_a_restart(
    make_home: MakeHome,
) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", max_wait=4, stopwaitsecs=9))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, home, home.ports[0], "/?seconds=3")
        longer = threads.submit(get, home, home.ports[1], "/?seconds=60")
        time.sleep(0.2)
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
    home.ctl("rollout", home.add("r1", max_wait=1, stopwaitsecs=3, ready_timeout=3))
    with ThreadPoolExecutor() as threads:
        stuck = threads.submit(get, home, home.ports[0], "/block?seconds=30")
        time.sleep(0.3)
        done = home.ctl("restart")
        with pytest.raises(OSError, match=r"."):
            stuck.result()
    assert "killed by supervisord after stopwaitsecs (3 s)" in done.stdout
    assert "3 of 3 processes replaced" in done.stdout


def test_a_process_that_is_busy_for_long_is_waited_for(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1", ready_timeout=20))
    with ThreadPoolExecutor() as threads:
        busy = threads.submit(get, home, home.ports[-1], "/block?seconds=12")
        time.sleep(0.3)
        home.ctl("restart")
        assert busy.result()[0] == 200
    assert list(home.events("unready", "failed")) == []


def test_a_process_pool_finishes_and_leaves_nothing(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    home.ctl("rollout", home.add("r1"))
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(get, home, home.ports[0], "/pool?seconds=2")
        time.sleep(0.5)
        home.ctl("restart")
        status, child = answer.result()
    assert status == 200
    until(lambda: not Path(f"/proc/{child}").exists(), 5)


def test_another_program_on_the_port_is_not_taken_for_the_process(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    stranger = socket.create_server(("127.0.0.1", 0))
    port = stranger.getsockname()[1]
    stranger.close()
    server = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "app.py"), "stranger"],
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT / "app"),
            "TORNADO_DRAIN_LISTEN": f"127.0.0.1:{port}",
            "TORNADO_DRAIN_RELEASE": "stranger",
        },
    )
    try:
        until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        listening = json.loads(home.ctl("listening").stdout)
        assert listening[str(port)]["pid"] == server.pid
        home.add("r2", ports=[*home.ports, port], ready_timeout=3)
        failed = home.ctl("rollout", "r2", code=1)
        assert f"app-{port}" in failed.stderr
    finally:
        server.kill()
        server.wait()
    assert home.releases() == {"r1"}


@pytest.mark.parametrize("processes", [2, 16])
def test_the_cost_of_a_roll_is_drain_and_start(make_home: MakeHome, processes: int) -> None:
    home = make_home(processes)
    home.ctl("rollout", home.add("r1"))
    home.ctl("restart")
    events = list(home.events("drained", "ready", "done"))
    *steps, done = events[-1 - 2 * processes :]
    assert {event["event"] for event in steps} == {"drained", "ready"}
    # What the conductor adds to each, however many there are.
    assert done["seconds"] - sum(event["seconds"] for event in steps) < 0.2 * processes


def test_a_quarter_at_a_time_takes_hardly_more_than_four_steps(make_home: MakeHome) -> None:
    home = make_home(processes=8)
    home.ctl("rollout", home.add("r1", environment={"MODE": "slow start"}))
    home.ctl("restart", "--batch", "25%")
    home.ctl("restart")
    quarters, single = [event["seconds"] for event in home.events("done")][-2:]
    assert quarters < 6 * single / 8


def test_prune_keeps_current_previous_and_the_newest(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    for number in range(5):
        home.ctl("rollout", home.add(f"r{number}"))
        home.ctl("retire")
    left = {path.name for path in (home.path / "releases").iterdir()}
    assert left == {"r2", "r3", "r4"}
    assert {p.stem for p in (home.path / "configurations").iterdir()} == left
    assert {p.name for p in (home.path / "environments").iterdir()} == {f"e{r}" for r in left}
    for _ in range(2):
        home.ctl("rollback")
    assert home.releases() == {"r4"}


def test_status_for_people_and_for_programs(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    home.ctl("rollout", home.add("r1"))
    table = home.ctl("status").stdout.splitlines()
    assert table[0].split() == ["PORT", "PID", "STATE", "RELEASE", "UPTIME", "IN-FLIGHT"]
    assert table[1].split()[2:4] == ["serving", "r1"]
    assert len(table) == 3
    assert {"port", "pid", "state", "release", "uptime", "in_flight"} <= home.status()[0].keys()


def test_the_journal_does_not_grow_for_ever(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    journal = home.path / "log/rolling_restart.jsonl"
    journal.write_text('{"event": "old"}\n' * 300_000)
    home.ctl("rollout", home.add("r1"))
    assert [event["event"] for event in home.events("old", "done")] == ["done"]
    old = journal.with_suffix(".jsonl.1")
    assert old.stat().st_size > 5_000_000
    journal.write_text('{"event": "older"}\n' * 300_000)
    home.ctl("restart")
    assert old.read_text().startswith('{"event": "older"}')


def test_errors_of_the_operator(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home(processes=2)
    for command in ("status", "restart", "stop", "start"):
        assert "nothing is deployed yet" in home.ctl(command, code=1).stderr
    assert "nope.conf" in home.ctl("rollout", "nope", code=1).stderr
    assert home.ctl("bogus", code=2).stderr.startswith("usage:")
    home.ctl("rollout", home.add("r1"))
    assert "no configuration before" in home.ctl("rollback", code=1).stderr
    home.shut_down()
    assert "supervisord does not answer" in home.ctl("restart", code=1).stderr
    assert home.ctl("status", code=1).stdout.count("absent") == 2
