"""The drain as a state machine: what is open, what is in flight, and when nothing is left."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

from tornado.concurrent import Future
from tornado.gen import convert_yielded
from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.iostream import IOStream
from tornado.web import OutputTransform, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_drain.logs import HEADER, set_headers

_logger = logging.getLogger("tornado_drain")
_T = TypeVar("_T")

# Seconds between two looks at what is left.
_TICK = 0.02

# WebSockets told to go away per second; more only where half of MAX_WAIT would not do for all.
_CLOSE_RATE = 100


@dataclass(eq=False, slots=True)
class Request:
    """A request from its headers to the end of its handler, `since` by the monotonic clock."""

    start_line: RequestStartLine
    headers: HTTPHeaders
    handler: RequestHandler | None = None
    since: float = field(default_factory=time.monotonic)
    message: Future[Any] | None = None  # the WebSocket message being handled

    def is_websocket(self) -> bool:
        """Whether the WebSocket handshake is done: from then on it is told, not waited for."""
        return isinstance(self.handler, WebSocketHandler) and self.handler.get_status() == 101

    def watch_messages(self, handler: WebSocketHandler) -> None:
        """Know of a message that `handler` is still working on; Tornado hands on one at a time."""
        on_message = handler.on_message

        def watched(message: str | bytes) -> Future[Any] | None:
            answer = on_message(message)
            self.message = None if answer is None else convert_yielded(answer)
            return self.message

        handler.on_message = watched  # type: ignore[method-assign]

    def go_away(self) -> None:
        """Close the WebSocket, after the answer to the message that it is working on."""
        handler = self.handler
        assert isinstance(handler, WebSocketHandler)
        if self.message is not None and not self.message.done():
            self.message.add_done_callback(lambda message: self.go_away())
        else:
            # 1001, "going away", RFC 6455 section 7.4.1: the client should connect again.
            handler.close(1001, "restarting")


class Drain:
    """What a process has to finish before it may exit."""

    def __init__(self) -> None:
        self.signalled = False
        self.begun = asyncio.Event()  # set once the loop, which a handler may block, goes on
        self.connections: WeakSet[IOStream] = WeakSet()
        self.requests: dict[HTTPConnection, Request] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.callbacks: list[Callable[[], object]] = []
        self.answered = 0
        # Called with the status and the seconds that a request took.
        self.on_answer: Callable[[int, float], None] = lambda status, seconds: None
        self._told: WeakSet[RequestHandler] = WeakSet()

    @property
    def in_flight(self) -> int:
        """How many requests have begun and not ended, WebSockets apart."""
        return len(self.requests) - self.websockets

    @property
    def websockets(self) -> int:
        """How many WebSockets are open."""
        return sum(request.is_websocket() for request in self.requests.values())

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones and WebSockets among them."""
        return sum(not stream.closed() for stream in self.connections)

    def begin_request(
        self, connection: HTTPConnection, start_line: RequestStartLine, headers: HTTPHeaders
    ) -> None:
        """Count a request whose headers have arrived on `connection`."""
        self.requests[connection] = Request(start_line, headers)

    def abandon_request(self, connection: HTTPConnection) -> None:
        """Forget a request that ended without a handler, its body never completed, say."""
        request = self.requests.get(connection)
        if request is not None and request.handler is None:
            del self.requests[connection]

    def begin_handler(self, handler: RequestHandler) -> None:
        """Keep the request in flight until `end_handler`, even if its client is gone."""
        connection = handler.request.connection
        request = self.requests.get(connection)  # type: ignore[arg-type]
        if request is None:  # one of the drain's own paths
            return
        request.handler = handler
        set_headers(request.headers)
        if isinstance(handler, WebSocketHandler):
            request.watch_messages(handler)
            # With `no_keep_alive` Tornado would end the connection once it has answered 101.
            connection._disconnect_on_finish = False  # type: ignore[union-attr]
        if self.begun.is_set():
            self._tell(handler)

    def end_handler(self, handler: RequestHandler) -> None:
        """Count the request as answered."""
        request = self.requests.pop(handler.request.connection, None)  # type: ignore[arg-type]
        if request is not None:
            self.answered += 1
            self.on_answer(handler.get_status(), time.monotonic() - request.since)

    async def wait(self, max_wait: float, deadline: float) -> None:
        """Wait until nothing is left, or cut off what is left at the deadline.

        Args:
            max_wait: MAX_WAIT, seconds; spreads the closing of WebSockets.
            deadline: when to stop waiting, by the monotonic clock.
        """
        began = time.monotonic()
        _logger.info(
            "draining: %d connections, %d requests in flight, %d WebSockets",
            self.open_connections,
            self.in_flight,
            self.websockets,
        )
        for callback in tuple(self.callbacks):
            _call(callback)
        for request in tuple(self.requests.values()):
            if request.handler is not None:
                self._tell(request.handler)
        close_rate = max(_CLOSE_RATE, self.websockets / (max_wait / 2))
        closed: set[Request] = set()
        while self.open_connections or self.requests or self.tasks:
            now = time.monotonic()
            if now >= deadline:
                self._cut(max_wait)
                return
            quota = int(1 + (now - began) * close_rate)
            for request in list(self.requests.values()):
                if len(closed) < quota and request.is_websocket() and request not in closed:
                    closed.add(request)
                    _call(request.go_away)
            await asyncio.sleep(_TICK)
        _logger.info("drained in %.2f s", time.monotonic() - began)

    def _tell(self, handler: RequestHandler) -> None:
        hook = getattr(handler, "on_drain", None)
        if hook is not None and handler not in self._told:
            self._told.add(handler)
            _call(hook)

    def _cut(self, max_wait: float) -> None:
        now = time.monotonic()
        for request in self.requests.values():
            kind = "WebSocket" if request.is_websocket() else "request"
            _logger.error(
                "cut off at MAX_WAIT (%g s): %s %s %s, %.1f s old, id %s",
                max_wait,
                kind,
                request.start_line.method,
                request.start_line.path,
                now - request.since,
                request.headers.get(HEADER) or "-",
            )
        for task in self.tasks:
            _logger.error("cut off at MAX_WAIT (%g s): task %s", max_wait, task.get_name())
            task.cancel()
        idle = self.open_connections - len(self.requests)
        if idle > 0:
            _logger.warning("closed at MAX_WAIT (%g s): %d idle connections", max_wait, idle)
        for stream in list(self.connections):
            stream.close()


@functools.cache
def instrument() -> None:
    """Make every `RequestHandler` and every response of this interpreter known to the drain, once.

    `_execute` is private, but it is the one place that brackets a handler's whole life (Tornado 6.2
    to 6.6): a connection's end does not tell, for a handler may outlive its client. And
    `HTTP1ConnectionParameters.no_keep_alive` counts only for requests whose headers are read later.
    """
    execute, write_headers = RequestHandler._execute, HTTP1Connection.write_headers

    @functools.wraps(execute)
    async def counted(
        self: RequestHandler, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        drain = _current
        drain.begin_handler(self)
        try:
            await execute(self, transforms, *args, **kwargs)
        finally:
            drain.end_handler(self)

    @functools.wraps(write_headers)
    def marked(
        self: HTTP1Connection,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Future[None]:
        if _current.signalled and isinstance(start_line, ResponseStartLine):
            _mark(self, start_line, headers)
        return write_headers(self, start_line, headers, chunk)

    RequestHandler._execute = counted  # type: ignore[method-assign]
    HTTP1Connection.write_headers = marked  # type: ignore[method-assign]


def _mark(connection: HTTP1Connection, start_line: ResponseStartLine, headers: HTTPHeaders) -> None:
    """Tell the client not to use the connection again, unless it becomes a WebSocket."""
    if start_line.code == 101:
        return
    headers["Connection"] = "close"
    asked = connection._request_headers
    if asked is not None and asked.get("Connection", "").lower() == "keep-alive":
        # Tornado would answer what an HTTP/1.0 client asked for, "Keep-Alive", and then close.
        del asked["Connection"]


_current = Drain()


def current(*, new: bool = False) -> Drain:
    """Return this process's drain; with `new`, one that has not begun."""
    global _current
    if new and _current.begun.is_set():
        _current = Drain()
    return _current


def draining() -> bool:
    """Return whether this process has been told to leave."""
    return _current.signalled


async def wait_draining() -> None:
    """Return when this process is told to leave: for long polls and streams to wait on."""
    await _current.begun.wait()


@contextlib.contextmanager
def on_drain(callback: Callable[[], object]) -> Iterator[None]:
    """Within this context, call `callback` when the drain begins, or at once if it has begun.

    A handler may also define a method ``on_drain(self)``; a WebSocket's is called before its close
    1001. An exception in either is logged.
    """
    drain = _current
    if drain.begun.is_set():
        _call(callback)
        yield
        return
    drain.callbacks.append(callback)
    try:
        yield
    finally:
        drain.callbacks.remove(callback)


def background(coroutine: Coroutine[Any, Any, _T], *, name: str | None = None) -> asyncio.Task[_T]:
    """Run `coroutine` as a task that the drain waits for, up to MAX_WAIT; then it is cancelled.

    Args:
        coroutine: what to run.
        name: the task's name in the log.

    Raises:
        RuntimeError: no event loop is running.
    """
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _current.tasks.add(task)
    task.add_done_callback(_current.tasks.discard)
    return task


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception:
        _logger.exception("drain hook %r failed", callback)
