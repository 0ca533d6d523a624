"""What real apps do: quick answers, orders, long work, streams, uploads and WebSockets."""

import asyncio
import functools
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import tornado_drain
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from demo_app import processes
from demo_app.front import page

# Seconds; enough to be longer than any MAX_WAIT that one tries.
LONGEST = 600.0


@functools.cache
def identity() -> dict[str, object]:
    """Which process answers."""
    return {
        "port": int(os.environ.get("TORNADO_DRAIN_PORT", "0")),
        "pid": os.getpid(),
        "release": os.environ.get("TORNADO_DRAIN_RELEASE", ""),
    }


class Handler(RequestHandler):
    """Says of bad arguments what would be right, as JSON."""

    def write_error(self, status_code: int, **kwargs: object) -> None:
        exception = kwargs.get("exc_info")
        error = exception[1] if isinstance(exception, tuple) else None
        text = self._reason
        if isinstance(error, HTTPError) and error.log_message:
            text = error.log_message % error.args
        self.finish({"status": status_code, "error": text})

    def number(self, name: str, default: float, longest: float = LONGEST) -> float:
        """A query argument from 0 to `longest`; raises HTTPError 400."""
        text = self.get_query_argument(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= longest:
            # HTTPError takes a format: the text comes from the client.
            raise HTTPError(400, "%s: got %r; expected a number from 0 to %g", name, text, longest)
        return value


class Hello(Handler):
    """Answers at once."""

    def get(self) -> None:
        self.write({"hello": "world"} | identity())

    post = get


class Orders(Handler):
    """Takes an order, which is to happen exactly once; the journal is the proof."""

    def post(self) -> None:
        order = self.get_query_argument("id", "").strip()
        if not order or len(order) > 100:
            raise HTTPError(400, "id: got %r; expected 1 to 100 characters", order)
        who = identity()
        journal = Path(f"orders-{who['port']}-{who['pid']}.jsonl")
        with journal.open("a", encoding="utf-8") as lines:
            print(
                json.dumps(
                    {"id": order, "time": time.time(), "request_id": tornado_drain.request_id()}
                ),
                file=lines,
            )
        self.set_status(201)
        self.write({"id": order} | who)


class Slow(Handler):
    """Awaits."""

    async def get(self) -> None:
        seconds = self.number("seconds", 1)
        await asyncio.sleep(seconds)
        self.write({"slept": seconds} | identity())

    post = get


class Block(Handler):
    """Blocks the loop, as it should not be done and is."""

    def get(self) -> None:
        seconds = self.number("seconds", 1)
        time.sleep(seconds)
        self.write({"blocked": seconds} | identity())

    post = get


class Stream(Handler):
    """Answers in chunks, `chunks` of them over `seconds`, the last of which says that it is."""

    async def get(self) -> None:
        chunks = int(self.number("chunks", 10, 10_000))
        seconds = self.number("seconds", 1)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        for number in range(chunks):
            self.write(f"chunk {number} of {chunks}\n")
            await self.flush()
            await asyncio.sleep(seconds / chunks)
        self.finish("end\n")


class Events(Handler):
    """Server-sent events, one a second, until the client or the process leaves."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")
        leaving = asyncio.create_task(tornado_drain.wait_draining())
        try:
            while not leaving.done() and not self.request.connection.stream.closed():  # type: ignore[union-attr]
                self.write(f"event: tick\ndata: {json.dumps(identity())}\n\n")
                await self.flush()
                await asyncio.wait({leaving}, timeout=1)
        finally:
            leaving.cancel()
        # The browser's EventSource connects again, after this many milliseconds.
        self.finish("retry: 100\nevent: restarting\ndata: {}\n\n")


class Echo(WebSocketHandler):
    """Sends back what it gets, and who it is; the drain closes it with 1001."""

    def open(self, *args: str, **kwargs: str) -> None:
        self.write_message(identity())

    def on_message(self, message: str | bytes) -> None:
        text = message if isinstance(message, str) else message.decode(errors="replace")
        self.write_message({"echo": text} | identity())


@stream_request_body
class Upload(Handler):
    """Takes a body as it comes and answers with its size and hash."""

    def prepare(self) -> None:
        # As it is streamed, nginx's limit is the only one: Tornado's is 100 MiB.
        self.request.connection.set_max_body_size(sys.maxsize)  # type: ignore[union-attr]
        self.size = 0
        self.hash = hashlib.sha256()

    def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.hash.update(chunk)

    def post(self) -> None:
        self.write({"size": self.size, "sha256": self.hash.hexdigest()} | identity())

    put = post


class Front(Handler):
    """The page on which one can watch a roll."""

    document, policy = page()

    def get(self) -> None:
        self.set_header("Content-Security-Policy", self.policy)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-cache")
        self.finish(self.document)


class Processes(Handler):
    """All the processes, asked one by one."""

    async def get(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.write({"processes": await processes.look()} | identity())


def make_app() -> Application:
    """The application."""
    return Application(
        [
            ("/", Front),
            ("/hello", Hello),
            ("/orders", Orders),
            ("/slow", Slow),
            ("/block", Block),
            ("/stream", Stream),
            ("/events", Events),
            ("/ws", Echo),
            ("/upload", Upload),
            ("/processes", Processes),
        ]
    )
