"""The drain: a Tornado process leaves on SIGTERM without losing a request.

    import asyncio, tornado_drain
    asyncio.run(tornado_drain.serve(make_app()))

`serve` listens where ``TORNADO_DRAIN_LISTEN`` says and returns once the drain is over. Everything
else here is for handlers and tasks that want to know of the drain while it lasts.
"""

from tornado_drain.drain import background, draining, on_drain, wait_draining
from tornado_drain.logs import add_request_id, basic_config, request_id
from tornado_drain.server import serve
from tornado_drain.settings import Settings

__all__ = [
    "Settings",
    "add_request_id",
    "background",
    "basic_config",
    "draining",
    "on_drain",
    "request_id",
    "serve",
    "wait_draining",
]
