"""Fixtures that tests of several folders share: processes with the drain, homes on supervisord."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.home import Home
from tests.support.net import free_ports
from tests.support.oldest_tornado import OLDEST, oldest_tornado
from tests.support.process import Start, starter


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for unix sockets (107 bytes, unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="drain-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=["tcp-newest", "unix-newest", f"tcp-{OLDEST}", f"unix-{OLDEST}"])
def start(request: pytest.FixtureRequest, short_path: Path) -> Iterator[Start]:
    """Start processes, on each listener and with each Tornado."""
    listener, _, version = request.param.partition("-")
    path = [] if version == "newest" else [oldest_tornado()]
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
