"""Clients that are slow, old or odd, across a roll."""

import hashlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.orders import Customers
from tests.support.process import Connection
from tests.support.programs import faults as app
from tests.support.stack import Stack

BASE_PORT = 9733
MAX_WAIT = 5
VARIABLES = app.VARIABLES | {"tornado_app_max_wait": MAX_WAIT}

# nginx has them, whatever it passes on to.
pytestmark = pytest.mark.parametrize("stack", ["port"], indirect=True, scope="module")

MIB = 32


def connect(stack: Stack) -> Connection:
    """A connection to nginx."""
    return Connection(f"127.0.0.1:{stack.port}", timeout=60)


def drains(stack: Stack) -> list[float]:
    """How long each drain of the last roll took, seconds."""
    journal = (stack.home / "log/rolling_restart.jsonl").read_text().splitlines()
    events = [event for event in map(json.loads, journal) if event["event"] == "drained"]
    return [event["seconds"] for event in events[-3:]]


def trickle(stack: Stack) -> None:
    """Send a body, a byte a second."""
    body = b"slow client"
    with connect(stack) as client:
        client.send("POST", "/upload", Content_Length=str(len(body)))
        for byte in body:
            time.sleep(1)
            client.socket.send(bytes([byte]))
        answer = client.receive()
    assert answer.status == 200
    assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()


def start_reading_nothing(stack: Stack, path: str) -> Connection:
    """Ask for more than the buffers of two sockets take (tcp(7): 6 and 4 MiB at most)."""
    client = connect(stack)
    client.send("GET", path)
    return client


def test_slow_clients_do_not_hold_a_drain(stack: Stack) -> None:
    """Nothing may fail, nor may a drain take longer: nginx has all their time.

    Clients that send a byte a second, and one that reads nothing until the roll is over.
    """
    with Customers(stack) as customers, ThreadPoolExecutor(20) as threads:
        sending = [threads.submit(trickle, stack) for _ in range(20)]
        with start_reading_nothing(stack, f"/large?mib={MIB}") as client:
            stack.ctl("restart")
            answer = client.receive()
        for one in sending:
            one.result()
    assert (answer.status, len(answer.body)) == (200, MIB * 2**20)
    assert customers.failed() == []
    assert max(drains(stack)) < MAX_WAIT - 0.5


def test_a_client_that_never_reads_is_cut_at_max_wait(stack: Stack) -> None:
    """May fail: its own answer, where the app has nginx pass it on unbuffered; it comes in part.

    That one process drains for MAX_WAIT, no longer.
    """
    with (
        Customers(stack) as customers,
        start_reading_nothing(stack, f"/large?mib={MIB}&buffering=no") as client,
    ):
        time.sleep(1)
        stack.ctl("restart")
        with pytest.raises(ValueError, match="invalid literal for int"):  # no next chunk
            client.receive()
    assert customers.failed() == []
    *others, longest = sorted(drains(stack))
    # On a machine that is busier than this, supervisord ends it, at MAX_WAIT + 5.
    assert MAX_WAIT - 0.5 < longest < MAX_WAIT + 6
    assert max(others) < MAX_WAIT - 0.5


def pipelined(stack: Stack) -> list[str]:
    """Many requests in one piece; their answers come in their order."""
    orders = [uuid.uuid4().hex for _ in range(20)]
    with connect(stack) as client:
        lines = [
            f"GET /slow?seconds=0.0{number % 5} HTTP/1.1\r\nHost: test\r\n\r\n"
            f"POST /orders?id={order} HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx"
            for number, order in enumerate(orders)
        ]
        client.socket.sendall("".join(lines).encode())
        for number, order in enumerate(orders):
            assert json.loads(client.receive().body)["slept"] == number % 5 / 100
            assert json.loads(client.receive().body)["id"] == order
    return orders


def http_1_0(stack: Stack) -> list[str]:
    """HTTP/1.0, a connection for each request."""
    order = uuid.uuid4().hex
    with connect(stack) as client:
        assert client.ask("POST", f"/orders?id={order}", b"x", version="1.0").status == 201
        assert client.file.read() == b""
    with connect(stack) as client:
        answer = client.ask("GET", "/stream?seconds=0.2&chunks=3", version="1.0")
        assert answer.headers["Transfer-Encoding"] is None
        assert answer.body.endswith(b"end\n")
    return [order]


def http_1_0_kept_alive(stack: Stack) -> list[str]:
    """HTTP/1.0 as some clients stretch it."""
    orders = [uuid.uuid4().hex for _ in range(10)]
    with connect(stack) as client:
        for order in orders:
            answer = client.ask(
                "POST", f"/orders?id={order}", b"x", version="1.0", Connection="keep-alive"
            )
            assert answer.status == 201
    return orders


def chunked(stack: Stack) -> list[str]:
    """A body in chunks, as they come."""
    digest = hashlib.sha256()
    with connect(stack) as client:
        client.socket.sendall(
            b"POST /upload HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(20):
            chunk = uuid.uuid4().bytes * (1 + number * number)
            digest.update(chunk)
            client.socket.sendall(f"{len(chunk):x};n={number}\r\n".encode() + chunk + b"\r\n")
            time.sleep(0.02)
        client.socket.sendall(b"0\r\nX-Trailer: x\r\n\r\n")
        answer = client.receive()
    assert json.loads(answer.body)["sha256"] == digest.hexdigest()
    return []


def test_old_and_odd_clients(stack: Stack) -> None:
    """Nothing may fail: every answer is whole and in its place, every order happens once."""
    over = threading.Event()

    def go_on(client: Callable[[Stack], list[str]]) -> list[str]:
        orders = []
        times = 0
        while not over.is_set():
            orders += client(stack)
            times += 1
        assert times > 2
        return orders

    kinds = [pipelined, http_1_0, http_1_0_kept_alive, chunked]
    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(go_on, kind) for kind in kinds * 4]
        try:
            stack.ctl("restart")
            time.sleep(1)
        finally:
            over.set()
        orders = [order for one in asking for order in one.result()]
    executed = Counter(stack.orders())
    assert {executed[order] for order in orders} == {1}
