"""The drain, on real processes, real sockets and real signals.

Tests run on TCP and on a unix socket, and where Tornado has a part in it, with the one that is
installed and with the oldest that is supported.
"""

import asyncio
import contextlib
import json
import os
import re
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tornado_drain
from tornado.web import Application

from tests.support.oldest_tornado import OLDEST, oldest_tornado
from tests.support.paths import PROGRAMS
from tests.support.process import GOING_AWAY, Start, starter
from tests.support.user import give


def test_versions() -> None:
    code = "import tornado; print(tornado.version)"
    versions = [
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | env, text=True)
        for env in ({"PYTHONPATH": str(oldest_tornado())}, {})
    ]
    assert versions[0].strip() == OLDEST
    assert versions[1].strip() != OLDEST


# What is in flight is finished


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_in_flight(start: Start, number: int) -> None:
    process = start()
    process.signal(number)
    process.leaves(within=0.3)
    assert "after serve" in process.log
    if process.address.startswith("unix:"):
        assert not Path(process.address.removeprefix("unix:")).exists()


def test_request_in_flight(start: Start) -> None:
    process = start()
    with process.connect() as get, process.connect() as post, process.connect() as head:
        get.send("GET", "/?seconds=0.3")
        post.send("POST", "/?seconds=0.3", b"order")
        head.send("HEAD", "/?seconds=0.3")
        process.until_in_flight(3)
        process.signal()
        assert get.receive()[::2] == (200, b"slow 0")
        answers = [post.receive(), head.receive("HEAD")]
        assert [(a.status, a.closes, a.body) for a in answers] == [
            (200, True, b"slow 5"),
            (200, True, b""),
        ]
    process.leaves(within=0.5)
    assert "drained in" in process.log


def test_idle_connections(start: Start) -> None:
    process = start()
    with process.connect() as used, process.connect() as unused, process.connect() as silent:
        for connection in (used, silent):
            answer = connection.ask("GET", "/")
            assert answer.status == 200
            assert not answer.closes
        # It is never the server that closes one, whatever it has as its idle_connection_timeout.
        assert used.is_open(0.3)
        process.drain()
        assert used.is_open(0.15)
        for connection in (used, unused):
            answer = connection.ask("POST", "/?seconds=0.1", b"order")
            assert (answer.status, answer.closes, answer.body) == (200, True, b"slow 5")
            # Told so, the client is not surprised; here it is the server that closes.
            assert connection.file.read() == b""
        assert silent.is_open(0.15)
        assert process.is_alive
        process.signalled = time.monotonic()
    process.leaves(within=0.3)


def test_accept_queue(start: Start) -> None:
    process = start()
    with contextlib.ExitStack() as stack:
        blocked = stack.enter_context(process.connect())
        blocked.send("GET", "/block?seconds=0.3")
        process.until_logged("blocking")
        queued = [stack.enter_context(process.connect()) for _ in range(20)]
        for connection in queued:
            connection.send("POST", "/", b"order")
        process.signal()
        for connection in queued:
            answer = connection.receive()
            assert (answer.status, answer.closes, answer.body) == (200, True, b"slow 5")
        assert blocked.receive().closes
    process.leaves(within=0.6)


def test_new_connections(start_newest: Start) -> None:
    process = start_newest()
    with process.connect() as connection:
        connection.send("GET", "/?seconds=0.3")
        process.until_in_flight()
        process.drain()
        time.sleep(0.05)
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            process.connect()
        assert connection.receive().status == 200
    process.leaves(within=0.6)


def test_new_connections_while_the_loop_is_blocked(start_newest: Start) -> None:
    process = start_newest()
    with process.connect() as connection:
        connection.send("GET", "/block?seconds=0.5")
        process.until_logged("blocking")
        process.signal()
        time.sleep(0.05)
        # On TCP no answer comes to the SYN: nothing can have been sent on such a connection.
        with pytest.raises((TimeoutError, FileNotFoundError)):
            process.connect(0.2)
        assert "draining: " not in process.log
        assert connection.receive().status == 200
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            process.connect()
    process.leaves(within=1)


@pytest.mark.parametrize("path", ["/", "/upload"])
def test_half_received_body(start: Start, path: str) -> None:
    process = start()
    with process.connect() as connection, process.connect() as headers:
        connection.send("POST", path, b"half", Content_Length="8")
        headers.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: ".encode())
        process.until_in_flight()
        process.drain()
        time.sleep(0.1)
        connection.socket.sendall(b"half")
        headers.socket.sendall(b"test\r\nContent-Length: 4\r\n\r\nbody")
        for each, size in ((connection, 8), (headers, 4)):
            answer = each.receive()
            assert (answer.status, answer.closes) == (200, True)
            assert answer.body.endswith(b" %d" % size)
    process.leaves(within=0.5)


def test_pipelined_requests(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.send("GET", "/?seconds=0.2")
        connection.send("POST", "/?seconds=0.2", b"order")
        process.until_in_flight()
        process.signal()
        assert connection.receive().body == b"slow 0"
        assert connection.receive().body == b"slow 5"
    process.leaves(within=0.7)


def test_client_is_gone(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.send("POST", "/?seconds=0.5", b"order")
        process.until_in_flight()
    with process.connect() as connection:
        connection.send("GET", "/block?seconds=0.3")
        process.until_logged("blocking")
        # Its request and its end arrive together.
        with process.connect() as hasty:
            hasty.send("POST", "/?seconds=0.5", b"order")
        process.signal()
        connection.receive()
    process.leaves(within=0.9, after=0.6)
    assert process.log.count("slow done") == 2


def test_streams(start: Start) -> None:
    process = start()
    with process.connect() as stream, process.connect() as events, process.connect() as late:
        stream.send("GET", "/stream")
        events.send("GET", "/events")
        process.until_in_flight(2)
        process.drain()
        assert stream.receive().body == b"0 1 2 3 4 end"
        assert events.receive().body == b"data: first\n\ndata: last\n\n"
        # One that begins during the drain is told too.
        answer = late.ask("GET", "/events")
        assert answer.closes
        assert answer.body == b"data: first\n\ndata: last\n\n"
    process.leaves(within=0.7)


def test_waiting_for_the_drain(start: Start) -> None:
    process = start()
    with process.connect() as poll, process.connect() as context:
        poll.send("GET", "/poll")
        context.send("GET", "/context")
        process.until_in_flight(2)
        process.signal()
        assert poll.receive().body == b"draining True"
        assert context.receive().body == b"outer late"
    process.leaves(within=0.3)
    assert "ZeroDivisionError" in process.log


def test_background_task(start_newest: Start) -> None:
    process = start_newest()
    with process.connect() as connection:
        assert connection.ask("GET", "/background?seconds=0.4").status == 200
    process.signal()
    process.leaves(within=0.7, after=0.3)
    assert "work done" in process.log


def test_errors(start: Start) -> None:
    process = start()
    with process.connect() as failing, process.connect() as idle:
        assert not idle.ask("GET", "/nothing").closes
        failing.send("GET", "/failing")
        process.until_in_flight()
        process.drain()
        answer = idle.ask("GET", "/nothing")
        assert (answer.status, answer.closes) == (404, True)
        answer = failing.receive()
        assert (answer.status, answer.closes) == (500, True)
    process.leaves(within=0.5)


def test_http_1_0(start: Start) -> None:
    process = start()
    with contextlib.ExitStack() as stack:
        plain, kept, idle = (stack.enter_context(process.connect()) for _ in range(3))
        keep: dict[str, Any] = {"version": "1.0", "Connection": "keep-alive"}
        assert idle.ask("GET", "/", **keep).headers["Connection"] == "Keep-Alive"
        plain.send("GET", "/?seconds=0.3", version="1.0")
        kept.send("GET", "/?seconds=0.3", **keep)
        process.until_in_flight(2)
        process.drain()
        assert plain.receive()[::2] == (200, b"slow 0")
        assert plain.file.read() == b""
        for answer in (kept.receive(), idle.ask("GET", "/", **keep)):
            assert (answer.status, answer.closes, answer.body) == (200, True, b"slow 0")
    process.leaves(within=0.5)


def test_process_pool(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.send("GET", "/pool?seconds=0.4")
        process.until_in_flight()
        time.sleep(0.1)
        process.drain()
        # The child has the listener too; nobody is to wait in its queue.
        time.sleep(0.05)
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            process.connect(0.3)
        assert connection.receive().body == b"pooled"
    process.leaves(within=0.8)


def test_forked_child_is_terminated(start_newest: Start) -> None:
    process = start_newest()
    with process.connect() as connection:
        assert connection.ask("GET", "/terminated").body == b"-15"
    with process.connect(0.5) as connection:
        assert connection.ask("GET", "/-/ready").status == 200
    process.signal()
    process.leaves(within=0.3)


# WebSockets


def test_websocket(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.upgrade(X_Hook="yes")
        process.until(lambda: process.status()["websockets"] == 1)
        assert process.status()["in_flight"] == 0
        process.signal()
        assert connection.receive_frame() == (1, b"leaving")
        assert connection.receive_frame() == GOING_AWAY
        connection.send_frame(8, GOING_AWAY[1])
        assert connection.file.read() == b""
    process.leaves(within=0.3)


def test_websocket_message_in_flight(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        connection.upgrade()
        connection.send_frame(1, b"0.4")
        process.until_logged("message")
        process.signal()
        assert connection.receive_frame() == (1, b"0.4")
        assert connection.receive_frame() == GOING_AWAY
        connection.send_frame(8, GOING_AWAY[1])
    process.leaves(within=0.6)


def test_websocket_begun_during_the_drain(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        process.drain()
        connection.upgrade()
        assert connection.receive_frame() == GOING_AWAY
    process.leaves(within=0.5)


def test_websockets_leave_one_after_another(start_newest: Start) -> None:
    process = start_newest(TORNADO_DRAIN_MAX_WAIT="2")
    with contextlib.ExitStack() as stack:
        sockets = {}
        for _ in range(300):
            connection = stack.enter_context(process.connect())
            connection.upgrade()
            sockets[connection.socket.fileno()] = connection
        process.signal()
        closed = []
        while sockets and time.monotonic() < process.signalled + 4:
            for number in select.select(list(sockets), [], [], 1)[0]:
                connection = sockets.pop(number)
                assert connection.receive_frame() == GOING_AWAY
                connection.send_frame(8, GOING_AWAY[1])
                closed.append(time.monotonic() - process.signalled)
    process.leaves(within=2)
    # 300 in half of MAX_WAIT are 300 a second.
    assert len(closed) == 300
    assert closed[-1] - closed[0] > 0.8
    assert 60 < sum(when < 0.4 for when in closed) < 180


# What is not finished is cut


def test_cut(start: Start) -> None:
    process = start(TORNADO_DRAIN_MAX_WAIT="0.7")
    with contextlib.ExitStack() as stack:
        slow, upload, websocket, idle = (stack.enter_context(process.connect()) for _ in range(4))
        slow.send("GET", "/?seconds=10", X_Request_ID="a-b")
        upload.send("POST", "/upload", b"half", Content_Length="8")
        websocket.upgrade()
        idle.ask("GET", "/background?seconds=20")
        process.until_in_flight(2)
        process.signal()
        process.leaves(within=0.8, after=0.7)
        assert slow.file.read() == b""
        assert websocket.receive_frame() == GOING_AWAY
    cut = "cut off at MAX_WAIT (0.7 s): "
    assert re.search(rf"{re.escape(cut)}request GET /\?seconds=10, .* old, id a-b\n", process.log)
    assert f"{cut}request POST /upload, " in process.log
    assert f"{cut}WebSocket GET /ws, " in process.log
    assert f"{cut}task work-20" in process.log
    assert "closed at MAX_WAIT (0.7 s): 1 idle" in process.log
    assert "after serve" in process.log
    assert "work done" not in process.log


def test_max_wait_counts_from_the_signal(start_newest: Start) -> None:
    process = start_newest(TORNADO_DRAIN_MAX_WAIT="1")
    with process.connect() as slow, process.connect() as blocked:
        slow.send("GET", "/?seconds=10")
        process.until_in_flight()
        blocked.send("GET", "/block?seconds=0.9")
        process.until_logged("blocking")
        process.signal()
        process.popen.wait(5)
    # From the end of the blocking it would be 1.9 s.
    assert 1 <= time.monotonic() - process.signalled < 1.85


def test_handler_that_never_yields(start_newest: Start) -> None:
    process = start_newest(TORNADO_DRAIN_MAX_WAIT="0.2")
    with process.connect() as connection:
        connection.send("GET", "/block?seconds=60")
        process.until_logged("blocking")
        process.signal()
        time.sleep(0.5)
        assert process.is_alive
        # Nothing but SIGKILL is left to the supervisor, as a second SIGTERM is to a person.
        process.signal(signal.SIGKILL)
        process.leaves(within=0.2, code=-signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal(start_newest: Start, number: int) -> None:
    process = start_newest()
    with process.connect() as connection:
        connection.send("GET", "/?seconds=4")
        process.until_in_flight()
        process.drain()
        process.signal(number)
        process.leaves(within=0.2, code=-number)


def test_process_that_hangs_after_its_drain(start_one: Start) -> None:
    def hang(path: str, after: str) -> None:
        process = start_one(TORNADO_DRAIN_MAX_WAIT="0.5", AFTER=after)
        with process.connect() as connection:
            connection.send("GET", path)
            if "wait" in path:
                process.until_in_flight()
            else:
                connection.receive()
                connection.close()
            process.signal()
            # Before the ladder's next rung, MAX_WAIT + 5.
            process.leaves(within=3.5, after=3.4)
        assert "leaving" in process.log
        assert ("cut off" in process.log) == ("wait" in path)

    cases = [("/thread?wait=1", ""), ("/thread", ""), ("/", "code"), ("/", "thread")]
    with ThreadPoolExecutor() as threads:
        list(threads.map(hang, *zip(*cases, ("/", "atexit"), strict=True)))


# The process's own paths


def test_ready(start: Start) -> None:
    process = start()
    with process.connect() as connection:
        answer = connection.ask("GET", "/-/ready")
        assert answer.status == 200
        assert json.loads(answer.body) == {"ready": True, "pid": process.popen.pid}
        process.drain()
        answer = connection.ask("GET", "/-/ready")
        assert (answer.status, answer.closes) == (503, True)
        assert json.loads(answer.body)["ready"] is False
    process.leaves(within=0.3)


def test_status(start: Start) -> None:
    process = start()
    with process.connect() as idle, process.connect() as slow, process.connect() as websocket:
        idle.ask("GET", "/")
        slow.send("GET", "/?seconds=0.3")
        websocket.upgrade()
        process.until_in_flight()
        status = json.loads(idle.ask("GET", "/-/status").body)
        assert 0 < status.pop("uptime") < 10
        assert status == {
            "port": 9001,
            "pid": process.popen.pid,
            "release": "abc",
            "state": "serving",
            "in_flight": 1,
            "websockets": 1,
            "connections": 3,
            "answered": 1,
            "max_wait": 5,
        }
        process.drain()
        status = json.loads(idle.ask("GET", "/-/status").body)
        assert (status["state"], status["in_flight"]) == ("draining", 1)
        assert slow.receive().status == 200


def test_metrics(start: Start) -> None:
    process = start()

    def metrics() -> dict[str, float]:
        with process.connect() as connection:
            answer = connection.ask("GET", "/-/metrics")
            assert (answer.status, answer.closes) == (200, True)
        lines = answer.body.decode().splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if line.startswith("tornado_drain_"))
        return {name.removeprefix("tornado_drain_"): float(value) for name, value in samples}

    with process.connect() as idle, process.connect() as slow, process.connect() as websocket:
        idle.ask("GET", "/?seconds=0.1")
        idle.ask("GET", "/nowhere")
        idle.ask("GET", "/-/status")
        slow.send("GET", "/?seconds=1")
        websocket.upgrade()
        process.until_in_flight()
        now = metrics()
        assert now['requests_total{status="2xx"}'] == 1
        assert now['requests_total{status="4xx"}'] == 1
        assert now['requests_total{status="5xx"}'] == 0
        assert now["request_seconds_count"] == 2
        assert now['request_seconds_bucket{le="0.05"}'] == 1
        assert 0.1 < now["request_seconds_sum"] < 1
        assert now["requests_in_flight"] == 1
        assert now["websockets"] == 1
        assert now["connections"] == 4
        assert now["draining"] == 0
        assert now['info{port="9001",release="abc"}'] == 1
        slow.receive()
        websocket.close()
        # Idle, slow, and the one that asks.
        process.until(lambda: process.status()["connections"] == 3)
        now = metrics()
        assert now['requests_total{status="1xx"}'] == 1
        assert now['requests_total{status="2xx"}'] == 2
        assert now["request_seconds_count"] == 3
        assert now["websockets"] == 0
    process.signal()
    process.leaves(within=0.3)


def test_no_metrics_without_prometheus_client(start_one: Start, tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    code = Path(tornado_drain.__file__).parent.parent
    process = start_one(PYTHONPATH=f"{tmp_path}:{code}:{PROGRAMS}")
    with process.connect() as connection:
        assert connection.ask("GET", "/-/metrics").status == 404
        assert connection.ask("GET", "/-/status").status == 200


@pytest.mark.parametrize(
    ("ready", "expected"), [("yes", 200), ("no", 503), ("later", 503), ("fails", 500)]
)
def test_ready_by_the_app(start_one: Start, ready: str, expected: int) -> None:
    process = start_one(READY=ready)
    with process.connect() as connection:
        assert connection.ask("GET", "/-/ready").status == expected
    assert ("no database" in process.log) == (ready == "fails")


# Settings and the listener


@pytest.mark.parametrize("value", ["0", "-1", "abc", "nan", "inf", ""])
def test_bad_max_wait(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TORNADO_DRAIN_MAX_WAIT", value)
    with pytest.raises(ValueError, match=f"TORNADO_DRAIN_MAX_WAIT='{value}': expected seconds"):
        tornado_drain.Settings.from_environment()


@pytest.mark.parametrize("value", ["30", "-1", "abc", "nan", "inf", ""])
def test_bad_exit_limit(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TORNADO_DRAIN_EXIT_LIMIT", value)
    expected = rf"TORNADO_DRAIN_EXIT_LIMIT='{value}': expected seconds above 30 \(MAX_WAIT\)"
    with pytest.raises(ValueError, match=expected):
        tornado_drain.Settings.from_environment(max_wait=30)


@pytest.mark.parametrize(
    "value", ["127.0.0.1", "127.0.0.1:99999", "127.0.0.1:http", ":9001", "unix:", "unix:9001.sock"]
)
def test_bad_listen(value: str) -> None:
    with pytest.raises(ValueError, match=f"TORNADO_DRAIN_LISTEN='{value}': expected host:port"):
        asyncio.run(tornado_drain.serve(Application(), value))


def test_bad_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORNADO_DRAIN_PORT", "http")
    with pytest.raises(ValueError, match="TORNADO_DRAIN_PORT='http'"):
        tornado_drain.Settings.from_environment()


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN", "MAX_WAIT", "PORT", "RELEASE", "EXIT_LIMIT"):
        monkeypatch.delenv(f"TORNADO_DRAIN_{name}", raising=False)
    read = tornado_drain.Settings.from_environment
    assert read() == tornado_drain.Settings("127.0.0.1:9001", 30, 9001, "", 33)
    assert read("unix:/run/app/9002.sock", 1.5).port == 0
    monkeypatch.setenv("TORNADO_DRAIN_LISTEN", "unix:/run/app/9003.sock")
    monkeypatch.setenv("TORNADO_DRAIN_MAX_WAIT", "12")
    monkeypatch.setenv("TORNADO_DRAIN_PORT", "9003")
    monkeypatch.setenv("TORNADO_DRAIN_RELEASE", "abc")
    assert read() == tornado_drain.Settings("unix:/run/app/9003.sock", 12, 9003, "abc", 15)
    assert read(max_wait=7).max_wait == 7
    monkeypatch.setenv("TORNADO_DRAIN_EXIT_LIMIT", "12.5")
    assert read().exit_limit == 12.5


def test_path_that_can_not_be_unlinked(start_one: Start, short_path: Path) -> None:
    folder = short_path / "sockets"
    folder.mkdir()
    give(folder)
    process = start_one(TORNADO_DRAIN_LISTEN=f"unix:{folder}/9001.sock")
    process.address = f"unix:{folder}/9001.sock"
    folder.chmod(0o555)
    with process.connect() as connection:
        connection.send("GET", "/?seconds=0.3")
        process.until_in_flight()
        process.signal()
        assert connection.receive().closes
    process.leaves(within=0.6)
    folder.chmod(0o755)
    assert "not all was done on the signal: PermissionError" in process.log


def test_more_wakeups_than_the_loop_has_room_for(start_newest: Start) -> None:
    process = start_newest()
    with process.connect() as connection:
        connection.send("GET", "/block?seconds=0.3&wakeups=2000")
        process.until_logged("blocking")
        process.signal()
        assert connection.receive().closes
    process.leaves(within=0.6)
    assert "drained in" in process.log


def test_unix_socket_file(short_path: Path) -> None:
    path = short_path / "9001.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    for process in starter(short_path, "unix", []):
        first = process(TORNADO_DRAIN_LISTEN=f"unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        first.address = f"unix:{path}"
        assert first.status()["state"] == "serving"
        first.signal()
        first.leaves(within=0.3)
        path.write_text("not a socket")
        second = process(wait=False, TORNADO_DRAIN_LISTEN=f"unix:{path}")
        assert second.popen.wait(5) == 1
        assert "is not a socket" in second.log


def test_tls_is_not_ignored(start_one: Start) -> None:
    process = start_one(TLS="without a certificate")
    with process.connect() as connection:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            context.wrap_socket(connection.socket, server_hostname="test")


# python -m tornado_drain


@pytest.mark.parametrize("name", ["app", "make_app", "make_app_later"])
def test_main(start: Start, name: str) -> None:
    process = start("-m", "tornado_drain", "--max-wait", "4", f"drain_app:{name}")
    assert process.status()["max_wait"] == 4
    with process.connect() as connection:
        connection.send("GET", "/?seconds=0.3")
        process.until_in_flight()
        process.signal()
        assert connection.receive().closes
    process.leaves(within=0.5)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["drain_app"], "got 'drain_app'; expected MODULE:ATTRIBUTE"),
        (["drain_app:yes"], "drain_app:yes: got True; expected an Application"),
        (["drain_app:nothing"], "has no attribute 'nothing'"),
        (["no_such_module:app"], "No module named 'no_such_module'"),
        (["drain_app:app", "--max-wait", "0"], "TORNADO_DRAIN_MAX_WAIT=0.0: expected seconds"),
        (["drain_app:app", "--listen", "here"], "TORNADO_DRAIN_LISTEN='here': expected host:port"),
    ],
)
def test_main_refuses(start_one: Start, arguments: list[str], error: str) -> None:
    process = start_one("-m", "tornado_drain", *arguments, wait=False)
    assert process.popen.wait(10) != 0
    assert error in process.log
