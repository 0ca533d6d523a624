"""The local deployment end to end, by the real playbook, under load, on both listeners."""

import fcntl
import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.stack import LIGHT, Stack, changed


def deployed(listener: str, base_port: int) -> Iterator[Stack]:
    """A stack that is up; it is removed at the end, and nothing of it is left."""
    stack = Stack(f"e2e-{listener}", base_port, tornado_app_listener=listener)
    stack.playbook(tornado_app_state="absent")
    stack.playbook()
    assert changed(stack.playbook()) == 0
    yield stack
    stack.playbook(tornado_app_state="absent")
    assert not stack.home.exists()
    assert str(stack.home) not in os.popen("ps -eo args").read()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """On ports; test_local_unix.py has the same on unix sockets."""
    yield from deployed("port", 9203)


def test_check_mode_changes_nothing(stack: Stack) -> None:
    assert changed(stack.playbook("--check", "--diff")) == 0


@pytest.mark.parametrize("keepalive", [32, 0])
def test_rolls_lose_nothing(stack: Stack, keepalive: int, request: pytest.FixtureRequest) -> None:
    if keepalive != 32:
        stack.playbook(tornado_app_nginx_upstream_keepalive=keepalive)
        # Back before the next test's load: the reload of an nginx before 1.27.4 cuts clients.
        request.addfinalizer(stack.playbook)
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


def test_a_release_that_dies_once_it_serves_is_reverted_under_load(stack: Stack) -> None:
    with stack.load(LIGHT) as load:
        output = stack.playbook(
            code=2, tornado_app_environment={"DEMO_BREAK": "dies"}, tornado_app_trial=3
        )
        assert "reverted: e2e-port-trial" in output
    assert load.failed == 0, load.output
    assert all(process["ready"] for process in stack.status()["processes"])


def test_killed_anywhere_the_next_run_completes(stack: Stack) -> None:
    with stack.load(LIGHT) as load:
        for number, event in enumerate(("", "drain")):
            value = {"ATTEMPT": str(number)}
            playbook = stack.start_playbook(tornado_app_environment=value)
            time.sleep(5)
            began = time.time()
            while event and not stack.happened(event, since=began):
                time.sleep(0.02)
            os.killpg(playbook.pid, signal.SIGKILL)
            playbook.wait()
        stack.playbook(tornado_app_environment=value)
    assert load.failed == 0, load.output
    assert "ATTEMPT=1\n" in "".join(p.read_text() for p in stack.environments())
    assert json.loads(stack.ctl("pending", stack.current()))["pending"] is False


def test_more_and_fewer_processes_and_other_ports(stack: Stack) -> None:
    stack.playbook(tornado_app_processes=5)
    five = stack.status()["processes"]
    assert [p["port"] for p in five] == [9203, 9204, 9205, 9206, 9207]
    stack.playbook()
    assert [p["pid"] for p in stack.status()["processes"]] == [p["pid"] for p in five[:3]]
    stack.playbook(tornado_app_base_port=9223)
    assert [p["port"] for p in stack.status()["processes"]] == [9223, 9224, 9225]
    site = (stack.home / "nginx/site.conf").read_text()
    assert site.count("server 127.0.0.1:") == 3


def test_a_second_rollout_is_refused_while_one_runs(stack: Stack) -> None:
    before = stack.status()
    with (stack.home / "rolling_restart.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        note = json.load(lock) | {"pid": os.getpid(), "callers": {}}
        lock.seek(0)
        lock.write(json.dumps(note))
        lock.truncate()
        lock.flush()
        output = stack.playbook(code=2, tornado_app_environment={"SECOND": "1"})
    assert "another rollout is running" in output
    assert [p["pid"] for p in stack.status()["processes"]] == [
        p["pid"] for p in before["processes"]
    ]


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
    log = (stack.home / f"log/{stack.home.name}-access.log").read_text()
    assert "upstream=" in log
    assert "request_id=" in log


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


def test_secrets_are_not_shown(stack: Stack) -> None:
    output = stack.playbook("--diff", "-vvv", tornado_app_environment={"TOKEN": "s3cr3t-v4lue"})
    # The extra variable itself is on Ansible's command line here; nowhere else.
    lines = [line for line in output.splitlines() if "s3cr3t" in line]
    assert not [line for line in lines if "tornado_app_environment" not in line], lines
    for path in [*(stack.home / "log").iterdir(), *(stack.home / "configurations").iterdir()]:
        assert "s3cr3t" not in path.read_text(errors="replace")
    assert "s3cr3t" not in os.popen("ps -eo args").read()
