"""A program that knows nothing of the drain, run by ``python -m tornado_drain --``."""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import tornado_drain
from tornado_drain import program

from tests.support.net import free_ports
from tests.support.paths import PROGRAMS, ROOT
from tests.support.process import GOING_AWAY, Connection, Start, Started

DRAIN = ("-m", "tornado_drain", "--")
PROGRAM = str(PROGRAMS / "third_party.py")

# Seconds that are well below MAX_WAIT, for what does not wait for it.
BEFORE = 4


def run(start: Start, *arguments: str, wait: bool = True, **env: str) -> Started:
    """Start the program; by default wait until it serves."""
    other, port = free_ports(2)
    env = {"OTHER": str(other), "TORNADO_DRAIN_PORT": str(port)} | env
    return start(*DRAIN, PROGRAM, *arguments, wait=wait, **env)


def drains(process: Started, number: int = signal.SIGTERM, code: int = 0) -> None:
    """Assert that a request in flight is answered, an idle connection kept, and the exit code."""
    with process.connect() as slow, process.connect() as idle:
        assert not idle.ask("GET", "/?seconds=0").closes
        slow.send("GET", "/?seconds=0.5")
        process.until_in_flight()
        process.signal(number)
        process.until_logged("draining: ")
        assert "own" not in process.log.replace("own start_request", "")
        for connection in (slow, idle):
            if connection is idle:
                idle.send("GET", "/?seconds=0")
            answer = connection.receive()
            assert (answer.status, answer.closes, answer.body) == (200, True, b"slow 0")
    process.leaves(within=BEFORE, after=0.4, code=code)
    assert "drained in" in process.log


# Servers are found, however they start


@pytest.mark.parametrize("way", ["listen", "bind", "asyncio-listen", "asyncio-late"])
def test_ways(start: Start, way: str) -> None:
    process = run(start, way)
    drains(process)
    assert "own finally" in process.log


@pytest.mark.parametrize(
    "way", ["add_sockets", "add_socket", "subclass", "callback", "late", "logs", "stopped"]
)
def test_other_ways(start_newest: Start, way: str) -> None:
    process = run(start_newest, way)
    drains(process)
    if way == "subclass":
        assert "own start_request" in process.log


@pytest.mark.parametrize("way", ["several", "twice"])
def test_several_servers(start_one: Start, way: str) -> None:
    (other,) = free_ports(1)
    process = run(start_one, way, OTHER=str(other))
    process.until(lambda: process.log.count("serving on") == 2)
    with process.connect() as one, Connection(f"127.0.0.1:{other}") as two:
        for connection in (one, two):
            assert connection.ask("GET", "/-/ready").status == 200
            connection.send("GET", "/?seconds=0.4")
        process.until_in_flight(2)
        process.drain()
        time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            Connection(f"127.0.0.1:{other}")
        for connection in (one, two):
            assert connection.receive().closes
    process.leaves(within=BEFORE)


def test_program_that_serves_by_the_drain_itself(start: Start) -> None:
    process = start(*DRAIN, str(PROGRAMS / "drain_app.py"))
    drains(process)
    assert "after serve" in process.log
    assert process.log.count("draining: ") == 1
    assert "not drained" not in process.log


# What is in flight is finished


def test_half_received_body_and_websocket(start: Start) -> None:
    process = run(start, "listen")
    with process.connect() as upload, process.connect() as websocket:
        upload.send("POST", "/upload", b"half", Content_Length="8")
        websocket.upgrade(X_Hook="yes")
        process.until(lambda: process.status()["websockets"] == 1)
        process.until_in_flight()
        process.drain()
        assert websocket.receive_frame() == (1, b"leaving")
        assert websocket.receive_frame() == GOING_AWAY
        websocket.send_frame(8, GOING_AWAY[1])
        upload.socket.sendall(b"half")
        answer = upload.receive()
        assert (answer.closes, answer.body) == (True, b"upload 8")
    process.leaves(within=BEFORE)


def test_blocked_loop_and_its_accept_queue(start: Start) -> None:
    process = run(start, "listen", "on_signal", TORNADO_DRAIN_MAX_WAIT="10")
    with contextlib.ExitStack() as stack:
        blocked = stack.enter_context(process.connect())
        blocked.send("GET", "/block?seconds=2")
        process.until_logged("blocking")
        # More than Tornado accepts in one go.
        queued = [stack.enter_context(process.connect(15)) for _ in range(150)]
        for connection in queued:
            connection.send("POST", "/", b"order")
        process.signal()
        time.sleep(0.05)
        with pytest.raises((TimeoutError, FileNotFoundError)):
            process.connect(0.1)
        for connection in queued:
            answer = connection.receive()
            assert (answer.status, answer.closes, answer.body) == (200, True, b"slow 5")
        assert blocked.receive().closes
    process.leaves(within=2 + BEFORE, code=7)


def test_cut(start_one: Start) -> None:
    process = run(start_one, "listen", "on_signal", TORNADO_DRAIN_MAX_WAIT="0.5")
    with process.connect() as slow:
        slow.send("GET", "/?seconds=10", X_Request_ID="a-b")
        process.until_in_flight()
        process.signal()
        process.leaves(within=2, after=0.5, code=7)
    assert "cut off at MAX_WAIT (0.5 s): request GET /?seconds=10, " in process.log
    assert process.log.index("cut off") < process.log.index("own handler")


@pytest.mark.parametrize("on", ["no_handler", "on_signal", "on_loop"])
def test_second_signal(start_one: Start, on: str) -> None:
    process = run(start_one, "listen", on)
    with process.connect() as connection:
        connection.send("GET", "/?seconds=4")
        process.until_in_flight()
        process.drain()
        process.signal()
        process.leaves(within=0.2, code=-signal.SIGTERM)


def test_forked_children(start_one: Start) -> None:
    process = run(start_one, "listen", "on_signal")
    with process.connect() as connection:
        # A child has the program's own handler, not the drain's.
        assert connection.ask("GET", "/terminated").body == b"7"
        assert connection.ask("GET", "/pool?seconds=0.1").body == b"pooled"
        assert connection.ask("GET", "/-/ready").status == 200
    process.signal()
    process.leaves(within=BEFORE, code=7)


# What the program does on a signal, it does after the drain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("on", ["on_signal", "on_signal_late", "on_loop", "on_loop_late"])
def test_own_handler(start_one: Start, on: str, number: int) -> None:
    process = run(start_one, "listen", on)
    if on.endswith("late"):
        process.until_logged("installed")
    is_signal = on.startswith("on_signal")
    drains(process, number, code=7 if is_signal else 0)
    own = f"own handler of {signal.Signals(number).name}" if is_signal else "own callback"
    assert process.log.index("drained in") < process.log.index(own)
    assert process.log.count(own) == 1
    assert "own finally" in process.log


@pytest.mark.parametrize(
    ("way", "on", "number", "code", "says"),
    [
        ("listen", "chained", signal.SIGTERM, 7, "chained"),
        ("listen", "from_signal", signal.SIGTERM, 0, "own callback"),
        ("listen", "removed", signal.SIGTERM, 0, "own finally"),
        ("listen", "raising", signal.SIGTERM, 1, "LookupError: own exception"),
        ("listen", "again", signal.SIGTERM, -signal.SIGTERM, "own handler"),
        ("listen", "ignoring", signal.SIGTERM, 0, "own finally"),
        ("listen", "no_handler", signal.SIGINT, 0, "own KeyboardInterrupt"),
        ("asyncio-listen", "on_loop", signal.SIGTERM, 0, "own event"),
        ("asyncio-listen", "on_signal", signal.SIGTERM, 7, "own handler of SIGTERM"),
        ("asyncio-listen", "no_handler", signal.SIGINT, 0, "own KeyboardInterrupt"),
    ],
)
def test_other_handlers(
    start_one: Start, way: str, on: str, number: int, code: int, says: str
) -> None:
    process = run(start_one, way, on)
    drains(process, number, code)
    assert says in process.log.partition("drained in")[2]


def test_ignored_sigint(start_one: Start) -> None:
    process = run(start_one, "listen", "ignoring")
    process.signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.status()["state"] == "serving"
    drains(process)


def test_signal_before_the_first_server(start_one: Start) -> None:
    process = run(start_one, "late", "on_signal", wait=False)
    process.until_logged("later")
    process.signal()
    process.leaves(within=BEFORE, code=7)
    assert "own handler of SIGTERM" in process.log
    assert "draining" not in process.log


@pytest.mark.parametrize("on", ["hanging", "leaves_thread"])
def test_program_that_hangs_after_its_drain(start_one: Start, on: str) -> None:
    limits = {"TORNADO_DRAIN_MAX_WAIT": "0.5", "TORNADO_DRAIN_EXIT_LIMIT": "1.5"}
    process = run(start_one, "listen", on, wait=True, **limits)
    process.signal()
    process.leaves(within=1.5 + 2, after=1.5 - 0.1)
    assert "after the drain: leaving" in process.log
    assert ("hanging" in process.log) == (on == "hanging")


def test_jobs_that_the_program_waits_for_have_until_the_exit_limit(start_one: Start) -> None:
    process = run(start_one, "listen", "on_signal", TORNADO_DRAIN_MAX_WAIT="10")
    with process.connect() as connection:
        for _ in range(2):
            # Longer than the 3 s between MAX_WAIT and the exit limit.
            assert connection.ask("POST", "/jobs?seconds=4").status == 202
    process.signal()
    process.leaves(within=5, after=3, code=7)
    assert process.log.count("job done") == 2


def test_jobs_that_take_longer(start_one: Start) -> None:
    limits = {"TORNADO_DRAIN_MAX_WAIT": "0.5", "TORNADO_DRAIN_EXIT_LIMIT": "1.5"}
    process = run(start_one, "listen", "on_signal", wait=True, **limits)
    with process.connect() as connection:
        assert connection.ask("POST", "/jobs?seconds=60").status == 202
    process.signal()
    process.leaves(within=1.5 + 2, after=1.5 - 0.1)
    assert "after the drain: leaving" in process.log


# The process's own paths


def test_own_paths_come_before_the_app(start: Start) -> None:
    process = run(start, "refusing")
    with process.connect() as connection:
        assert connection.ask("GET", "/").status == 401
        answer = connection.ask("GET", "/-/ready")
        assert answer.status == 200
        assert json.loads(answer.body) == {"ready": True, "pid": process.popen.pid}
        assert connection.ask("GET", "/-/metrics").closes
    status = process.status()
    assert (status["release"], status["state"], status["answered"]) == ("abc", "serving", 1)
    with process.connect() as connection:
        connection.ask("GET", "/")
        process.drain()
        assert connection.ask("GET", "/-/ready").status == 503


# What can't be drained is said


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("nothing", "the program has ended and started no Tornado HTTP server"),
        ("replaces", "the program replaces itself with "),
        ("forks", "the program forks its servers; "),
        ("forks_later", "the program forks its servers; "),
        ("forks_itself", "the program forks its servers; "),
        ("thread", "an HTTP server that runs outside of the main thread"),
    ],
)
def test_not_drained(start_one: Start, way: str, says: str) -> None:
    process = run(start_one, way, wait=False)
    process.until_logged(f"not drained: {says}", 10)
    if way in {"nothing", "replaces"}:
        assert process.popen.wait(5) == 0
    else:
        os.killpg(process.popen.pid, signal.SIGTERM)
        assert process.popen.wait(5) == -signal.SIGTERM
    assert process.log.count("not drained") == 1


def test_program_that_starts_no_server(start_one: Start, tmp_path: Path) -> None:
    assert program._START == 10
    earlier = "import tornado_drain.program\ntornado_drain.program._START = 1.0\n"
    (tmp_path / "sitecustomize.py").write_text(earlier)
    code = (tmp_path, Path(tornado_drain.__file__).parent.parent, ROOT)
    path = os.pathsep.join(map(str, code))
    process = run(start_one, "only_tcp", wait=False, PYTHONPATH=path)
    late = "no Tornado HTTP server has started yet, 1 s after the program"
    process.until_logged(f"not drained: {late}", 10)
    process.signal()
    process.leaves(within=BEFORE, code=-signal.SIGTERM)
    assert process.log.count("not drained") == 1


def test_tornado_that_is_too_old(start_one: Start, tmp_path: Path) -> None:
    # An older one can't be installed everywhere; this one only says that it is.
    lie = "import tornado\ntornado.version, tornado.version_info = '6.1', (6, 1, 0, 0)\n"
    (tmp_path / "sitecustomize.py").write_text(lie)
    code = (tmp_path, Path(tornado_drain.__file__).parent.parent, ROOT)
    path = os.pathsep.join(map(str, code))
    process = run(start_one, "nothing", wait=False, PYTHONPATH=path)
    assert process.popen.wait(10) == 0
    assert "not drained: Tornado 6.1; 6.2 or newer can be" in process.log
    assert "own finally" in process.log


# Commands


@pytest.fixture
def console_script(short_path: Path) -> Path:
    """A program as pip installs it."""
    path = short_path / "bin/third-party"
    path.parent.mkdir()
    code = "import sys\nfrom third_party import main\nsys.exit(main())\n"
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["third-party"],
        ["-m", "third_party"],
        ["python", "-m", "third_party"],
        [sys.executable, PROGRAM],
        ["python3", PROGRAM],
    ],
    ids=" ".join,
)
def test_commands(start_one: Start, console_script: Path, command: list[str]) -> None:
    (other,) = free_ports(1)
    path = f"{console_script.parent}{os.pathsep}{os.environ['PATH']}"
    process = start_one(*DRAIN, *command, "listen", "on_signal", PATH=path, OTHER=str(other))
    assert "arguments ['listen', 'on_signal']" in process.log
    drains(process, code=7)


def test_options_are_given_before_the_command(start_one: Start) -> None:
    process = start_one(*DRAIN[:-1], "--max-wait", "4", "--", PROGRAM, "listen", OTHER="0")
    assert process.status()["max_wait"] == 4


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ([], "got ''; expected a console script, a Python file, or -m MODULE"),
        (["-m"], "got '-m'; expected a console script"),
        (["python", "-u", PROGRAM], "got '-u'; expected a console script"),
        (["no-such-program"], "got 'no-such-program'; there is no such program or file"),
        (["-m", "nowhere.at_all"], "got -m nowhere.at_all; there is no such module"),
        (["./nowhere.py"], "got './nowhere.py'; there is no such program or file"),
        (["/bin/sh"], "got /bin/sh; expected a Python program"),
        (["/elsewhere/bin/python3", PROGRAM], "got /elsewhere/bin/python3; expected a program for"),
    ],
)
def test_commands_that_are_refused(start_one: Start, command: list[str], error: str) -> None:
    process = start_one(*DRAIN, *command, wait=False)
    assert process.popen.wait(10) == 2
    assert error in process.log


def test_bad_setting_is_refused(start_one: Start) -> None:
    process = run(start_one, "listen", wait=False, TORNADO_DRAIN_MAX_WAIT="soon")
    assert process.popen.wait(10) == 2
    assert "TORNADO_DRAIN_MAX_WAIT='soon': expected seconds" in process.log
    assert "arguments" not in process.log
