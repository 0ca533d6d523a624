"""Sticky sessions and a path prefix, by the real playbook, under load and across rolls."""

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import aiohttp
import pytest

from tests.support.stack import Stack


class Client:
    """A browser: it keeps its cookie, and its connection as long as the server does."""

    def __init__(self, stack: Stack, address: str = "127.0.0.1") -> None:
        self._connection = HTTPConnection(
            "127.0.0.1", stack.port, timeout=60, source_address=(address, 0)
        )
        self.cookie = ""
        self.set_cookies: list[str] = []

    def ask(self, method: str = "GET", path: str = "/shop/hello") -> int:
        """Return the port of the process that answered."""
        self._connection.request(method, path, headers={"Cookie": self.cookie})
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        for cookie in answer.headers.get_all("Set-Cookie", []):
            self.set_cookies.append(cookie)
            self.cookie = cookie.partition(";")[0]
        found = re.search(rb'"port": (\d+)', body)
        assert found, body
        return int(found[1])


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """An app under a path, sticky by cookie, on unix sockets; test_recipes.py has ports."""
    stack = Stack(
        "sticky-shop",
        9503,
        tornado_app_listener="unix",
        tornado_app_nginx_sticky="cookie",
        tornado_app_nginx_path="/shop/",
        tornado_app_nginx_path_strip=True,
    )
    with stack.deployed():
        yield stack


def test_only_under_its_path(stack: Stack) -> None:
    assert stack.get("/shop/hello")[0] == 200
    assert stack.get("/shop")[0] == 200  # by way of /shop/
    for path in ("/hello", "/", "/shopping", "/-/ready", "/shop/-/ready", "/shop/%2d/ready"):
        assert stack.get(path)[0] == 404, path
        assert stack.get(path, b"x")[0] == 404, path
    assert stack.get("/shop//-/status")[0] == 404
    assert stack.get("/shop/../-/status")[0] == 404


def test_a_client_stays_on_its_process(stack: Stack) -> None:
    clients = [Client(stack) for _ in range(30)]
    first = [client.ask() for client in clients]
    assert len(set(first)) == 3, "new clients are not spread"
    for client, port in zip(clients, first, strict=True):
        assert {client.ask(method) for method in ("GET", "POST") * 3} == {port}
        name = stack.home.name.replace("-", "_")
        assert client.set_cookies == [
            f"app_{name}_process={port}; Path=/shop/; HttpOnly; SameSite=Lax"
        ]


@pytest.mark.parametrize("cookie", ["1", "abc", "80", "9503:127.0.0.1:9504", '"; x', "a" * 3000])
def test_a_cookie_that_names_no_process(stack: Stack, cookie: str) -> None:
    client = Client(stack)
    client.cookie = f"app_{stack.home.name.replace('-', '_')}_process={cookie}"
    port = client.ask()
    assert len(client.set_cookies) == 1
    assert {client.ask() for _ in range(5)} == {port}


def moves(stack: Stack, clients: list[Client], rolls: int) -> list[list[int]]:
    """The ports that each client met in turn while the stack is rolled under load."""
    asking = threading.Event()
    asking.set()

    def met(client: Client) -> list[int]:
        ports = []
        for method in itertools.cycle(("GET", "POST")):
            if not asking.is_set():
                break
            ports.append(client.ask(method))
            time.sleep(0.05)
        return [port for port, _ in itertools.groupby(ports)]

    with ThreadPoolExecutor(len(clients)) as threads:
        answers = [threads.submit(met, client) for client in clients]
        try:
            with stack.load("/shop/hello", script="sticky") as load:
                for _ in range(rolls):
                    stack.ctl("restart")
        finally:
            asking.clear()
        found = [answer.result() for answer in answers]
    assert load.failed == 0, load.output
    assert load.requests > 1000
    return found


def test_a_cookie_moves_with_a_roll_and_only_then(stack: Stack) -> None:
    clients = [Client(stack) for _ in range(10)]
    rolls = 3
    for client, met in zip(clients, moves(stack, clients, rolls), strict=True):
        # Each of the three processes drains once in a roll, and a client leaves only one that does.
        assert 1 + rolls <= len(met) <= 1 + 3 * rolls, met
        assert client.cookie.endswith(f"={met[-1]}")
        assert {client.ask() for _ in range(5)} == {met[-1]}


def test_a_websocket_goes_where_its_session_is(stack: Stack) -> None:
    async def port(session: aiohttp.ClientSession) -> int:
        async with session.get(f"http://127.0.0.1:{stack.port}/shop/hello") as answer:
            found: int = (await answer.json())["port"]
            return found

    async def follow() -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # of an address
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            for _ in range(2):
                # The first one brings the cookie, the second one takes it along.
                url = f"ws://127.0.0.1:{stack.port}/shop/ws"
                async with session.ws_connect(url) as websocket:
                    met = (await websocket.receive_json())["port"]
                    assert await port(session) == met
                    await asyncio.to_thread(stack.ctl, "restart")
                    assert (await websocket.receive()).data == 1001
                assert await port(session) == await port(session)

    asyncio.run(follow())


def test_by_address(stack: Stack) -> None:
    """The last one here: it leaves the stack so."""
    stack.playbook(tornado_app_nginx_sticky="address")
    clients = [Client(stack, f"127.0.0.{number}") for number in range(2, 22)]
    first = [client.ask() for client in clients]
    assert len(set(first)) == 3
    assert [client.ask("POST") for client in clients] == first
    for client, port, met in zip(clients, first, moves(stack, clients, 2), strict=True):
        # Elsewhere while its process drains, and back.
        assert met[0] == met[-1] == port
        assert client.set_cookies == []
