"""The demo app as a real process on a real socket."""

import asyncio
import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.net import free_ports
from tests.support.paths import ROOT
from tests.support.user import give, unprivileged
from tests.support.wait import until


class Demo:
    """One process of the demo app."""

    def __init__(self, folder: Path, **environment: str) -> None:
        [self.port] = free_ports(1)
        self.listen = f"127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [*unprivileged(), sys.executable, "-m", "demo_app"],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(ROOT / "app"), "TORNADO_DRAIN_LISTEN": self.listen}
            | environment,
            stderr=(folder / f"log-{self.port}").open("wb"),
        )

    def ask(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        """GET or POST a path; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, 10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def processes(self) -> dict[int, dict[str, Any]]:
        """What it says of all processes, by pid."""
        answer = json.loads(self.ask("/processes")[1])
        return {process.get("pid", 0): process for process in answer["processes"]}

    def wait(self, status: int) -> None:
        """Wait until ``/-/ready`` answers so."""
        until(lambda: self.ask("/-/ready")[0] == status)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start demo apps; they are ended after the test."""
    started: list[Demo] = []
    give(tmp_path)

    def begin(**environment: str) -> Demo:
        started.append(Demo(tmp_path, **environment))
        return started[-1]

    yield begin
    for demo in started:
        demo.process.kill()
        demo.process.wait()


@pytest.fixture
def demo(start: Callable[..., Demo]) -> Demo:
    """One that is ready."""
    demo = start()
    demo.wait(200)
    return demo


def test_what_it_answers(demo: Demo, tmp_path: Path) -> None:
    status, body = demo.ask("/hello")
    assert (status, json.loads(body)["pid"]) == (200, demo.process.pid)
    assert demo.ask("/orders?id=one", b"")[0] == 201
    [journal] = tmp_path.glob("orders-*.jsonl")
    assert journal.name == f"orders-0-{demo.process.pid}.jsonl"
    assert [json.loads(line)["id"] for line in journal.read_text().splitlines()] == ["one"]
    assert json.loads(demo.ask("/slow?seconds=0.1")[1])["slept"] == 0.1
    assert json.loads(demo.ask("/block?seconds=0.1")[1])["blocked"] == 0.1
    lines = demo.ask("/stream?chunks=3&seconds=0.1")[1].splitlines()
    assert lines == ["chunk 0 of 3", "chunk 1 of 3", "chunk 2 of 3", "end"]
    log = (tmp_path / f"log-{demo.port}").read_text()
    assert re.search(r" INFO - 200 GET /hello \(127\.0\.0\.1\) [\d.]+ms\n", log)
    assert "/-/ready" not in log
    data = bytes(range(256)) * 4000
    answer = json.loads(demo.ask("/upload", data)[1])
    assert answer["size"] == 1_024_000
    assert answer["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("path", "data", "names"),
    [
        ("/slow?seconds=-1", None, "seconds"),
        ("/slow?seconds=nan", None, "seconds"),
        ("/block?seconds=x%25s", None, "seconds"),
        ("/stream?chunks=0.5e99", None, "chunks"),
        ("/orders", b"", "id"),
        ("/orders?id=" + "x" * 101, b"", "id"),
    ],
)
def test_bad_arguments(demo: Demo, path: str, data: bytes | None, names: str) -> None:
    status, body = demo.ask(path, data)
    assert status == 400
    assert json.loads(body)["error"].startswith(f"{names}: got ")


def test_events_and_websocket_are_told_to_move(demo: Demo) -> None:
    async def listen() -> tuple[str, int | None]:
        base = f"http://127.0.0.1:{demo.port}"
        async with aiohttp.ClientSession() as session, session.get(f"{base}/events") as events:
            first = await events.content.readline()
            async with session.ws_connect(f"{base}/ws") as socket:
                assert (await socket.receive_json())["pid"] == demo.process.pid
                await socket.send_str("hello")
                assert (await socket.receive_json())["echo"] == "hello"
                demo.process.send_signal(signal.SIGTERM)
                await socket.receive()
                rest = await events.content.read()
            return (first + rest).decode(), socket.close_code

    text, code = asyncio.run(listen())
    assert text.startswith("event: tick\n")
    assert text.endswith("retry: 100\nevent: restarting\ndata: {}\n\n")
    assert code == 1001
    assert demo.process.wait(10) == 0


def test_broken_releases(start: Callable[..., Demo]) -> None:
    ends = start(DEMO_BREAK="exit")
    dies = start(DEMO_BREAK="dies")
    unready = start(DEMO_BREAK="unready")
    assert ends.process.wait(10) == 1
    dies.wait(200)
    unready.wait(503)
    assert dies.process.wait(10) == 1


def test_the_page_needs_nothing_else_and_allows_nothing_else(demo: Demo) -> None:
    with urllib.request.urlopen(f"http://{demo.listen}/", None, 10) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    for tag, name in (("style", "page.css"), ("script", "page.js")):
        [text] = re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        assert text == (ROOT / "app/demo_app/page" / name).read_text()
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not re.search(r"""(src|href)="(?!data:,"|/)|style=|\son\w+=|@import|url\(""", page)


@pytest.mark.parametrize("unix", [False, True], ids=["port", "unix"])
def test_every_process_says_how_it_is(
    start: Callable[..., Demo], short_path: Path, unix: bool
) -> None:
    give(short_path)
    one = start(TORNADO_DRAIN_RELEASE="old")
    elsewhere = {"TORNADO_DRAIN_LISTEN": f"unix:{short_path}/7.sock"} if unix else {}
    two = start(TORNADO_DRAIN_RELEASE="new", TORNADO_DRAIN_PORT="7", **elsewhere)
    pid = two.process.pid

    def found_once(state: str) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def is_so() -> bool:
            found.clear()
            found.update(one.processes().get(pid, {}))
            return found.get("state") == state

        until(is_so, 10, lambda: f": {found}")
        return found

    one.wait(200)
    found = found_once("serving")
    assert (found["port"], found["release"], found["in_flight"]) == (7, "new", 0)
    assert one.processes()[one.process.pid]["in_flight"] == 1  # that request
    assert two.process.poll() is None
    family, address = (
        (socket.AF_UNIX, f"{short_path}/7.sock")
        if unix
        else (socket.AF_INET, ("127.0.0.1", two.port))
    )
    with socket.socket(family) as upload:
        upload.connect(address)
        upload.sendall(b"POST /upload HTTP/1.0\r\nContent-Length: 1\r\n\r\n")
        until(lambda: one.processes()[pid]["in_flight"] == 1, 10)
        two.process.send_signal(signal.SIGTERM)
        assert "in_flight" not in found_once("draining")
        upload.sendall(b"x")
        assert b'"size": 1' in b"".join(iter(lambda: upload.recv(1000), b""))
    assert two.process.wait(10) == 0
    assert list(one.processes()) == [one.process.pid]


def test_a_process_that_crashed_is_down_until_it_is_replaced(start: Callable[..., Demo]) -> None:
    one = start(TORNADO_DRAIN_PEERS="unix:/nowhere/8.sock")
    crashed, unready = (
        start(TORNADO_DRAIN_PORT="7"),
        start(TORNADO_DRAIN_PORT="9", DEMO_BREAK="unready"),
    )
    for demo, status in ((one, 200), (crashed, 200), (unready, 503)):
        demo.wait(status)
    crashed.process.kill()
    crashed.process.wait()
    found = one.processes()
    assert found[crashed.process.pid]["state"] == "down"
    assert found[unready.process.pid]["state"] == "starting"
    assert found[0] == {"port": 8, "listen": "unix:/nowhere/8.sock", "state": "down"}
    replacement = start(TORNADO_DRAIN_PORT="7")
    replacement.wait(200)
    found = one.processes()
    assert crashed.process.pid not in found
    assert found[replacement.process.pid]["state"] == "serving"
