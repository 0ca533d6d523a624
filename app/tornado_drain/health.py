"""The process's own paths, ``/-/``, which nginx does not pass through from outside."""

import inspect
import os
import time
from collections.abc import Awaitable, Callable

from tornado.web import Application, RequestHandler

from tornado_drain.drain import Drain, State
from tornado_drain.settings import Settings

try:
    from tornado_drain import metrics
except ImportError:  # of prometheus_client, which is optional
    metrics = None  # type: ignore[assignment]

PREFIX = "/-/"

# The app's own say in whether it is ready.
IsReady = Callable[[], bool | Awaitable[bool]]


def own_paths(drain: Drain, settings: Settings, is_ready: IsReady | None) -> Application:
    """What answers ``/-/ready``, ``/-/status`` and, with `prometheus_client`, ``/-/metrics``.

    Args:
        drain: the process's.
        settings: the process's.
        is_ready: whether the app itself is ready, asked at each ``/-/ready``; if it raises, 500.
    """
    started = time.monotonic()

    class Ready(RequestHandler):
        async def get(self) -> None:
            answer = True if is_ready is None else is_ready()
            ready = await answer if inspect.isawaitable(answer) else answer
            if drain.state >= State.DRAINING or not ready:
                self.set_status(503)
            self.write({"ready": self.get_status() == 200, "pid": os.getpid()})

    class Status(RequestHandler):
        def get(self) -> None:
            self.write(
                {
                    "port": settings.port,
                    "pid": os.getpid(),
                    "release": settings.release,
                    "state": "draining" if drain.state >= State.DRAINING else "serving",
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

    handlers = [(PREFIX + "ready", Ready), (PREFIX + "status", Status)]
    if metrics is not None:
        handlers.append((PREFIX + "metrics", Metrics))
        metrics.measure(drain, settings.port, settings.release)
    return Application(handlers, log_function=lambda handler: None)
