"""A wall clock that is stepped, for supervisord, nginx, the processes and the conductor.

libfaketime shows it to them; what counts from the machine's start, the monotonic clock, it leaves.
"""

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.programs import faults as app
from tests.support.stack import Stack, run
from tests.support.wait import until

BASE_PORT = 9723
MAX_WAIT = 5
STOPWAITSECS = MAX_WAIT + 5

Step = Callable[[str], None]


@pytest.fixture
def step(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Step:
    """Steps the clock of all that is started from here: to ``+6h``, ``-6h`` or ``+0``."""
    clock = tmp_path_factory.mktemp("clock") / "clock"

    def step(offset: str) -> None:
        # In one piece: whoever reads it finds the one time or the other.
        new = clock.with_suffix(".new")
        new.write_text(offset)
        new.replace(clock)

    step("+0")
    library = subprocess.check_output(["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], text=True)
    monkeypatch.setenv("LD_PRELOAD", library.strip())
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return step


@pytest.fixture(scope="module")
def deployment() -> Iterator[Stack]:
    """A stack."""
    variables = app.VARIABLES | {"tornado_app_max_wait": MAX_WAIT}
    with Stack("clock", BASE_PORT, **variables).deployed() as stack:
        yield stack


@pytest.fixture
def stack(deployment: Stack, step: Step) -> Stack:
    """The same, started again where the clock can be stepped."""
    deployment.ctl("shutdown")
    home = shlex.quote(str(deployment.home))
    program = f"{home}/conductor/conductor/supervisord.py"
    start = f"{home}/tools/bin/python {program} -c {home}/supervisord.conf"
    run(shlex.split(start), deployment.environment, 0)
    until(lambda: serves(deployment))
    return deployment


def serves(stack: Stack) -> bool:
    """Whether nginx and all processes do."""
    with contextlib.suppress(AssertionError, OSError):
        stack.ctl("status")
        return stack.get("/hello")[0] == 200
    return False


def restart(stack: Stack, step: Step, offset: str) -> list[float]:
    """Roll, and step the clock once the first drain has begun; returns what each drain took."""
    journal = stack.home / "log/rolling_restart.jsonl"
    before = len(journal.read_text().splitlines())

    def events(name: str) -> list[dict[str, float]]:
        lines = journal.read_text().splitlines()[before:]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    with ThreadPoolExecutor() as threads:
        rolling = threads.submit(stack.ctl, "restart")
        while not events("drain"):
            assert not rolling.done(), rolling.result()
            time.sleep(0.02)
        time.sleep(0.5)
        step(offset)
        rolling.result()
    found = events("drained")
    hours = (found[0]["time"] - events("drain")[0]["time"]) / 3600
    assert round(hours) == int(offset.rstrip("h")), "the conductor has seen the step"
    return [event["seconds"] for event in found]


@pytest.mark.parametrize("offset", ["+6h", "-6h"])
def test_a_step_cuts_nothing(stack: Stack, step: Step, offset: str) -> None:
    """Nothing may fail: a drain lasts as long as its requests, whatever the wall clock says."""
    with ThreadPoolExecutor(12) as threads:
        asked = [threads.submit(stack.get, "/slow?seconds=3", b"x") for _ in range(12)]
        time.sleep(0.5)
        seconds = restart(stack, step, offset)
        assert {answer.result()[0] for answer in asked} == {200}
    assert 1 < seconds[0] < MAX_WAIT


@pytest.mark.parametrize("path", ["/slow", "/blocked"])
@pytest.mark.parametrize("offset", ["+6h", "-6h"])
def test_a_step_prolongs_nothing(stack: Stack, step: Step, offset: str, path: str) -> None:
    """May fail: the requests that are longer than MAX_WAIT, at MAX_WAIT.

    On a process whose loop is blocked, at stopwaitsecs, when supervisord kills it.
    """
    limit = MAX_WAIT if path == "/slow" else STOPWAITSECS
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(stack.get, f"{path}?seconds=60", b"x") for _ in range(3)]
        time.sleep(0.5)
        seconds = restart(stack, step, offset)
        assert {answer.result()[0] for answer in asked} == {502}
    assert len(seconds) == 3
    assert all(limit - 0.5 < took < limit + 3 for took in seconds)
