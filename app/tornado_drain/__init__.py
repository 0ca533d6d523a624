"""The drain: a Tornado process leaves on SIGTERM without losing a request.

    import asyncio, tornado_drain
    asyncio.run(tornado_drain.serve(make_app()))

`serve` listens where ``TORNADO_DRAIN_LISTEN`` says and returns once the drain is over. Everything
else here is for handlers and tasks that want to know of the drain while it lasts.
"""

from tornado_drain.drain import background, draining, on_drain, wait_draining
from tornado_drain.server import Settings, serve

__all__ = ["Settings", "background", "draining", "on_drain", "serve", "wait_draining"]
