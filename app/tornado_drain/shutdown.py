"""The shutdown of a process's HTTP servers, from the signal to the end: reads top to bottom."""

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.tcpserver import TCPServer

from tornado_drain.drain import State, current
from tornado_drain.health import PREFIX, IsReady, own_paths
from tornado_drain.listener import HANDSHAKE, Listener
from tornado_drain.patches import (
    handle_connection,
    limit_connections,
    watch_handlers,
    watch_server,
)
from tornado_drain.settings import Settings

_logger = logging.getLogger("tornado_drain")

# Both mean: leave.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

# Seconds between two looks at what is left.
_TICK = 0.02


class Shutdown:
    """What the process does with its HTTP servers from the signal on.

    Args:
        settings: the process's.
        is_ready: whether the app itself is ready, asked at each ``/-/ready``.
    """

    def __init__(self, settings: Settings, is_ready: IsReady | None = None) -> None:
        self.settings = settings
        self.drain = current(new=True)
        self._own = own_paths(self.drain, settings, is_ready)
        self._listening: list[tuple[HTTPServer, Listener]] = []
        self._begin: Callable[[], object] | None = None
        self._failures: list[Exception] = []  # what could not be done on the signal
        watch_handlers()

    def add(self, server: HTTPServer, sockets: list[socket.socket]) -> None:
        """Drain `server` too, which listens on `sockets` or is about to."""
        watch_server(server, self.drain, PREFIX, self._own)
        handle_soon = partial(IOLoop.current().add_callback, handle_connection(server))
        for sock in sockets:
            listener = Listener(sock, handle_soon)
            if listener.why_not:
                _logger.warning(
                    "the drain can't hold off new connections to %s, and some may be cut: %s",
                    sock.getsockname(),
                    listener.why_not,
                )
            self._listening.append((server, listener))
        if self.drain.state >= State.SIGNALLED:
            self._hold_off()

    def has(self, server: HTTPServer) -> bool:
        """Whether `server` is one of those that are drained here."""
        return any(server is each for each, _ in self._listening)

    # The signal

    def on_signal(self, loop: asyncio.AbstractEventLoop, begin: Callable[[], object]) -> None:
        """Hold off new connections, and let `loop` call `begin`, which is to await `run`.

        For a signal handler, which may come amid a line of the log or a lock: nothing here logs or
        waits, and what fails is said by `run`. `proceed` is to be the loop's own callback for the
        signal: its wakeup descriptor works whatever happens here.
        """
        if self.drain.state is not State.SERVING:  # a second signal, amid the handler of the first
            return
        self.drain.enter(State.SIGNALLED)
        self._begin = begin
        self._hold_off()
        try:
            # Queued first: a failure is of the byte that wakes the loop, or of its debug mode,
            # which logs that there was no room for the byte.
            loop.call_soon_threadsafe(self.proceed)
        except Exception as error:
            self._failures.append(error)

    def proceed(self) -> None:
        """Begin what `on_signal` was given, once; the loop calls this, once or more often."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    # The loop

    async def run(self) -> None:
        """Answer what has begun, and what the kernel has accepted, until MAX_WAIT is over."""
        drain, max_wait = self.drain, self.settings.max_wait
        began = time.monotonic()
        drain.enter(State.DRAINING)
        await self._stop_listening()
        for failure in self._failures:
            _logger.warning("not all was done on the signal: %r", failure)
        drain.tell_all()
        close_rate = drain.close_rate(max_wait)
        while not drain.is_over():
            now = time.monotonic()
            if now >= drain.signalled_at + max_wait:
                drain.enter(State.CUT)
                drain.cut(max_wait)
                break
            drain.close_websockets(int(1 + (now - began) * close_rate))
            await asyncio.sleep(_TICK)
        else:
            _logger.info("drained in %.2f s", time.monotonic() - began)
        drain.enter(State.DONE)
        self.limit_exit()

    def limit_exit(self) -> None:
        """End this process at the exit limit, whatever it does then; with status 0."""
        if self.drain.exit_is_limited:
            return
        self.drain.exit_is_limited = True
        limit = self.drain.signalled_at + self.settings.exit_limit
        seconds = max(limit - time.monotonic(), 0.0)

        def leave() -> None:
            _logger.error("still here %.1f s after the drain: leaving", seconds)
            os._exit(0)

        timer = threading.Timer(seconds, leave)
        timer.daemon = True
        timer.start()

    def _hold_off(self) -> None:
        for _, listener in self._open():
            try:
                listener.hold_off()
            except Exception as error:
                self._failures.append(error)

    async def _stop_listening(self) -> None:
        """Accept all that was not held off, and listen no more."""
        servers = {server for server, _ in self._listening}
        for server in servers:
            limit_connections(server)
        limit = self.drain.signalled_at + min(HANDSHAKE, self.settings.max_wait)
        while time.monotonic() < limit and any(each.is_expecting() for _, each in self._open()):
            await asyncio.sleep(_TICK)
        for server, listener in self._open():
            try:
                listener.accept_rest(handle_connection(server))
            except OSError as error:
                self._failures.append(error)
        for server in servers:
            TCPServer.stop(server)  # whatever the app's own subclass does

    def _open(self) -> list[tuple[HTTPServer, Listener]]:
        return [each for each in self._listening if each[1].is_open()]
