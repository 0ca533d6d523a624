"""Many at once, and much at once, across a roll."""

import asyncio
import contextlib
import hashlib
import json
import random
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import pytest

from tests.support.orders import Customers
from tests.support.process import Connection
from tests.support.stack import Stack, children

BASE_PORT = 9743
VARIABLES = {
    "tornado_app_nginx_body_limit": "2g",
    # By itself 75 s, in which a busy machine may not have asked all of the idle ones again.
    "tornado_app_nginx_extra": "keepalive_timeout 10m;",
}

MIB = 2**20

# What differs by the listener is in the other files.
pytestmark = pytest.mark.parametrize("stack", ["port"], indirect=True, scope="module")


@pytest.fixture(autouse=True)
def files() -> None:
    """Let this process, too, have as many open files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def ctl(stack: Stack, *arguments: str) -> None:
    """Run the app's ctl beside other tasks."""
    await asyncio.to_thread(stack.ctl, *arguments)


def test_ten_thousand_idle_connections(stack: Stack) -> None:
    """Nothing may fail: each is open after the roll, and is answered."""
    request = b"GET /hello HTTP/1.1\r\nHost: test\r\n\r\n"

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        [length] = [line for line in head.splitlines() if line.startswith(b"Content-Length")]
        return head.partition(b"\r\n")[0] + await reader.readexactly(int(length.split()[1]))

    async def clients() -> Counter[bytes]:
        connections = []
        for _ in range(100):
            new = [asyncio.open_connection("127.0.0.1", stack.port) for _ in range(100)]
            connections += (opened := await asyncio.gather(*new))
            await asyncio.gather(*(ask(*connection) for connection in opened))
        await ctl(stack, "restart")
        answers: Counter[bytes] = Counter()
        for first in range(0, len(connections), 100):
            some = (ask(*connection) for connection in connections[first : first + 100])
            answers.update(answer[:15] for answer in await asyncio.gather(*some))
        for _, writer in connections:
            writer.close()
        return answers

    with Customers(stack) as customers:
        answers = asyncio.run(clients())
    assert answers == {b"HTTP/1.1 200 OK": 10_000}
    assert customers.failed() == []


def test_a_thousand_websockets(stack: Stack) -> None:
    """Nothing may fail: each is told to go, with 1001, and comes back; not all in one instant."""
    clients = 1000
    closes: list[tuple[float, int | None]] = []
    echoes = 0
    over = asyncio.Event()

    async def client(session: aiohttp.ClientSession, name: str) -> None:
        nonlocal echoes
        while True:
            async with session.ws_connect(f"http://127.0.0.1:{stack.port}/ws") as websocket:
                await websocket.receive_json()
                await websocket.send_str(name)
                assert (await websocket.receive_json())["echo"] == name
                echoes += 1
                receiving = asyncio.create_task(websocket.receive())
                leaving = asyncio.create_task(over.wait())
                await asyncio.wait({receiving, leaving}, return_when=asyncio.FIRST_COMPLETED)
                leaving.cancel()
                if over.is_set():
                    receiving.cancel()
                    return
                message = await receiving
                assert message.type == aiohttp.WSMsgType.CLOSE
                closes.append((time.monotonic(), message.data))

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        # The group ends with the first client that fails, and says why.
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(clients):
                group.create_task(client(session, f"{number}"))
            while echoes < clients:
                await asyncio.sleep(0.1)
            await ctl(stack, "restart")
            while echoes < clients + len(closes):
                await asyncio.sleep(0.1)
            over.set()

    with Customers(stack) as customers:
        asyncio.run(asyncio.wait_for(run(), 180))
    assert customers.failed() == []
    # All the processes leave, and each WebSocket was on one of them.
    assert len(closes) >= clients
    assert {code for _, code in closes} == {1001}
    # 100 a second and process; a third of all at once would be a spike.
    per_second = Counter(int(at - closes[0][0]) for at, _ in closes)
    assert max(per_second.values()) <= 200, per_second


def spooled(nginx: int) -> int:
    """Bytes of disk that nginx's workers hold; the files of bodies have no name."""
    found = 0
    for worker in children(nginx):
        for file in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if "/client_body/" in str(file.readlink()):
                    found += file.stat().st_blocks * 512
    return found


def most_memory(pid: int) -> int:
    """The most bytes that a process has had in memory; 0 where it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        _, _, figure = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")
        return int(figure.split()[0]) * 1024 if figure else 0
    return 0


def test_an_upload_of_1_gib(stack: Stack) -> None:
    """Nothing may fail: it is whole, though each process restarts; no more disk than its size.

    Nor memory: it is streamed, by nginx to disk and from there to the app.
    """
    size = 1024
    nginx = int((stack.home / "run/nginx.pid").read_text())
    supervisord = int((stack.home / "run/supervisord.pid").read_text())
    over = threading.Event()
    block = random.Random(1).randbytes(MIB)
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        for number in range(size):
            yield number.to_bytes(4, "big") + block[4:]

    def roll() -> int:
        rolls = 0
        while not over.is_set():
            stack.ctl("restart")
            rolls += 1
        return rolls

    def watch() -> tuple[int, int]:
        disk = memory = 0
        while not over.is_set():
            disk = max(disk, spooled(nginx))
            # Some of them are just leaving.
            memory = max(memory, *map(most_memory, children(supervisord)))
            time.sleep(0.3)
        return disk, memory

    with Customers(stack, 5) as customers, ThreadPoolExecutor(2) as threads:
        rolling, watching = threads.submit(roll), threads.submit(watch)
        try:
            with Connection(f"127.0.0.1:{stack.port}", timeout=120) as client:
                client.send("POST", "/upload", Content_Length=f"{size * MIB}")
                for one in blocks():
                    digest.update(one)
                    client.socket.sendall(one)
                answer = client.receive()
        finally:
            over.set()
        assert rolling.result() > 0
        disk, memory = watching.result()
    assert answer.status == 200, answer
    uploaded = json.loads(answer.body)
    assert (uploaded["size"], uploaded["sha256"]) == (size * MIB, digest.hexdigest())
    assert customers.failed() == []
    assert 0.9 * size * MIB < disk <= (size + 1) * MIB
    assert 0 < memory < 150 * MIB
    assert max(map(most_memory, children(nginx))) < 100 * MIB
    assert spooled(nginx) == 0
