"""Fixtures for all tests: free ports, homes on real supervisord, clients that count."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.home import Home
from tests.process import TESTS, Start, starter

OLDEST = "6.2"


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on, in order."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = sorted(s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    return ports


def make_certificate(certificate: Path, key: Path, name: str = "localhost") -> None:
    """Write a self-signed certificate for `name` and its key, as PEM."""
    certificate.parent.mkdir(parents=True, exist_ok=True)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for unix sockets (107 bytes, unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="drain-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def oldest_tornado() -> Path:
    """A folder with the oldest supported Tornado, installed once per clone."""
    folder = TESTS.parent / f".cache/tornado-{OLDEST}"
    if not (folder / "tornado").is_dir():
        # Into place in one step: another worker may do the same at this moment.
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part)]
        subprocess.run([*pip, f"tornado=={OLDEST}"], check=True)
        with contextlib.suppress(OSError):
            part.rename(folder)
    return folder


@pytest.fixture(params=["tcp-newest", "unix-newest", f"tcp-{OLDEST}", f"unix-{OLDEST}"])
def start(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Start]:
    """Start processes, on each listener and with each Tornado."""
    listener, _, version = request.param.partition("-")
    path = [] if version == "newest" else [request.getfixturevalue("oldest_tornado")]
    yield from starter(short_path, listener, path)


@pytest.fixture(params=["tcp", "unix"])
def start_newest(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Start]:
    """Start processes, on each listener, for what does not depend on Tornado."""
    yield from starter(short_path, request.param, [])


@pytest.fixture
def start_one(short_path: Path) -> Iterator[Start]:
    """Start processes, for what does not depend on the listener or on Tornado."""
    yield from starter(short_path, "tcp", [])


@pytest.fixture
def make_home(short_path: Path) -> Iterator[Callable[..., Home]]:
    """Make homes with a number of processes; their supervisord is ended after the test."""
    homes: list[Home] = []

    def make(processes: int = 3, listener: str = "port") -> Home:
        home = Home(short_path / f"h{len(homes)}", free_ports(1 + processes), listener)
        homes.append(home)
        home.start()
        return home

    yield make
    for home in homes:
        home.shut_down()


class Clients:
    """Clients that go on asking each of a home's processes, one request at a time.

    A process that is replaced refuses connections meanwhile, as nginx expects of it; everything
    else that is not a whole answer 200 is a failure.
    """

    def __init__(self, home: Home, path: str = "/?seconds=0.01") -> None:
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
