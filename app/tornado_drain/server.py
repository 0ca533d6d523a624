"""`serve`: an application from its first connection to the end of its drain."""

import asyncio
import inspect
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any
from weakref import WeakSet

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.web import Application, RequestHandler

from tornado_drain.drain import Drain, current, instrument
from tornado_drain.listener import accept_rest, bind, refuse_new

try:
    from tornado_drain import metrics
except ImportError:  # of prometheus_client, which is optional
    metrics = None  # type: ignore[assignment]

_logger = logging.getLogger("tornado_drain")

# The drain's own paths; nginx does not pass them through from outside.
_OWN = "/-/"

# Seconds past MAX_WAIT by which the process has left, whatever the app does after its drain: an
# executor's thread can hold the interpreter for ever. Below the ladder's next rung, MAX_WAIT + 5.
EXIT_LIMIT = 3.0

# Both mean: leave.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

# The app's own say in whether it is ready.
Ready = Callable[[], bool | Awaitable[bool]]


@dataclass(frozen=True)
class Settings:
    """Where to listen and how long to drain; what is not given is read from the environment.

    Attributes:
        listen: ``host:port`` or ``unix:/path`` (``TORNADO_DRAIN_LISTEN``).
        max_wait: MAX_WAIT, the longest a drain may take, seconds (``TORNADO_DRAIN_MAX_WAIT``).
        port: the process's identity, also on a unix socket (``TORNADO_DRAIN_PORT``).
        release: the release it runs (``TORNADO_DRAIN_RELEASE``).
    """

    listen: str
    max_wait: float
    port: int
    release: str

    @classmethod
    def from_environment(
        cls, listen: str | None = None, max_wait: float | None = None
    ) -> "Settings":
        """Read the settings that the role writes.

        Raises:
            ValueError: a setting is not of its form; the text names it.
        """
        listen = listen or os.environ.get("TORNADO_DRAIN_LISTEN", "127.0.0.1:9001")
        given: object = max_wait
        if given is None:
            given = os.environ.get("TORNADO_DRAIN_MAX_WAIT", "30")
        try:
            seconds = float(str(given))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise ValueError(f"TORNADO_DRAIN_MAX_WAIT={given!r}: expected seconds above 0")
        named = os.environ.get("TORNADO_DRAIN_PORT")
        if named and not named.isdecimal():
            raise ValueError(f"TORNADO_DRAIN_PORT={named!r}: expected a whole number")
        port = named or listen.rpartition(":")[2]
        return cls(
            listen=listen,
            max_wait=seconds,
            port=int(port) if port.isdecimal() else 0,
            release=os.environ.get("TORNADO_DRAIN_RELEASE", ""),
        )


class Process:
    """The HTTP servers of this process, and what it does from the signal to the end of its drain.

    Args:
        settings: the process's.
        ready: whether the app itself is ready, asked at each ``/-/ready``.
    """

    def __init__(self, settings: Settings, ready: Ready | None = None) -> None:
        self.settings = settings
        self.drain = current(new=True)
        self.deadline = 0.0  # of the drain, by the monotonic clock
        self._listening: list[tuple[HTTPServer, socket.socket]] = []
        self._own = _own_paths(self.drain, settings, ready)
        instrument()
        if metrics is not None:
            metrics.measure(self.drain, settings.port, settings.release)

    def add(self, server: HTTPServer, sockets: list[socket.socket]) -> None:
        """Drain `server` too, which listens on `sockets` or is about to."""
        watch(server, self.drain, self._own)
        # Idle connections are nginx's to close: it may be about to use one. Tornado's timer for
        # them (HTTPServer's `idle_connection_timeout`) also takes a twelfth of a short request.
        server.conn_params.header_timeout = None
        self._listening += [(server, sock) for sock in sockets]
        if self.drain.signalled:
            self._refuse_new()

    def has(self, server: HTTPServer) -> bool:
        """Whether `server` is one of those that are drained here."""
        return any(server is each for each, _ in self._listening)

    def signalled(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], object]) -> None:
        """Hold off new connections, and `begin` once the loop gets to it; for a signal handler."""
        self.deadline = time.monotonic() + self.settings.max_wait
        self.drain.signalled = True
        self._refuse_new()
        loop.call_soon_threadsafe(begin)

    async def finish(self) -> None:
        """Answer what has begun, and what the kernel has accepted, until MAX_WAIT is over."""
        self.drain.begun.set()
        for server, sock in self._open():
            accept_rest(sock, server._handle_connection)
        for server in {server for server, _ in self._listening}:
            TCPServer.stop(server)
            server.conn_params.no_keep_alive = True
        await self.drain.wait(self.settings.max_wait, self.deadline)
        limit_exit(max(self.deadline - time.monotonic(), 0.0) + EXIT_LIMIT)

    def _refuse_new(self) -> None:
        for _, sock in self._open():
            refuse_new(sock)

    def _open(self) -> list[tuple[HTTPServer, socket.socket]]:
        # An app may have closed some itself.
        return [each for each in self._listening if each[1].fileno() != -1]


async def serve(
    app: Application | HTTPServerConnectionDelegate,
    listen: str | None = None,
    *,
    max_wait: float | None = None,
    ready: Ready | None = None,
    **server_options: Any,
) -> None:
    """Serve `app` until SIGTERM or SIGINT, then drain and return.

    ``/-/ready`` answers 200 while the process serves, 503 otherwise; ``/-/status`` answers JSON;
    ``/-/metrics`` is for Prometheus, where `prometheus_client` is installed. A second signal ends
    the process at once. What the app does after `serve` has returned may take what is left of
    MAX_WAIT and 3 seconds; then the process ends, with status 0.

    Args:
        app: the application.
        listen: ``host:port`` or ``unix:/path``; by default ``TORNADO_DRAIN_LISTEN``.
        max_wait: the longest the drain may take, seconds; by default ``TORNADO_DRAIN_MAX_WAIT``.
        ready: whether the app itself is ready, asked at each ``/-/ready``; if it raises, 500.
        server_options: for `tornado.httpserver.HTTPServer`. ``xheaders`` is on by default: only
            the kit's nginx, which overwrites these headers, can reach the process.
            ``idle_connection_timeout`` has no effect: idle connections are nginx's to close.

    Raises:
        ValueError: a setting is not of its form, or this is not the main thread.
        OSError: the address can't be bound.
    """
    settings = Settings.from_environment(listen, max_wait)
    process = Process(settings, ready)
    server = HTTPServer(app, **{"xheaders": True} | server_options)
    sockets = bind(settings.listen)
    process.add(server, sockets)
    server.add_sockets(sockets)
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()
    pid = os.getpid()

    def leave(signum: int, frame: FrameType | None) -> None:
        # Not loop.add_signal_handler: this runs at once even while a handler blocks the loop, so
        # that new connections go elsewhere and MAX_WAIT counts from the signal.
        if os.getpid() != pid:  # a forked worker, told to end by its pool: not the listener's owner
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        process.signalled(loop, begun.set)

    for number in SIGNALS:
        signal.signal(number, leave)
        # For its wakeup descriptor: a signal that comes just before the loop sleeps must wake it.
        loop.add_signal_handler(number, lambda: None)
        signal.signal(number, leave)
    _logger.info("serving on %s, release %s", settings.listen, settings.release or "unnamed")

    await begun.wait()
    await process.finish()


def limit_exit(seconds: float) -> None:
    """End this process, whatever it does, in so many seconds; with status 0."""

    def leave() -> None:
        _logger.error("still here %.1f s after the drain: leaving", seconds)
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def watch(server: HTTPServer, drain: Drain, own: Application) -> None:
    """Tell `drain` of every connection and request of `server`; `own` answers the drain's paths.

    The methods of this one object are replaced, so that a subclass's own are kept. Done once: who
    is first keeps the server.
    """
    if server in _watched:
        return
    _watched.add(server)
    handle_stream, start_request = server.handle_stream, server.start_request
    on_close = server.on_close
    latest: dict[object, HTTPConnection] = {}

    def end_request(server_conn: object) -> None:
        connection = latest.pop(server_conn, None)
        if connection is not None:
            drain.abandon_request(connection)

    def stream_handled(stream: IOStream, address: Any) -> Any:
        drain.connections.add(stream)
        return handle_stream(stream, address)

    def request_started(server_conn: object, connection: HTTPConnection) -> HTTPMessageDelegate:
        end_request(server_conn)
        latest[server_conn] = connection

        def start(start_line: RequestStartLine, headers: HTTPHeaders) -> HTTPMessageDelegate:
            if start_line.path.startswith(_OWN):
                return own.start_request(server_conn, connection)
            drain.begin_request(connection, start_line, headers)
            return start_request(server_conn, connection)

        return _Started(start)

    def closed(server_conn: object) -> None:
        end_request(server_conn)
        on_close(server_conn)

    server.handle_stream = stream_handled  # type: ignore[method-assign]
    server.start_request = request_started  # type: ignore[assignment,method-assign]
    server.on_close = closed  # type: ignore[method-assign]


_watched: WeakSet[HTTPServer] = WeakSet()


def is_watched(server: HTTPServer) -> bool:
    """Whether a `Process` has this server."""
    return server in _watched


class _Started(HTTPMessageDelegate):
    """Asks with the headers who is to have the request: from then on an upload is in flight too."""

    def __init__(
        self, start: Callable[[RequestStartLine, HTTPHeaders], HTTPMessageDelegate]
    ) -> None:
        self._start = start

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        inner = self._start(start_line, headers)
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]
        return inner.headers_received(start_line, headers)


def _own_paths(drain: Drain, settings: Settings, ready: Ready | None) -> Application:
    started = time.monotonic()

    class Ready(RequestHandler):
        async def get(self) -> None:
            answer = True if ready is None else ready()
            is_ready = await answer if inspect.isawaitable(answer) else answer
            if drain.begun.is_set() or not is_ready:
                self.set_status(503)
            self.write({"ready": self.get_status() == 200, "pid": os.getpid()})

    class Status(RequestHandler):
        def get(self) -> None:
            self.write(
                {
                    "port": settings.port,
                    "pid": os.getpid(),
                    "release": settings.release,
                    "state": "draining" if drain.begun.is_set() else "serving",
                    "in_flight": drain.in_flight,
                    "websockets": drain.websockets,
                    "connections": drain.open_connections,
                    "answered": drain.answered,
                    "uptime": round(time.monotonic() - started, 3),
                    "max_wait": settings.max_wait,
                }
            )

    class Metrics(RequestHandler):
        def get(self) -> None:
            # Prometheus would keep its connection, and the drain would wait for that.
            self.set_header("Connection", "close")
            self.set_header("Content-Type", metrics.CONTENT_TYPE_LATEST)
            self.finish(metrics.generate_latest())

    handlers = [(_OWN + "ready", Ready), (_OWN + "status", Status)]
    if metrics is not None:
        handlers.append((_OWN + "metrics", Metrics))
    return Application(handlers, log_function=lambda handler: None)
