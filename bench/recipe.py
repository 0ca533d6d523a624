"""The known recipe: on SIGTERM stop listening, finish what is in flight, leave.

python -m bench.recipe PORT, or fd:NUMBER of a socket that listens already
"""

import asyncio
import os
import signal
import socket
import sys
import time

from demo_app.handlers import Handler, make_app
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

MAX_WAIT = 30.0

in_flight = 0


def begin(handler: Handler) -> None:
    """Count a request."""
    global in_flight
    in_flight += 1


def end(handler: Handler) -> None:
    """Count it no longer."""
    global in_flight
    in_flight -= 1


async def main(where: str) -> None:
    """Serve until SIGTERM."""
    Handler.prepare = begin  # type: ignore[method-assign, assignment]
    Handler.on_finish = end  # type: ignore[method-assign, assignment]
    server = HTTPServer(make_app(), xheaders=True)
    if where.startswith("fd:"):
        server.add_socket(socket.socket(fileno=int(where.removeprefix("fd:"))))
    else:
        os.environ["TORNADO_DRAIN_PORT"] = where
        server.add_sockets(bind_sockets(int(where), "127.0.0.1", backlog=1024))
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    await stopping.wait()
    server.stop()
    deadline = time.monotonic() + MAX_WAIT
    while in_flight and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
