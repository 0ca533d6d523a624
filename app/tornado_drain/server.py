"""`serve`: an application from its first connection to the end of its drain."""

import asyncio
import logging
import os
import signal
from types import FrameType
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.web import Application

from tornado_drain.health import IsReady
from tornado_drain.listener import bind
from tornado_drain.settings import Settings
from tornado_drain.shutdown import SIGNALS, Shutdown

_logger = logging.getLogger("tornado_drain")


async def serve(
    app: Application | HTTPServerConnectionDelegate,
    listen: str | None = None,
    *,
    max_wait: float | None = None,
    ready: IsReady | None = None,
    **server_options: Any,
) -> None:
    """Serve `app` until SIGTERM or SIGINT, then drain and return.

    ``/-/ready`` answers 200 while the process serves, 503 otherwise; ``/-/status`` answers JSON;
    ``/-/metrics`` is for Prometheus, where `prometheus_client` is installed. A second signal ends
    the process at once. What the app does after `serve` has returned may take until the exit limit
    (``TORNADO_DRAIN_EXIT_LIMIT``), by default what is left of MAX_WAIT and 3 seconds; then the
    process ends, with status 0.

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
    shutdown = Shutdown(settings, ready)
    server = HTTPServer(app, **{"xheaders": True} | server_options)
    sockets = bind(settings.listen)
    shutdown.add(server, sockets)
    server.add_sockets(sockets)
    loop = asyncio.get_running_loop()
    told_to_leave = asyncio.Event()
    pid = os.getpid()

    def leave(number: int, frame: FrameType | None) -> None:
        # Not loop.add_signal_handler: this runs at once even while a handler blocks the loop, so
        # that new connections go elsewhere and MAX_WAIT counts from the signal.
        if os.getpid() != pid or not loop.is_running():
            # A forked worker, told to end by its pool: not the listener's owner. Or the app has
            # stopped the loop, and nothing can drain.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        shutdown.on_signal(loop, told_to_leave.set)

    for each in SIGNALS:
        # For its wakeup descriptor: a signal that comes just before the loop sleeps must wake it.
        loop.add_signal_handler(each, shutdown.proceed)
        signal.signal(each, leave)
    _logger.info("serving on %s, release %s", settings.listen, settings.release or "unnamed")

    await told_to_leave.wait()
    await shutdown.run()
