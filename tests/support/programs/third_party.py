"""A program that knows nothing of the drain: how it serves, and what it does on a signal.

    python third_party.py [asyncio-]WAY [ON_SIGNAL]

It serves the handlers of `drain_app` on the port of the environment, and says in its log what it
does.
"""

import asyncio
import logging
import logging.config
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.tcpserver import TCPServer
from tornado.web import Application, RequestHandler

from tests.support.programs import drain_app
from tests.support.programs.drain_app import say

_listen = os.environ["TORNADO_DRAIN_LISTEN"]
PORT = int(os.environ["TORNADO_DRAIN_PORT"] if "/" in _listen else _listen.rpartition(":")[2])
OTHER = int(os.environ["OTHER"])


class Refuse(RequestHandler):
    """Lets nobody in."""

    def prepare(self) -> None:
        self.set_status(401)
        self.finish("who are you?")


class Server(HTTPServer):
    """Has a start of its own."""

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        say("own start_request")
        return super().start_request(server_conn, request_conn)


def answer(request: HTTPServerRequest) -> None:
    """Answer without a `RequestHandler`, after a while."""
    connection = request.connection
    assert connection is not None

    def write() -> None:
        headers = HTTPHeaders({"Content-Length": "6"})
        connection.write_headers(ResponseStartLine("", 200, "OK"), headers, b"slow 0")
        connection.finish()

    IOLoop.current().call_later(float(request.arguments["seconds"][0]), write)


# How it serves


def listen() -> None:
    drain_app.make_app().listen(PORT, "127.0.0.1")


def bind() -> None:
    server = HTTPServer(drain_app.make_app())
    server.bind(PORT, "127.0.0.1")
    server.start()


def add_sockets() -> None:
    sockets = bind_sockets(PORT, "127.0.0.1")
    HTTPServer(drain_app.make_app()).add_sockets(sockets)
    assert sockets[0].getsockname()[1] == PORT


def add_socket() -> None:
    sock = socket.create_server(("127.0.0.1", PORT))
    sock.setblocking(False)
    HTTPServer(drain_app.make_app()).add_socket(sock)


def subclass() -> None:
    Server(drain_app.make_app()).listen(PORT, "127.0.0.1")


def callback() -> None:
    HTTPServer(answer).listen(PORT, "127.0.0.1")


def late() -> None:
    say("later")
    IOLoop.current().call_later(0.6, listen)


def several() -> None:
    listen()
    drain_app.make_app().listen(OTHER, "127.0.0.1")


def twice() -> None:
    server = HTTPServer(drain_app.make_app())
    server.listen(PORT, "127.0.0.1")
    server.listen(OTHER, "127.0.0.1")


def refusing() -> None:
    Application([(".*", Refuse)]).listen(PORT, "127.0.0.1")


def logs() -> None:
    logging.config.dictConfig({"version": 1})
    listen()


def stopped() -> None:
    """Serve on another port too, for a while only."""
    listen()
    server = HTTPServer(drain_app.make_app())
    server.listen(OTHER, "127.0.0.1")
    IOLoop.current().call_later(0.1, server.stop)


def forks() -> None:
    server = HTTPServer(drain_app.make_app())
    server.bind(PORT, "127.0.0.1")
    server.start(2)


def forks_later() -> None:
    sockets = bind_sockets(PORT, "127.0.0.1")
    fork_processes(2)
    HTTPServer(drain_app.make_app()).add_sockets(sockets)


def forks_itself() -> None:
    if os.fork():
        os.wait()
        sys.exit()
    listen()


def thread() -> None:
    """Serve beside the main thread."""

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        listen()
        IOLoop.current().start()

    threading.Thread(target=run, daemon=True).start()


def only_tcp() -> None:
    """Serve what is not HTTP."""
    TCPServer().listen(PORT, "127.0.0.1")


def nothing() -> None:
    """Do not serve."""


def replaces() -> None:
    os.execvp(sys.executable, [sys.executable, "-c", "print('replaced')"])


# What it does on a signal


def leave(number: int, frame: FrameType | None) -> None:
    """Leave, with a status of its own."""
    say(f"own handler of {signal.Signals(number).name}")
    sys.exit(7)


def stop() -> None:
    """End the loop."""
    say("own callback")
    IOLoop.current().stop()


def on_signal() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
        assert signal.getsignal(number) is leave


def on_signal_late() -> None:
    IOLoop.current().call_later(0.2, on_signal)
    IOLoop.current().call_later(0.2, say, "installed")


def on_loop() -> None:
    loop = asyncio.get_event_loop_policy().get_event_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def on_loop_late() -> None:
    IOLoop.current().call_later(0.2, on_loop)
    IOLoop.current().call_later(0.2, say, "installed")


def from_signal() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        IOLoop.current().add_callback_from_signal(stop)

    signal.signal(signal.SIGTERM, handler)


def chained() -> None:
    on_signal()
    before = signal.getsignal(signal.SIGTERM)
    assert callable(before)

    def handler(number: int, frame: FrameType | None) -> None:
        say("chained")
        before(number, frame)

    assert signal.signal(signal.SIGTERM, handler) is before


def removed() -> None:
    on_signal()
    on_loop()
    asyncio.get_event_loop_policy().get_event_loop().remove_signal_handler(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def raising() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        raise LookupError("own exception")

    signal.signal(signal.SIGTERM, handler)


def again() -> None:
    """End by the signal, as some do to tell their parent."""

    def handler(number: int, frame: FrameType | None) -> None:
        say("own handler")
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, handler)


def ignoring() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def hanging() -> None:
    def handler(number: int, frame: FrameType | None) -> None:
        say("hanging")
        time.sleep(60)

    signal.signal(signal.SIGTERM, handler)


def leaves_thread() -> None:
    on_signal()
    threading.Thread(target=time.sleep, args=(60,)).start()


def no_handler() -> None:
    """Install none."""


async def in_asyncio(way: Callable[[], None], on: Callable[[], None]) -> None:
    """Serve until cancelled, or until an event that `on_loop` would set."""
    way()
    on()
    if on is on_loop:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        await ended.wait()
        say("own event")
    else:
        await asyncio.Event().wait()


def main() -> None:
    """Serve as the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    say(f"arguments {sys.argv[1:]}")
    runner, _, name = sys.argv[1].rpartition("-")
    way = globals()[name]
    on = globals()[sys.argv[2] if len(sys.argv) > 2 else "no_handler"]
    try:
        if runner == "asyncio":
            asyncio.run(in_asyncio(way, on))
        else:
            on()
            way()
            if name != "nothing":
                IOLoop.current().start()
    except KeyboardInterrupt:
        say("own KeyboardInterrupt")
    finally:
        say("own finally")


if __name__ == "__main__":
    main()
