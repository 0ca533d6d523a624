"""Rollouts and restarts on real supervisord, with real processes under load."""

import json
import re
import subprocess
import sys

import pytest

from tests.support.clients import Clients, get
from tests.support.home import MakeHome
from tests.support.paths import BIN, PROGRAMS, ROOT
from tests.support.wait import until


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


def test_from_what_1_0_wrote_and_back_under_load(make_home: MakeHome) -> None:
    home = make_home()
    text = (ROOT / "tests/conductor/configuration_1_0.conf").read_text()
    ports = {str(9000 + n): str(port) for n, port in enumerate([home.trial_port, *home.ports])}
    text = re.sub(r"\b900\d\b", lambda found: ports[found[0]], text)
    text = text.replace("/var/log/shop", f"{home.path}/log").replace("shop-", "app-")
    text = text.replace("/var/lib/shop", f"{home.path}/data").replace("name=shop", "name=app")
    text = text.replace("/opt/shop/environments/e3b0c44298fc", "/dev/null")
    program = "/opt/shop/releases/0123456789ab/venv/bin/python -m demo_app"
    assert text.count(program) == 4
    home.configuration("old").write_text(
        text.replace(program, f"{sys.executable} {PROGRAMS}/app.py {home.path}")
    )
    # As 1.0 left it: nothing but the link, and supervisord has started it.
    (home.path / "current").symlink_to(home.configuration("old"))
    home.shut_down()
    home.start()
    until(lambda: all(record["ready"] for record in home.status()))
    assert home.releases() == {"0123456789ab"}
    before = home.pids()
    assert home.pending("old") == []
    with Clients(home) as clients:
        home.add("new")
        assert home.pending("new") == ["the configuration is another one"]
        home.ctl("rollout", "new")
        assert home.releases() == {"new"}
        home.ctl("retire")
        home.ctl("rollback")
        assert home.releases() == {"0123456789ab"}
        assert home.pids().keys() == before.keys()
        assert not set(before.values()) & set(home.pids().values())
        home.ctl("rollback")
        assert home.releases() == {"new"}
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


def test_a_process_that_is_down_is_started_first(make_home: MakeHome) -> None:
    home = make_home()
    home.ctl("rollout", home.add("r1"))
    subprocess.run(
        [
            BIN / "supervisorctl",
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
    home.ctl("rollout", home.add("r2", ports=many, trial=0))
    assert [record["port"] for record in home.status()] == many
    home.ctl("rollout", home.add("r3", ports=few, trial=0))
    # Those no longer configured serve until they are retired: nginx may still route to them.
    assert get(many[-1], "/")[0] == 200
    home.ctl("retire")
    with pytest.raises(OSError, match="refused"):
        get(many[-1], "/")
    home.ctl("rollout", home.add("r4", ports=many[3:], trial=0))
    home.ctl("retire")
    assert [record["port"] for record in home.status()] == many[3:]


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


def test_half_at_a_time_takes_hardly_more_than_two_steps(make_home: MakeHome) -> None:
    home = make_home(processes=4)
    home.ctl("rollout", home.add("r1", environment={"MODE": "slow start"}))
    home.ctl("restart", "--batch", "50%")
    home.ctl("restart")
    halves, single = [event["seconds"] for event in home.events("done")][-2:]
    assert halves < 3 * single / 4


def test_prune_keeps_current_previous_and_the_newest(make_home: MakeHome) -> None:
    home = make_home(processes=2)
    for number in range(5):
        home.ctl("rollout", home.add(f"r{number}", trial=0))
        assert json.loads(home.ctl("pending", f"r{number}").stdout)["retire"] is (number > 2)
        home.ctl("retire")
        assert not json.loads(home.ctl("pending", f"r{number}").stdout)["retire"]
    left = {path.name for path in (home.path / "releases").iterdir()}
    assert left == {"r2", "r3", "r4"}
    assert {p.stem for p in (home.path / "configurations").iterdir()} == left
    assert {p.name for p in (home.path / "environments").iterdir()} == {f"e{r}" for r in left}
    for _ in range(2):
        home.ctl("rollback")
    assert home.releases() == {"r4"}
