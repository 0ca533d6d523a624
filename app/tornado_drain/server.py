"""`serve`: an application from its first connection to the end of its drain."""

import asyncio
import inspect
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

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
from tornado.routing import AnyMatches, PathMatches, Rule, RuleRouter
from tornado.web import Application, RequestHandler

from tornado_drain.drain import Drain, current, instrument
from tornado_drain.listener import Listener

_logger = logging.getLogger("tornado_drain")

# The drain's own paths; nginx does not pass them through from outside.
_OWN = "/-/"

# Seconds past MAX_WAIT by which the process has left, whatever the app does after its drain: an
# executor's thread can hold the interpreter for ever. Below the ladder's next rung, MAX_WAIT + 5.
_EXIT_LIMIT = 3.0


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


async def serve(
    app: Application | HTTPServerConnectionDelegate,
    listen: str | None = None,
    *,
    max_wait: float | None = None,
    ready: Callable[[], bool | Awaitable[bool]] | None = None,
    **server_options: Any,
) -> None:
    """Serve `app` until SIGTERM or SIGINT, then drain and return.

    ``/-/ready`` answers 200 while the process serves, 503 otherwise; ``/-/status`` answers JSON.
    A second signal ends the process at once. What the app does after `serve` has returned may take
    what is left of MAX_WAIT and 3 seconds; then the process ends, with status 0.

    Args:
        app: the application.
        listen: ``host:port`` or ``unix:/path``; by default ``TORNADO_DRAIN_LISTEN``.
        max_wait: the longest the drain may take, seconds; by default ``TORNADO_DRAIN_MAX_WAIT``.
        ready: whether the app itself is ready, asked at each ``/-/ready``; if it raises, 500.
        server_options: for `tornado.httpserver.HTTPServer`. ``xheaders`` is on by default: only
            the kit's nginx, which overwrites these headers, can reach the process.

    Raises:
        ValueError: a setting is not of its form, or this is not the main thread.
        OSError: the address can't be bound.
    """
    settings = Settings.from_environment(listen, max_wait)
    drain = current(new=True)
    instrument()
    router = _with_own_paths(app, drain, settings, ready)
    server = _Server(router, **{"xheaders": True} | server_options)
    server.drain = drain
    listener = Listener(settings.listen, server._handle_connection)
    deadline = 0.0
    loop = asyncio.get_running_loop()
    pid = os.getpid()

    def leave(signum: int, frame: FrameType | None) -> None:
        # Not loop.add_signal_handler: this runs at once even while a handler blocks the loop, so
        # that new connections go elsewhere and MAX_WAIT counts from the signal.
        nonlocal deadline
        if os.getpid() != pid:  # a forked worker, told to end by its pool: not the listener's owner
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        deadline = time.monotonic() + settings.max_wait
        drain.signalled = True
        listener.refuse_new()
        loop.call_soon_threadsafe(drain.begun.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
        # For its wakeup descriptor: a signal that comes just before the loop sleeps must wake it.
        loop.add_signal_handler(number, lambda: None)
        signal.signal(number, leave)
    _logger.info("serving on %s, release %s", settings.listen, settings.release or "unnamed")

    await drain.begun.wait()
    listener.close()
    server.conn_params.no_keep_alive = True
    await drain.wait(settings.max_wait, deadline)
    _limit_exit(max(deadline - time.monotonic(), 0.0) + _EXIT_LIMIT)


def _limit_exit(seconds: float) -> None:
    def leave() -> None:
        _logger.error("still here %.1f s after the drain: leaving", seconds)
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


class _Server(HTTPServer):
    """An HTTP server that tells the drain of every connection and request."""

    drain: Drain

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        self.drain.connections.add(stream)
        super().handle_stream(stream, address)

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        self._end_request(server_conn)
        self._latest[server_conn] = request_conn
        return _Counted(super().start_request(server_conn, request_conn), request_conn, self.drain)

    def on_close(self, server_conn: object) -> None:
        self._end_request(server_conn)
        super().on_close(server_conn)

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._latest: dict[object, HTTPConnection] = {}

    def _end_request(self, server_conn: object) -> None:
        request_conn = self._latest.pop(server_conn, None)
        if request_conn is not None:
            self.drain.abandon_request(request_conn)


class _Counted(HTTPMessageDelegate):
    """Passes a request on and counts it from its headers, so that an upload is in flight too."""

    def __init__(
        self, inner: HTTPMessageDelegate, connection: HTTPConnection, drain: Drain
    ) -> None:
        self._inner = inner
        self._connection = connection
        self._drain = drain
        self.data_received = inner.data_received  # type: ignore[method-assign]
        self.finish = inner.finish  # type: ignore[method-assign]
        self.on_connection_close = inner.on_connection_close  # type: ignore[method-assign]

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        if not start_line.path.startswith(_OWN):
            self._drain.begin_request(self._connection, f"{start_line.method} {start_line.path}")
        return self._inner.headers_received(start_line, headers)


def _with_own_paths(
    app: HTTPServerConnectionDelegate,
    drain: Drain,
    settings: Settings,
    ready: Callable[[], bool | Awaitable[bool]] | None,
) -> RuleRouter:
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

    own = Application(
        [(_OWN + "ready", Ready), (_OWN + "status", Status)], log_function=lambda handler: None
    )
    return RuleRouter([Rule(PathMatches(_OWN + ".*"), own), Rule(AnyMatches(), app)])
