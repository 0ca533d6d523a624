"""The drain as a state machine: what is open, what is in flight, and when nothing is left."""

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

from tornado.concurrent import Future
from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine
from tornado.iostream import IOStream
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_drain.logs import HEADER, set_headers

_logger = logging.getLogger("tornado_drain")
_T = TypeVar("_T")

# WebSockets told to go away per second; more only where half of MAX_WAIT would not do for all.
_CLOSE_RATE = 100


class State(enum.IntEnum):
    """How far the process is; it only goes on, and CUT may be left out."""

    SERVING = 0
    SIGNALLED = 1  # new connections are held off; the loop, which may be blocked, does not know yet
    DRAINING = 2  # what has begun is finished
    CUT = 3  # MAX_WAIT is over: what is left is closed
    DONE = 4


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
        self.state = State.SERVING
        self.signalled_at = 0.0  # by the monotonic clock
        self.draining = asyncio.Event()
        self.exit_is_limited = False
        self.connections: WeakSet[IOStream] = WeakSet()
        self.requests: dict[HTTPConnection, Request] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.callbacks: list[Callable[[], object]] = []
        self.answered = 0
        # Called with the status and the seconds that a request took.
        self.on_answer: Callable[[int, float], None] = lambda status, seconds: None
        self._told: WeakSet[RequestHandler] = WeakSet()
        self._closed: set[Request] = set()

    def enter(self, state: State) -> None:
        """Go on to a later state; DRAINING within the loop only."""
        assert state > self.state
        self.state = state
        if state is State.SIGNALLED:
            self.signalled_at = time.monotonic()
        elif state is State.DRAINING:
            self.draining.set()

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

    def begin_handler(self, connection: HTTPConnection, handler: RequestHandler) -> Request | None:
        """Keep the request in flight until `end_handler`, even if its client is gone.

        Returns:
            The request; None for one of the process's own paths.
        """
        request = self.requests.get(connection)
        if request is not None:
            request.handler = handler
            set_headers(request.headers)
            if self.state >= State.DRAINING:
                self._tell(handler)
        return request

    def end_handler(self, connection: HTTPConnection, handler: RequestHandler) -> None:
        """Count the request as answered."""
        request = self.requests.pop(connection, None)
        if request is not None:
            self.answered += 1
            self.on_answer(handler.get_status(), time.monotonic() - request.since)

    def is_over(self) -> bool:
        """Whether nothing is left to finish."""
        return not (self.open_connections or self.requests or self.tasks)

    def tell_all(self) -> None:
        """Tell the app that the drain has begun: callbacks, and handlers with a hook."""
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

    def close_rate(self, max_wait: float) -> float:
        """How many WebSockets to close per second, so that half of MAX_WAIT does for all."""
        return max(_CLOSE_RATE, self.websockets / (max_wait / 2))

    def close_websockets(self, count: int) -> None:
        """Close WebSockets, until so many have been."""
        for request in list(self.requests.values()):
            if len(self._closed) < count and request.is_websocket() and request not in self._closed:
                self._closed.add(request)
                _call(request.go_away)

    def cut(self, max_wait: float) -> None:
        """Close what is left, and say what it was."""
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

    def _tell(self, handler: RequestHandler) -> None:
        hook = getattr(handler, "on_drain", None)
        if hook is not None and handler not in self._told:
            self._told.add(handler)
            _call(hook)


_current = Drain()


def current(*, new: bool = False) -> Drain:
    """Return this process's drain; with `new`, one that has not begun."""
    global _current
    if new and _current.state >= State.DRAINING:
        _current = Drain()
    return _current


def draining() -> bool:
    """Return whether this process has been told to leave."""
    return _current.state >= State.SIGNALLED


async def wait_draining() -> None:
    """Return when this process is told to leave: for long polls and streams to wait on."""
    await _current.draining.wait()


@contextlib.contextmanager
def on_drain(callback: Callable[[], object]) -> Iterator[None]:
    """Within this context, call `callback` when the drain begins, or at once if it has begun.

    A handler may also define a method ``on_drain(self)``; a WebSocket's is called before its close
    1001. An exception in either is logged.
    """
    drain = _current
    if drain.state >= State.DRAINING:
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
