"""The application that tests of the conductor run: it does on request what real ones do badly."""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import tornado_drain
from tornado.web import Application, RequestHandler


def pool_sleep(seconds: float) -> int:
    """What the process pool does: wait, and say by whom it was done."""
    time.sleep(seconds)
    return os.getpid()


class Slow(RequestHandler):
    """Answers after a while."""

    async def get(self) -> None:
        await asyncio.sleep(float(self.get_query_argument("seconds", "0")))
        self.write(f"{os.environ['TORNADO_DRAIN_RELEASE']} {os.getpid()}")

    post = get


class Block(RequestHandler):
    """Blocks the loop."""

    def get(self) -> None:
        time.sleep(float(self.get_query_argument("seconds")))
        self.write("blocked")


class Pool(RequestHandler):
    """Answers with what a child process did."""

    executor: ProcessPoolExecutor | None = None

    async def get(self) -> None:
        Pool.executor = Pool.executor or ProcessPoolExecutor(1)
        seconds = float(self.get_query_argument("seconds"))
        loop = asyncio.get_running_loop()
        pid = await loop.run_in_executor(Pool.executor, pool_sleep, seconds)
        self.write(str(pid))


def main() -> None:
    """Serve, or misbehave as ``MODE`` says."""
    mode = os.environ.get("MODE", "")
    print("starting", mode, sys.argv[1], flush=True)
    if mode == "once" and Path("once").exists():
        sys.exit("not a second time")
    if mode == "exit":
        sys.exit("ImportError: no such thing")
    if mode == "dies":
        threading.Timer(0.5, lambda: os._exit(3)).start()
    if mode == "slow start":
        time.sleep(1.5)
    app = Application([("/", Slow), ("/block", Block), ("/pool", Pool)])
    ready = (lambda: False) if mode == "unready" else None
    asyncio.run(tornado_drain.serve(app, ready=ready))


if __name__ == "__main__":
    main()
