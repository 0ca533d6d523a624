"""The clients of the demo: 100 of them, paced, and none retries a request by itself.

They use `HttpUser`, whose client (requests) sends a request once. The client of `FastHttpUser`
silently sends it again, even a POST, when a connection breaks, and would hide what this is to show.

Each request is a line of JSON in the file that ``LOAD_LOG`` names: when it began, its kind, how
many milliseconds it took, and what was wrong with it, if anything.
"""

import contextlib
import json
import os
import random
import struct
import time
import uuid
from pathlib import Path
from typing import Any

import gevent
import requests
import websocket
from locust import HttpUser, User, constant_throughput, events, task

# Seconds: to connect, and between two bytes of an answer.
TIMEOUT = (5, 60)

_log_file = Path(os.environ.get("LOAD_LOG", os.devnull))
_log = _log_file.open("a", encoding="utf-8", buffering=1)


@events.request.add_listener  # type: ignore[untyped-decorator]
def write_down(
    *,
    name: str,
    response_time: float,
    exception: BaseException | None,
    start_time: float,
    context: dict[str, Any],
    **_: object,
) -> None:
    """Keep one line of each request."""
    line: dict[str, Any] = {"time": round(start_time, 4), "kind": name}
    line["ms"] = round(response_time, 2)
    if exception is not None:
        line["error"] = str(exception)
    print(json.dumps(line | (context or {})), file=_log)


class Visitor(HttpUser):
    """Reads and orders: half of each. An order is sent once, whatever happens to it."""

    fixed_count = 70
    wait_time = constant_throughput(3)

    def on_start(self) -> None:
        """Begin at a time of its own: in step, the 70 would wait for each other."""
        gevent.sleep(random.uniform(0, 1 / 3))

    @task
    def hello(self) -> None:
        with self.client.get(
            "/hello", name="GET /hello", timeout=TIMEOUT, catch_response=True
        ) as answer:
            check(answer, lambda: answer.json()["hello"] == "world")

    @task
    def order(self) -> None:
        order = str(uuid.uuid4())
        with self.client.post(
            f"/orders?id={order}",
            name="POST /orders",
            timeout=TIMEOUT,
            catch_response=True,
            context={"id": order},
        ) as answer:
            check(answer, lambda: answer.json()["id"] == order, status=201)


class Patient(HttpUser):
    """Asks for what takes a while."""

    fixed_count = 15

    @task
    def slow(self) -> None:
        seconds = round(random.uniform(0.5, 3), 2)
        with self.client.get(
            f"/slow?seconds={seconds}", name="GET /slow", timeout=TIMEOUT, catch_response=True
        ) as answer:
            check(answer, lambda: answer.json()["slept"] == seconds)


class Listener(HttpUser):
    """Takes streams, and checks that they came whole."""

    fixed_count = 8

    @task
    def stream(self) -> None:
        with self.client.get(
            "/stream?chunks=20&seconds=1", name="GET /stream", timeout=TIMEOUT, catch_response=True
        ) as answer:
            lines = [f"chunk {number} of 20" for number in range(20)] + ["end"]
            check(answer, lambda: answer.text.splitlines() == lines)


class Uploader(HttpUser):
    """Sends half a megabyte."""

    fixed_count = 2
    wait_time = constant_throughput(1)
    body = bytes(500_000)

    @task
    def upload(self) -> None:
        with self.client.post(
            "/upload", data=self.body, name="POST /upload", timeout=TIMEOUT, catch_response=True
        ) as answer:
            check(answer, lambda: answer.json()["size"] == len(self.body))


class Talker(User):
    """Holds a WebSocket; told to go away (1001) it connects again and sends what is unanswered."""

    fixed_count = 5
    wait_time = constant_throughput(3)

    def on_start(self) -> None:
        self.number = 0
        self.moves = 0
        self.socket: websocket.WebSocket | None = None

    @task
    def talk(self) -> None:
        self.number += 1
        began = time.time()
        problem: Exception | None = None
        try:
            while not self.exchange(str(self.number)):
                self.moves += 1
        except (OSError, ValueError, struct.error, websocket.WebSocketException) as error:
            problem = error
            self.socket = None
        events.request.fire(  # type: ignore[no-untyped-call]
            request_type="WS",
            name="WS /ws",
            response_time=(time.time() - began) * 1000,
            response_length=0,
            exception=problem,
            start_time=began,
            context={"moves": self.moves},
        )

    def exchange(self, text: str) -> bool:
        """Send a message and wait for its answer; False where the server moved us away."""
        if self.socket is None:
            url = str(self.host).replace("http", "ws", 1) + "/ws"
            self.socket = websocket.create_connection(url, timeout=60)
            self.socket.recv()  # who it is
        # Where it can't be sent, the close that came before can still be read.
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self.socket.send(text)
        opcode, data = self.socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.socket.close()
            self.socket = None
            if (code := struct.unpack("!H", data[:2])[0]) != 1001:
                raise ValueError(f"closed with {code}")
            gevent.sleep(random.uniform(0, 0.1))
            return False
        if (echo := json.loads(data)["echo"]) != text:
            raise ValueError(f"sent {text}, got {echo}")
        return True


def check(answer: Any, holds: Any, status: int = 200) -> None:
    """Fail a request whose answer is not the whole and right one."""
    if answer.error:
        answer.failure(answer.error)
    elif answer.status_code != status:
        answer.failure(f"status {answer.status_code}")
    else:
        try:
            right = holds()
        except (ValueError, KeyError, requests.RequestException):
            right = False
        if not right:
            answer.failure(f"not the whole answer: {answer.text[:80]!r}")
