"""The application that tests of the drain run: one path for each thing that can be in flight."""

import asyncio
import atexit
import logging
import multiprocessing
import os
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import tornado_drain
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

IsReady = Callable[[], bool | Awaitable[bool]]


def say(text: str) -> None:
    """Write to the log that the tests read."""
    logging.getLogger("app").info("%s", text)


class Slow(RequestHandler):
    """Answers after `seconds` with the size of the body."""

    async def get(self) -> None:
        await asyncio.sleep(float(self.get_query_argument("seconds", "0")))
        self.write(f"slow {len(self.request.body)}")
        say("slow done")

    head = post = get


@stream_request_body
class Upload(RequestHandler):
    """Takes a body as it comes."""

    size = 0

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)

    def post(self) -> None:
        self.write(f"upload {self.size}")


class Block(RequestHandler):
    """Blocks the loop, after it has been woken `wakeups` times."""

    def get(self) -> None:
        for _ in range(int(self.get_query_argument("wakeups", "0"))):
            asyncio.get_running_loop().call_soon_threadsafe(say, "woken")
        say("blocking")
        time.sleep(float(self.get_query_argument("seconds")))
        self.write("blocked")


class Stream(RequestHandler):
    """Answers in chunks."""

    async def get(self) -> None:
        for number in range(5):
            self.write(f"{number} ")
            await self.flush()
            await asyncio.sleep(0.1)
        self.finish("end")


class Events(RequestHandler):
    """Sends events until its hook is called."""

    def initialize(self) -> None:
        self.leaving = asyncio.Event()

    def on_drain(self) -> None:
        self.leaving.set()

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.write("data: first\n\n")
        await self.flush()
        await self.leaving.wait()
        self.write("data: last\n\n")


class Poll(RequestHandler):
    """Waits for the drain."""

    async def get(self) -> None:
        await tornado_drain.wait_draining()
        self.write(f"draining {tornado_drain.draining()}")


class Context(RequestHandler):
    """Waits for the drain in a context, beside a hook that fails."""

    async def get(self) -> None:
        calls: list[str] = []
        leaving = asyncio.Event()
        with (
            tornado_drain.on_drain(lambda: 1 / 0),
            tornado_drain.on_drain(lambda: calls.append("outer")),
        ):
            with tornado_drain.on_drain(lambda: calls.append("left already")):
                pass
            with tornado_drain.on_drain(leaving.set):
                await leaving.wait()
            with tornado_drain.on_drain(lambda: calls.append("late")):
                await asyncio.sleep(0.1)
        self.write(" ".join(calls))


class Background(RequestHandler):
    """Starts a task that outlives the answer."""

    def get(self) -> None:
        seconds = float(self.get_query_argument("seconds"))
        tornado_drain.background(self.work(seconds), name=f"work-{seconds:g}")

    async def work(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        say("work done")


class Socket(WebSocketHandler):
    """Echoes, after as many seconds as the message says; ``X-Hook`` makes it take its leave."""

    def on_drain(self) -> None:
        if "X-Hook" in self.request.headers:
            self.write_message("leaving")

    async def on_message(self, message: str | bytes) -> None:
        say("message")
        await asyncio.sleep(float(message))
        await self.write_message(message)


class Failing(RequestHandler):
    """Raises, after a while."""

    async def get(self) -> None:
        await asyncio.sleep(0.3)
        raise RuntimeError("as asked")


class Pool(RequestHandler):
    """Waits in a child process."""

    async def get(self) -> None:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            seconds = float(self.get_query_argument("seconds"))
            await asyncio.get_running_loop().run_in_executor(pool, time.sleep, seconds)
        self.write("pooled")


class Terminated(RequestHandler):
    """Forks a child and terminates it, as `multiprocessing.Pool` does with its workers."""

    def get(self) -> None:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,))
        child.start()
        time.sleep(0.1)
        child.terminate()
        child.join(2)
        self.write(f"{child.exitcode}")
        child.kill()


class Jobs(RequestHandler):
    """Accepts a job for an executor, for which the interpreter waits when it ends."""

    executor = ThreadPoolExecutor()

    def post(self) -> None:
        self.executor.submit(self.work, float(self.get_query_argument("seconds")))
        self.set_status(202)

    def work(self, seconds: float) -> None:
        time.sleep(seconds)
        say("job done")


class Thread(RequestHandler):
    """Leaves a thread in the default executor that does not end, and waits for it or not."""

    async def get(self) -> None:
        working = asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
        if self.get_query_argument("wait", ""):
            await working


def make_app() -> Application:
    """The application."""
    return Application(
        [
            ("/", Slow),
            ("/upload", Upload),
            ("/block", Block),
            ("/stream", Stream),
            ("/events", Events),
            ("/poll", Poll),
            ("/context", Context),
            ("/background", Background),
            ("/ws", Socket),
            ("/failing", Failing),
            ("/pool", Pool),
            ("/terminated", Terminated),
            ("/jobs", Jobs),
            ("/thread", Thread),
        ]
    )


async def make_app_later() -> Application:
    """The application, of a coroutine function."""
    await asyncio.sleep(0)
    return make_app()


def yes() -> bool:
    """Ready."""
    return True


def no() -> bool:
    """Not ready."""
    return False


async def later() -> bool:
    """Not ready, which takes a moment to find out."""
    await asyncio.sleep(0.01)
    return False


def fails() -> Awaitable[bool]:
    """Can't tell."""
    raise RuntimeError("no database")


app = make_app()


def main() -> None:
    """Serve as the environment says: ``READY``, ``TLS``, and ``AFTER`` for what follows."""
    logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
    readies: dict[str, IsReady] = {"yes": yes, "no": no, "later": later, "fails": fails}
    ready = readies.get(os.environ.get("READY", ""))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if "TLS" in os.environ else None
    serve = tornado_drain.serve(app, ready=ready, ssl_options=tls, idle_connection_timeout=0.1)
    asyncio.run(serve)
    say("after serve")
    after = os.environ.get("AFTER", "")
    if after == "code":
        time.sleep(60)
    if after == "thread":
        threading.Thread(target=time.sleep, args=(60,)).start()
    if after == "atexit":
        atexit.register(time.sleep, 60)


if __name__ == "__main__":
    main()
