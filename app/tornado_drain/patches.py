"""All that is replaced in Tornado, and all of its private parts that the drain relies on.

Private, in each version from 6.2, the oldest that is supported, to 6.6 (tests/drain runs both):

- ``RequestHandler._execute``: the one place that brackets a handler's whole life. A connection's
  end does not tell, for a handler may outlive its client.
- ``HTTP1Connection._request_headers``: what the client asked for, while it is answered.
- ``HTTP1Connection._disconnect_on_finish``: whether the connection ends with the answer.
- ``HTTPServer.conn_params`` (``HTTP1ConnectionParameters``): ``no_keep_alive``, which counts only
  for requests whose headers are read later, and ``header_timeout``, the timer of idle connections.
- ``TCPServer._handle_connection``: what Tornado does with an accepted socket.

Replaced, with what is public of it:

- for all: ``RequestHandler._execute``, ``HTTP1Connection.write_headers``; behind the wrapper also
  ``TCPServer.add_sockets`` and ``tornado.process.fork_processes``;
- on one object: a server's ``handle_stream``, ``start_request`` and ``on_close``, a WebSocket's
  ``on_message``.
"""

import functools
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from weakref import WeakSet

import tornado.process
from tornado.concurrent import Future
from tornado.gen import convert_yielded
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.web import Application, OutputTransform, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_drain.drain import Drain, Request, State, current

OLDEST = (6, 2)

_watched: WeakSet[HTTPServer] = WeakSet()


# Every handler and every response


@functools.cache
def watch_handlers() -> None:
    """Make every handler and every response of this interpreter known to the drain, once."""
    execute, write_headers = RequestHandler._execute, HTTP1Connection.write_headers

    @functools.wraps(execute)
    async def counted(
        self: RequestHandler, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        drain = current()
        connection: Any = self.request.connection
        request = drain.begin_handler(connection, self)
        if request is not None and isinstance(self, WebSocketHandler):
            _watch_messages(self, request)
            # With `no_keep_alive` Tornado would end the connection once it has answered 101.
            connection._disconnect_on_finish = False
        try:
            await execute(self, transforms, *args, **kwargs)
        finally:
            drain.end_handler(connection, self)

    @functools.wraps(write_headers)
    def marked(
        self: HTTP1Connection,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Future[None]:
        if current().state >= State.SIGNALLED and isinstance(start_line, ResponseStartLine):
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


def _watch_messages(handler: WebSocketHandler, request: Request) -> None:
    """Know of a message that `handler` is still working on; Tornado hands on one at a time."""
    on_message = handler.on_message

    def watched(message: str | bytes) -> Future[Any] | None:
        answer = on_message(message)
        request.message = None if answer is None else convert_yielded(answer)
        return request.message

    handler.on_message = watched  # type: ignore[method-assign]


# A server


def watch_server(server: HTTPServer, drain: Drain, prefix: str, own: Application) -> None:
    """Tell `drain` of every connection and request of a server; its idle connections stay open.

    The methods of this one object are replaced, so that a subclass's own are kept. Done once: who
    is first keeps the server.

    Args:
        server: which one.
        drain: the process's.
        prefix: of the paths that `own` answers ahead of the app, and that are not counted.
        own: the application that does.
    """
    if server in _watched:
        return
    _watched.add(server)
    # Idle connections are nginx's to close: it may be about to use one. Tornado's timer for them
    # (HTTPServer's `idle_connection_timeout`) also takes a twelfth of a short request.
    server.conn_params.header_timeout = None
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
            if start_line.path.startswith(prefix):
                return own.start_request(server_conn, connection)
            drain.begin_request(connection, start_line, headers)
            return start_request(server_conn, connection)

        return _StartsWithHeaders(start)

    def closed(server_conn: object) -> None:
        end_request(server_conn)
        on_close(server_conn)

    server.handle_stream = stream_handled  # type: ignore[method-assign]
    server.start_request = request_started  # type: ignore[assignment,method-assign]
    server.on_close = closed  # type: ignore[method-assign]


def is_watched(server: HTTPServer) -> bool:
    """Whether a drain has this server."""
    return server in _watched


def handle_connection(server: HTTPServer) -> Callable[[socket.socket, Any], None]:
    """What takes an accepted socket, and its peer's address, for a server."""
    return server._handle_connection


def limit_connections(server: HTTPServer) -> None:
    """Let each of a server's connections end with the answer to one more request."""
    server.conn_params.no_keep_alive = True


class _StartsWithHeaders(HTTPMessageDelegate):
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


# Behind the wrapper


def find_servers(
    found: Callable[[HTTPServer, list[socket.socket]], list[socket.socket]],
    forks: Callable[[], object],
) -> None:
    """Learn of every HTTP server that the program starts, and of Tornado's own forks.

    Args:
        found: called with a server and its sockets before it serves; returns those to serve on.
        forks: called before `tornado.process.fork_processes` forks.
    """
    add_sockets, fork_processes = TCPServer.add_sockets, tornado.process.fork_processes

    def adding(server: TCPServer, sockets: Iterable[socket.socket]) -> None:
        listening = list(sockets)
        if isinstance(server, HTTPServer) and listening:
            listening = found(server, listening)
        add_sockets(server, listening)

    @functools.wraps(fork_processes)
    def forking(*arguments: Any, **options: Any) -> int:
        forks()
        return fork_processes(*arguments, **options)

    TCPServer.add_sockets = adding  # type: ignore[assignment,method-assign]
    tornado.process.fork_processes = forking
