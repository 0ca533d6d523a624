"""Clients of the processes of a home: one that asks once, and many that go on asking and count."""

import asyncio
import json
import threading
import urllib.request

import aiohttp

from tests.support.home import Home


def get(port: int, path: str) -> tuple[int, str]:
    """GET a path of a process over TCP; returns the status and the body."""
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.read().decode()


def in_flight(port: int) -> int:
    """How many requests a process has, this one left out."""
    return int(json.loads(get(port, "/-/status")[1])["in_flight"])


class Clients:
    """Clients that go on asking each of a home's processes, one request at a time.

    A process that is replaced refuses connections meanwhile, as nginx expects of it; everything
    else that is not a whole answer 200 is a failure.
    """

    def __init__(self, home: Home, path: str = "/?seconds=0.05") -> None:
        self.home = home
        self.path = path
        self.answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Clients":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask(port) for port in self.home.ports for _ in range(4)))

    async def _ask(self, port: int) -> None:
        listen = self.home.listen(port)
        connector: aiohttp.BaseConnector = aiohttp.TCPConnector(force_close=True)
        if listen.startswith("unix:"):
            connector = aiohttp.UnixConnector(listen.removeprefix("unix:"), force_close=True)
        url = f"http://127.0.0.1:{port}{self.path}"
        async with aiohttp.ClientSession(connector=connector) as session:
            while not self._stop.is_set():
                try:
                    async with session.post(url, data=b"x") as answer:
                        await answer.read()
                        if answer.status == 200:
                            self.answers += 1
                        else:
                            self.failures.append(f"{port}: {answer.status}")
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)
                except aiohttp.ClientError as error:
                    self.failures.append(f"{port}: {error!r}")
