"""A process with the drain, unprivileged, and a client's connection that does what it is told."""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tornado_drain

from tests.support.paths import PROGRAMS, ROOT
from tests.support.user import give, unprivileged
from tests.support.wait import until

# Seconds for what should happen at once; generous, since the tests share two cores.
SOON = 1.0


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the client has been told not to use the connection again."""
        return str(self.headers["Connection"]).lower() == "close"


class Connection:
    """A client's connection, which does what it is told and no more."""

    def __init__(self, address: str, timeout: float = 5) -> None:
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            target: Any = address.removeprefix("unix:")
        else:
            self.socket = socket.socket()
            host, _, port = address.rpartition(":")
            target = (host, int(port))
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(target)
        except OSError:
            self.socket.close()
            raise
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self.file.close()
        self.socket.close()

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """Send a request; ``version`` and ``Content_Length`` may be given among the headers."""
        version = headers.pop("version", "1.1")
        headers = {"Host": "test"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if method == "POST":
            headers.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/{version}", *(f"{k}: {v}" for k, v in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def receive(self, method: str = "GET") -> Answer:
        """Read one response, and not a byte more."""
        line = self.file.readline().split()
        assert line, "closed without an answer"
        status, headers = int(line[1]), http.client.parse_headers(self.file)
        body = b""
        if method == "HEAD" or status in {100, 101, 204, 304}:
            pass
        elif headers["Transfer-Encoding"] == "chunked":
            while size := int(self.file.readline(), 16):
                body += self.file.read(size)
                self.file.readline()
            self.file.readline()
        elif "Content-Length" in headers:
            body = self.file.read(int(headers["Content-Length"]))
        else:
            body = self.file.read()
        return Answer(status, headers, body)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send a request and read its response."""
        self.send(method, path, body, **headers)
        return self.receive(method)

    def is_open(self, seconds: float = 0) -> bool:
        """Whether the server has neither closed it nor said anything within `seconds`."""
        return not select.select([self.socket], [], [], seconds)[0]

    def upgrade(self, **headers: str) -> None:
        """Become a WebSocket."""
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
        headers |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
        assert self.ask("GET", "/ws", b"", **headers).status == 101

    def send_frame(self, opcode: int, data: bytes) -> None:
        """Send a short frame, masked with zeros."""
        self.socket.sendall(bytes((0x80 | opcode, 0x80 | len(data))) + bytes(4) + data)

    def receive_frame(self) -> tuple[int, bytes]:
        """Read a short frame: its opcode and data; for a close frame these are 8 and its code."""
        head = self.file.read(2)
        assert len(head) == 2, "closed without a frame"
        data = self.file.read(head[1])
        return head[0] & 0xF, data[:2] if head[0] & 0xF == 8 else data


GOING_AWAY = (8, (1001).to_bytes(2, "big"))


class Started:
    """A process that serves `drain_app`, and what it logged."""

    def __init__(
        self, folder: Path, address: str, path: list[Path], command: list[str], **env: str
    ) -> None:
        self.address = address
        self.log_path = folder / "log"
        self.signalled = 0.0
        environment = {
            k: v
            for k, v in os.environ.items()
            # Without a buffer none is found half written by a signal.
            if not k.startswith("TORNADO_DRAIN_") and k != "PYTHONUNBUFFERED"
        }
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "TORNADO_DRAIN_LISTEN": address,
            "TORNADO_DRAIN_MAX_WAIT": "5",
            "TORNADO_DRAIN_PORT": "9001",
            "TORNADO_DRAIN_RELEASE": "abc",
        }
        with self.log_path.open("wb") as log:
            self.popen = subprocess.Popen(
                [*unprivileged(), *command],
                env=environment | env,
                cwd=folder,
                stdout=log,
                stderr=log,
                process_group=0,  # so that what it forks can be ended with it
            )

    def connect(self, timeout: float = 5) -> Connection:
        """Open a connection."""
        return Connection(self.address, timeout)

    def status(self) -> dict[str, Any]:
        """What ``/-/status`` says, on a connection of its own."""
        with self.connect() as connection:
            status: dict[str, Any] = json.loads(connection.ask("GET", "/-/status").body)
            return status

    def until(self, condition: Callable[[], object], seconds: float = 5) -> None:
        """Wait for `condition`; fails with the log."""
        until(condition, seconds, lambda: f"; log:\n{self.log}")

    def until_in_flight(self, count: int = 1) -> None:
        """Wait until so many requests are in flight."""
        self.until(lambda: self.status()["in_flight"] == count)

    def until_logged(self, text: str, seconds: float = 5) -> None:
        """Wait for a line of the log."""
        self.until(lambda: text in self.log, seconds)

    @property
    def log(self) -> str:
        """What it logged so far."""
        return self.log_path.read_text()

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, and count from now."""
        self.signalled = time.monotonic()
        self.popen.send_signal(number)

    def drain(self) -> None:
        """Send SIGTERM and wait until the loop knows."""
        self.signal()
        self.until_logged("draining: ")

    def leaves(self, within: float, after: float = 0, code: int = 0) -> None:
        """Assert that it leaves between `after` and `within` seconds from the signal."""
        try:
            self.popen.wait(self.signalled + within + SOON - time.monotonic())
        except subprocess.TimeoutExpired:
            pytest.fail(f"still there; log:\n{self.log}")
        took = time.monotonic() - self.signalled
        assert self.popen.returncode == code, self.log
        assert took >= after, self.log

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None


Start = Callable[..., Started]


def starter(folder: Path, listener: str, path: list[Path]) -> Iterator[Start]:
    """Yield what starts processes, and end them afterwards.

    Args:
        folder: for their logs and sockets.
        listener: ``tcp`` or ``unix``.
        path: where to import from first.
    """
    processes: list[Started] = []
    give(folder)
    code = [Path(tornado_drain.__file__).parent.parent, PROGRAMS, ROOT]

    def start(*arguments: str, wait: bool = True, **env: str) -> Started:
        own = Path(tempfile.mkdtemp(dir=folder))
        give(own)
        address = f"unix:{own}/9001.sock"
        if listener == "tcp":
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"127.0.0.1:{free.getsockname()[1]}"
        program = list(arguments) or [str(PROGRAMS / "drain_app.py")]
        process = Started(own, address, [*path, *code], [sys.executable, *program], **env)
        processes.append(process)
        if wait:
            process.until_logged("serving on", 20)
        return process

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.popen.pid, signal.SIGKILL)
        process.popen.wait()
