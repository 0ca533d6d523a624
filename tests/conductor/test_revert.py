"""What does not become ready is reverted, and what cannot be done is refused."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests.support.clients import Clients
from tests.support.home import MakeHome
from tests.support.paths import PROGRAMS, ROOT
from tests.support.wait import until


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
    home.misbehave("r2", home.ports[-1], "exit")
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
    once = {"MODE": "once"}
    home.ctl("rollout", home.add("r1", environment=once))
    home.add("r1", environment=once, ready_timeout=2)
    (home.path / "data/once").touch()
    pids = home.pids()
    os.kill(pids[home.ports[0]], signal.SIGKILL)
    until(lambda: not home.status()[0]["ready"])
    refused = home.ctl("restart", code=1)
    assert f"app-{home.ports[0]}" in refused.stderr
    assert {p: pid for p, pid in home.pids().items() if p != home.ports[0]} == {
        p: pid for p, pid in pids.items() if p != home.ports[0]
    }


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
