"""The application that tests of the conductor run: it does on request what real ones do badly."""

import asyncio
import os
import signal
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


class Held(RequestHandler):
    """Answers once there is a file of that name."""

    async def get(self) -> None:
        file = Path(self.get_query_argument("file"))
        while not file.exists():  # noqa: ASYNC240
            await asyncio.sleep(0.01)


class Linger(RequestHandler):
    """Answers a while after the drain has begun."""

    async def get(self) -> None:
        await tornado_drain.wait_draining()
        await asyncio.sleep(float(self.get_query_argument("seconds")))


class Block(RequestHandler):
    """Blocks the loop, and tells by a file that it does."""

    def get(self) -> None:
        Path("blocked").touch()
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


def deaf() -> bool:
    """Hear no SIGTERM from the first question on."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return True


READY = {"unready": lambda: False, "deaf": deaf}


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
        time.sleep(2.5)  # far more than a start takes by itself
    handlers = [
        ("/", Slow),
        ("/held", Held),
        ("/linger", Linger),
        ("/block", Block),
        ("/pool", Pool),
    ]
    asyncio.run(tornado_drain.serve(Application(handlers), ready=READY.get(mode)))


if __name__ == "__main__":
    main()
