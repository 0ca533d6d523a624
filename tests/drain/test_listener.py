"""Holding off new connections: no SYN gets in, and none that got in before is lost."""

import asyncio
import contextlib
import socket
import threading
import time
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado_drain import drain, listener
from tornado_drain.handshakes import handshakes
from tornado_drain.listener import Listener
from tornado_drain.settings import Settings
from tornado_drain.shutdown import Shutdown


def not_expected(connection: socket.socket, address: Any) -> None:
    pytest.fail(f"a connection from {address}")


# Some kernels let only CAP_NET_ADMIN attach a filter.
@pytest.fixture(params=["filter", "sink"] if listener._may_filter() else ["sink"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What holds off: each where this user may use it."""
    if request.param == "sink":
        monkeypatch.setattr(listener, "_may_filter", lambda: False)
    return str(request.param)


@pytest.mark.parametrize(
    ("bound", "target"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.2"),
        ("::1", "::1"),
        ("::", "::1"),
    ],
)
def test_new_connections_are_held_off(means: str, bound: str, target: str) -> None:
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    accepted = []
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_server((bound, 0), family=family, backlog=200))
        sock.setblocking(False)
        listening = Listener(sock, not_expected)
        assert not listening.why_not
        assert (listening._sink is not None) == (means == "sink")
        port = sock.getsockname()[1]
        for _ in range(100):
            stack.enter_context(socket.create_connection((target, port), 1))
        listening.hold_off()
        for _ in range(5):
            with pytest.raises(TimeoutError):
                socket.create_connection((target, port), 0.05)
        listening.accept_rest(lambda connection, address: accepted.append(connection))
        assert len(accepted) == 100
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((target, port), 1)
        for connection in accepted:
            connection.close()


def test_port_that_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_may_filter", lambda: False)
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as sock:
        listening = Listener(sock, not_expected)
        assert listening.why_not == "the program shares its port, by SO_REUSEPORT"
        listening.hold_off()
        socket.create_connection(sock.getsockname(), 1).close()


def test_what_can_not_be_held_off_is_said_at_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "_may_filter", lambda: False)

    async def start(sock: socket.socket) -> None:
        settings = Settings.from_environment("127.0.0.1:0")
        Shutdown(settings).add(HTTPServer(Application()), [sock])

    for shared, count in ((True, 1), (False, 0)):
        caplog.clear()
        with socket.create_server(("127.0.0.1", 0), reuse_port=shared) as sock:
            asyncio.run(start(sock))
        assert caplog.text.count("the drain can't hold off new connections to ") == count


def test_port_stays_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_may_filter", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert not Listener(sock, not_expected).why_not
        with pytest.raises(OSError, match="Address already in use"):
            socket.create_server(sock.getsockname())


def test_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")
        sock.listen()
        listening = Listener(sock, not_expected)
        assert listening.why_not == "the socket has no path"
        listening.hold_off()


REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain here ends neither this interpreter nor what else it serves."""
    monkeypatch.setattr(drain, "_current", drain.Drain())
    monkeypatch.setattr(Shutdown, "limit_exit", lambda self: None)


async def drain_amid_a_handshake(*, its_end: bool) -> tuple[bytes, float]:
    """Drain a process that has begun a handshake; returns what the client got, and the seconds."""
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket() as client:
        sock.setblocking(False)
        client.setblocking(False)
        # The handshake is done with the client's first byte: as slow as one likes.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        shutdown = Shutdown(Settings.from_environment("127.0.0.1:0", 20.0))
        server = HTTPServer(Application())
        shutdown.add(server, [sock])
        server.add_sockets([sock])
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, sock.getsockname())
        assert len(handshakes(sock)) == 1
        began = time.monotonic()
        told = asyncio.Event()
        shutdown.on_signal(loop, told.set)
        await told.wait()
        draining = asyncio.create_task(shutdown.run())
        await asyncio.wait([draining], timeout=0.1)
        answer = b""
        if its_end:
            await loop.sock_sendall(client, REQUEST)
            while received := await loop.sock_recv(client, 65536):
                answer += received
        await draining
        return answer, time.monotonic() - began


@pytest.mark.usefixtures("in_process", "means")
def test_a_handshake_that_has_begun_is_not_cut() -> None:
    answer, _ = asyncio.run(drain_amid_a_handshake(its_end=True))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.usefixtures("in_process", "means")
def test_a_handshake_without_end_holds_nothing_up() -> None:
    _, seconds = asyncio.run(drain_amid_a_handshake(its_end=False))
    assert seconds < 10


def test_a_handshake_with_the_sink_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the kernel has the program, it gives the sink one client of two."""
    monkeypatch.setattr(listener, "_may_filter", lambda: False)
    listen, attach = socket.socket.listen, listener._Filter.attach
    sinks: list[socket.socket] = []
    clients: list[socket.socket] = []
    connections: list[socket.socket] = []

    def listening(sock: socket.socket, backlog: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
        listen(sock, backlog)
        sinks.append(sock)

    def late(program: listener._Filter, first: socket.socket, option: int) -> None:
        while not clients or not handshakes(first):
            clients.append(socket.create_connection(first.getsockname(), 1))
        attach(program, first, option)
        monkeypatch.setattr(listener._Filter, "attach", attach)
        sinks[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        threading.Timer(0.1, clients[-1].sendall, [b"x"]).start()

    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        monkeypatch.setattr(socket.socket, "listen", listening, raising=False)
        monkeypatch.setattr(listener._Filter, "attach", late)
        made = Listener(sock, lambda connection, address: connections.append(connection))
        assert not made.why_not
        assert [connection.recv(1) for connection in connections] == [b"x"]
        made.accept_rest(lambda connection, address: connections.append(connection))
        assert len(connections) == len(clients)
        for each in [*connections, *clients]:
            each.close()
