"""Holding off new connections: no SYN gets in, and none that got in before is lost."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado_drain import listener
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
