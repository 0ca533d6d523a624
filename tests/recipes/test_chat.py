"""The recipe with the drain in it: a chat that loses no message, over its protocol and its page."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.support.recipe import Client, recipe, rolled
from tests.support.stack import Stack

TALKERS = 10


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The chat, without a message yet."""
    with recipe("chat", 9683) as stack:
        yield stack


async def talk(client: Client, name: str, said: set[str], talking: threading.Event) -> list[str]:
    """Do what the page does, and check it; returns what was heard, in order."""
    heard: list[str] = []
    waiting: dict[str, str] = {}
    number, count = 0, itertools.count()

    async def say(websocket: aiohttp.ClientWebSocketResponse) -> None:
        for key in list(waiting):
            await websocket.send_json({"key": key, "text": key})
        # The last one after the end, so that its echo wakes who waits for one.
        while True:
            key = f"{name}-{next(count)}"
            waiting[key] = key
            said.add(key)
            await websocket.send_json({"key": key, "text": key})
            if not talking.is_set():
                break
            await asyncio.sleep(0.2)

    while talking.is_set() or waiting:
        async with client.websocket(f"/chat?after={number}") as websocket:
            saying = asyncio.create_task(say(websocket))
            try:
                while talking.is_set() or waiting:
                    message = await websocket.receive(30)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        assert message.data == 1001, message
                        break
                    found = json.loads(message.data)
                    assert found["number"] > number
                    number = found["number"]
                    heard.append(found["text"])
                    waiting.pop(found["key"], None)
            finally:
                saying.cancel()
    return heard


def test_no_message_is_lost(stack: Stack) -> None:
    said: set[str] = set()
    talking = threading.Event()
    talking.set()

    async def talks() -> list[list[str]]:
        names = [f"client{number}" for number in range(TALKERS)]
        return await asyncio.gather(*(talk(Client(stack), n, said, talking) for n in names))

    reader = Client(stack)

    def read(turn: int) -> None:
        assert reader.ask("GET", "/").body.rstrip().endswith(b"</html>")
        time.sleep(0.05)

    with ThreadPoolExecutor(1) as threads:
        heard = threads.submit(lambda: asyncio.run(talks()))
        try:
            rolled(stack, read)
        finally:
            talking.clear()
        found = heard.result()
    longest = max(found, key=len)
    assert set(longest) <= said
    assert len(said) > 500
    stored = asyncio.run(history(stack, len(said)))
    assert sorted(stored) == sorted(said), "lost, or stored twice"
    for each in found:
        assert each == stored[: len(each)]


async def history(stack: Stack, count: int) -> list[str]:
    """The first so many messages, and whether there are no more."""
    async with Client(stack).websocket("/chat?after=0") as websocket:
        found = [(await websocket.receive_json())["text"] for _ in range(count)]
        with pytest.raises(TimeoutError):
            await websocket.receive(0.5)
        return found


def test_its_page(stack: Stack) -> None:
    def messages(page: Page) -> list[str]:
        return page.locator("li:not(.waiting)").all_inner_texts()

    host = stack.variables["tornado_app_nginx_server_name"]
    arguments = ["--no-sandbox", f"--host-resolver-rules=MAP {host} 127.0.0.1"]
    with sync_playwright() as playwright, ThreadPoolExecutor(1) as threads:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        pages = [browser.new_page() for _ in range(2)]
        closed: list[object] = []
        problems: list[str] = []
        for page in pages:
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("websocket", lambda opened: opened.on("close", lambda end: closed.append(end)))
            page.goto(f"http://{host}:{stack.port}/")
        roll = threads.submit(stack.ctl, "restart")
        said: list[str] = []
        while not roll.done():
            said.append(f"{len(said)} <b>&amp;")
            pages[len(said) % 2].fill("#text", said[-1])
            pages[len(said) % 2].press("#text", "Enter")
            pages[0].wait_for_timeout(50)
        roll.result()
        for page in pages:
            expect(page.locator("li.waiting")).to_have_count(0)
            expect(page.get_by_text(said[-1], exact=True)).to_be_visible()
        assert len(closed) >= 2
        assert problems == []
        first, second = (messages(page)[-len(said) :] for page in pages)
        assert first == second
        assert sorted(first) == sorted(said)
        browser.close()
