"""``python -m demo_app``: one process, where the environment says."""

import asyncio
import logging
import os
import sys
import time

import tornado_drain

from demo_app import processes
from demo_app.handlers import make_app


def main() -> None:
    """Serve until told to leave; ``DEMO_BREAK`` makes a release that should be reverted."""
    tornado_drain.basic_config()
    broken = os.environ.get("DEMO_BREAK", "")
    if broken == "exit":
        sys.exit("DEMO_BREAK=exit: this release does not start")
    asyncio.run(serve(broken))


async def serve(broken: str) -> None:
    """Serve, and misbehave as `broken` says: ``unready`` or ``dies``."""
    if broken == "dies":
        asyncio.get_running_loop().call_later(1, die)
    began = time.monotonic()
    limit = float(os.environ.get("DEMO_START_SECONDS", "0"))

    def ready() -> bool:
        return broken != "unready" and time.monotonic() - began >= limit

    with processes.registered():
        await tornado_drain.serve(make_app(), ready=ready)


def die() -> None:
    """End at once, as a crash does."""
    logging.critical("DEMO_BREAK=dies: this release ends once it serves")
    os._exit(1)


if __name__ == "__main__":
    main()
