"""What a recipe's page shows, deployed on this machine, and clients that check what they get."""

import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import yaml

from tests.support.paths import ROOT
from tests.support.process import Answer, Connection
from tests.support.stack import Stack

ROLLS = 10


def shown(name: str) -> dict[str, Any]:
    """The variables that its page shows."""
    page = (ROOT / "recipes" / name / "README.md").read_text()
    [block] = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    variables: dict[str, Any] = yaml.safe_load(block)
    return variables


class Client:
    """A keepalive client of one stack that keeps its cookies and never asks twice."""

    def __init__(self, stack: Stack, **headers: str) -> None:
        self._address = f"127.0.0.1:{stack.port}"
        host = str(stack.variables["tornado_app_nginx_server_name"])
        self.headers = {"Host": host} | headers
        self.cookies: dict[str, str] = {}
        self._connection: Connection | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        pause: Callable[[], object] | None = None,
        status: int = 200,
        **headers: str,
    ) -> Answer:
        """Ask, and check the status of the answer; with a `pause`, amid the body."""
        if self._connection is None:
            self._connection = Connection(self._address, 60)
        headers = self.headers | headers
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        if method != "GET":
            headers["Content_Length"] = str(len(body))
        half = len(body) // 2 if pause is not None else len(body)
        self._connection.send(method, path, body[:half], **headers)
        if pause is not None:
            pause()
            self._connection.socket.sendall(body[half:])
        answer = self._connection.receive(method)
        assert answer.status == status, (method, path, answer)
        for cookie in answer.headers.get_all("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        if answer.closes:
            self._connection.close()
            self._connection = None
        return answer

    @asynccontextmanager
    async def websocket(
        self, path: str, *protocols: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket of the same browser."""
        headers = self.headers | {"Origin": f"http://{self.headers['Host']}"}
        url = f"ws://{self._address}{path}"
        async with (
            aiohttp.ClientSession(cookies=self.cookies) as session,
            session.ws_connect(url, protocols=protocols, headers=headers) as websocket,
        ):
            yield websocket


@contextmanager
def recipe(name: str, base_port: int, **variables: Any) -> Iterator[Stack]:
    """Within this context the recipe is up, as shown, with the variables that it asks for.

    An environment among them is added to the one that is shown.
    """
    known = shown(name)
    added = variables.pop("tornado_app_environment", {})
    known["tornado_app_environment"] = known.get("tornado_app_environment", {}) | added
    # Heavy programs, several at a time on a shared machine.
    known["tornado_app_ready_timeout"] = 120
    # Of their many packages few are imported: these are compiled when they are.
    known["tornado_app_pip_arguments"] = ["--no-compile"]
    known["tornado_app_environment"]["PYTHONDONTWRITEBYTECODE"] = ""
    with Stack(known["tornado_app_name"], base_port, **known | variables).deployed() as stack:
        try:
            yield stack
        except BaseException as error:
            error.add_note(f"What its processes logged last:\n{logged(stack)[-8000:]}")
            raise


def rolled(stack: Stack, *clients: Callable[[int], None], rolls: int = ROLLS) -> list[int]:
    """Let clients go on asking while the stack is rolled; returns how often each did.

    Each is called again and again, with a number that counts, in a thread of its own.
    """
    asking = threading.Event()
    asking.set()

    def ask(client: Callable[[int], None]) -> int:
        count = 0
        while asking.is_set():
            client(count)
            count += 1
        return count

    with ThreadPoolExecutor(len(clients)) as threads:
        counts = [threads.submit(ask, client) for client in clients]
        try:
            for _ in range(rolls):
                stack.ctl("restart")
        finally:
            asking.clear()
        found = [count.result() for count in counts]
    # nginx asks another process where a GET was cut, so look at the drains themselves.
    log = logged(stack)
    assert log.count("drained in ") == 3 * rolls
    assert "cut off" not in log
    return found


def met(stack: Stack) -> int:
    """The most requests in flight that a drain met."""
    found = re.findall(r"draining: \d+ connections, (\d+) requests in flight", logged(stack))
    return max(map(int, found))


def logged(stack: Stack) -> str:
    """What the processes logged."""
    logs = sorted((stack.home / "log").glob("*-[0-9]*.log"))
    return "".join(log.read_text(errors="replace") for log in logs)
