"""The local deployment end to end, by the real playbook, under load, on both listeners."""

import functools
import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.orders import Customers
from tests.support.stack import LIGHT, Stack, changed
from tests.support.wait import until


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """On ports; test_local_unix.py has unix sockets.

    Without upstream keepalive, which most other stacks have.
    """
    variables = {"tornado_app_listener": "port", "tornado_app_nginx_upstream_keepalive": 0}
    with Stack("e2e-port", 9203, **variables).deployed(tools=None) as stack:
        assert changed(stack.playbook()) == 0
        yield stack


def test_check_mode_changes_nothing(stack: Stack) -> None:
    assert changed(stack.playbook("--check", "--diff")) == 0


def test_rolls_lose_nothing(stack: Stack) -> None:
    with stack.load("/orders?id=o") as load:
        pass
    assert load.failed > 0, "GET /orders is refused: the load does count failures"
    with stack.load() as load:
        for _ in range(5):
            stack.ctl("restart")
    assert load.failed == 0, load.output
    assert load.requests > 5000
    with stack.load("/block?seconds=0.02") as load:
        stack.ctl("restart")
    assert load.failed == 0, load.output


def test_rollout_and_broken_release_under_load(stack: Stack) -> None:
    with stack.load(LIGHT) as load:
        stack.playbook(tornado_app_environment={"GREETING": 'it\'s $HOME, %(x)s; "100%" é'})
        good = stack.status()
        output = stack.playbook(
            code=2,
            tornado_app_environment={"DEMO_BREAK": "unready"},
            tornado_app_ready_timeout=2,
        )
        assert "did not become ready in 2 s" in output
        assert "reverted" in output
        assert stack.status()["release"] == good["release"]
        assert [p["pid"] for p in stack.status()["processes"]] == [
            p["pid"] for p in good["processes"]
        ]
    assert load.failed == 0, load.output


def test_killed_anywhere_the_next_run_completes(stack: Stack) -> None:
    """Amid a change of listener: nginx is reloaded, which before 1.27.4 cuts idle connections.

    What was just being sent on one has not been executed.
    """
    with Customers(stack, clients=10) as customers:
        site = stack.home / "nginx/site.conf"
        # As soon as nginx's configuration is another one, which nginx has yet to read; amid what
        # comes before the roll; and amid the roll.
        for killed in (
            lambda began: "server unix:" in site.read_text(),
            lambda began: time.time() > began + 5,
            lambda began: stack.happened("drain", since=began),
        ):
            began = time.time()
            playbook = stack.start_playbook(tornado_app_listener="unix")
            until(functools.partial(killed, began), 60)
            os.killpg(playbook.pid, signal.SIGKILL)
            playbook.wait()
        stack.playbook(tornado_app_listener="unix")
        after = stack.status()["processes"]
        assert all(p["ready"] and p["listen"].startswith("unix:") for p in after)
        assert json.loads(stack.ctl("pending", stack.current()))["pending"] is False
    failed = customers.failed()
    assert [order for order in failed if order.status != 0] == []
    assert {order.id for order in failed} & set(stack.orders()) == set()


def test_stop_drains_all_at_once(stack: Stack) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = [threads.submit(stack.get, "/slow?seconds=3") for _ in range(12)]
        time.sleep(0.5)
        began = time.monotonic()
        stack.ctl("stop")
        took = time.monotonic() - began
        bodies = [json.loads(answer.result()[1]) for answer in answers]
    assert took < 6
    assert len({body["port"] for body in bodies}) == 3
    stack.ctl("start")
    assert all(process["ready"] for process in stack.status()["processes"])


def test_what_nginx_passes_on(stack: Stack) -> None:
    assert stack.get("/-/ready")[0] == 404
    assert stack.get("/-/status")[0] == 404
    status, body, headers = stack.get("/hello", headers={"X-Forwarded-For": "6.6.6.6"})
    assert (status, json.loads(body)["hello"]) == (200, "world")
    assert headers["Server"] == "nginx"
    assert stack.get("/upload", data=bytes(11_000_000))[0] == 413


def test_who_may_read_what(stack: Stack) -> None:
    for file in (stack.home / "environments").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((stack.home / "run/supervisor.sock").stat().st_mode) == 0o700
    if stack.variables["tornado_app_listener"] == "unix":
        for file in (stack.home / "run").glob("9*.sock"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o660


def test_check_mode_on_a_fresh_machine(stack: Stack) -> None:
    fresh = Stack("e2e-fresh", 9243)
    output = fresh.playbook("--check", "--diff")
    assert changed(output) > 0
    assert not fresh.home.exists()
