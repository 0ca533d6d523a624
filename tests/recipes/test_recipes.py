"""Programs that know nothing of the drain, each as its recipe shows it, rolled under load."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import struct
import subprocess
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from tests.support.net import free_ports
from tests.support.recipe import Client, met, recipe, rolled
from tests.support.stack import Stack

# Seconds that a long request is in flight: some drain has to meet it.
LONG = 2.0
# So that it is in flight in a process while its body is sent.
UNBUFFERED = {"tornado_app_nginx_extra": "proxy_request_buffering off;"}


def pause() -> None:
    """Be slow amid a request's body."""
    time.sleep(LONG)


def quick(
    clients: int, ask: Callable[[int, int], None], pause: float = 1.0
) -> list[Callable[[int], None]]:
    """So many clients that leave the programs their share of the machine."""

    def client(number: int) -> Callable[[int], None]:
        def again(turn: int) -> None:
            ask(number, turn)
            time.sleep(pause)

        return again

    return [client(number) for number in range(clients)]


# Bokeh server


def bokeh() -> None:
    """Pages and scripts; a session that ends with its process, and begins anew with its token."""
    secret = "".join(f"{n:02x}" for n in range(32))
    with recipe("bokeh", 9603, vault_plots_secret_key=secret, **UNBUFFERED) as stack:
        clients = [Client(stack) for _ in range(8)]
        script = clients[0].ask("GET", "/static/js/bokeh-api.min.js").body

        def look(number: int, turn: int) -> None:
            client = clients[number]
            # Each page is a session, which is work for the process: not all at the same time.
            if (turn + number) % 10 == 0:
                page = client.ask("GET", "/plots").body
                assert b'"token"' in page
                assert page.rstrip().endswith(b"</html>")
            assert client.ask("GET", "/static/js/bokeh-api.min.js").body == script
            # nginx would not ask twice for it, and Bokeh says so once it is there.
            client.ask("POST", "/plots", b"x", status=405)

        def send(turn: int) -> None:
            clients[-1].ask("POST", "/plots", bytes(100_000), pause, 405)

        rolled(stack, *quick(7, look, 0.2), send)
        assert met(stack) > 0
        asyncio.run(bokeh_session(stack))


async def bokeh_session(stack: Stack) -> None:
    client = Client(stack)
    page = client.ask("GET", "/plots").body.decode()
    [token] = re.findall(r'"token":"([^"]+)"', page)
    port = client.cookies["app_plots_process"]

    async def receive(websocket: aiohttp.ClientWebSocketResponse, kind: str) -> str:
        while True:
            header = json.loads(await websocket.receive_str())
            _, content = await websocket.receive_str(), await websocket.receive_str()
            for _ in range(2 * header.get("num_buffers", 0)):
                await websocket.receive()
            if header["msgtype"] == kind:
                return content
            # What the slider redraws comes in between.
            assert header["msgtype"] == "PATCH-DOC", content

    async def send(
        websocket: aiohttp.ClientWebSocketResponse, kind: str, answer: str, **content: Any
    ) -> str:
        for part in ({"msgid": kind, "msgtype": kind}, {}, content):
            await websocket.send_str(json.dumps(part))
        return await receive(websocket, answer)

    def slider(document: str) -> tuple[str, float]:
        model = r'"name":"Slider","id":"(\w+)","attributes":({.*?})'
        [(name, attributes)] = re.findall(model, document)
        return name, json.loads(attributes)["value"]

    async with client.websocket("/plots/ws", "bokeh", token) as websocket:
        await receive(websocket, "ACK")
        document = await send(websocket, "PULL-DOC-REQ", "PULL-DOC-REPLY")
        assert f"process {port}" in document
        model, value = slider(document)
        assert value == 1
        event = {"kind": "ModelChanged", "model": {"id": model}, "attr": "value", "new": 3}
        await send(websocket, "PATCH-DOC", "OK", events=[event])
        assert slider(await send(websocket, "PULL-DOC-REQ", "PULL-DOC-REPLY")) == (model, 3)
        roll = asyncio.create_task(asyncio.to_thread(stack.ctl, "restart"))
        while (message := await websocket.receive()).type != aiohttp.WSMsgType.CLOSE:
            assert message.type == aiohttp.WSMsgType.TEXT
        assert message.data == 1001
    # As BokehJS does: at once, with the token that it has. That process may be the next to leave.
    async with client.websocket("/plots/ws", "bokeh", token) as websocket:
        await receive(websocket, "ACK")
    await roll
    async with client.websocket("/plots/ws", "bokeh", token) as websocket:
        await receive(websocket, "ACK")
        document = await send(websocket, "PULL-DOC-REQ", "PULL-DOC-REPLY")
        assert slider(document)[1] == 1


# Jupyter Server


def jupyter() -> None:
    """Files and uploads; a kernel that ends with its process, while it computes."""
    with TemporaryDirectory() as folder:
        # Who is root has to say that they mean it.
        Path(folder, "jupyter_server_config.json").write_text('{"ServerApp": {"allow_root": true}}')
        variables = {
            "vault_jupyter_token": "secret",
            "tornado_app_environment": {"JUPYTER_CONFIG_PATH": folder},
        }
        with recipe("jupyter", 9623, **variables, **UNBUFFERED) as stack:
            jupyter_files(stack)
            asyncio.run(jupyter_kernel(stack))
        assert "ipykernel" not in processes(stack)


def jupyter_files(stack: Stack) -> None:
    clients = [Client(stack, Authorization="token secret") for _ in range(10)]
    files: dict[str, str] = {}

    def put(client: Client, name: str, content: str, amid: Callable[[], None] | None) -> None:
        model = {"type": "file", "format": "text", "content": content}
        client.ask("PUT", f"/api/contents/{name}", json.dumps(model).encode(), amid, 201)

    def edit(number: int, turn: int) -> None:
        client, name = clients[number], f"{number}-{turn}"
        put(client, f"{name}.part", name, None)
        # nginx would ask for neither of these twice.
        client.ask("POST", f"/api/contents/{name}.part/checkpoints", status=201)
        path = json.dumps({"path": f"{name}.txt"}).encode()
        client.ask("PATCH", f"/api/contents/{name}.part", path)
        found = client.ask("GET", f"/api/contents/{name}.txt?content=1")
        assert json.loads(found.body)["content"] == name
        files[f"{name}.txt"] = name

    def upload(turn: int) -> None:
        name, content = f"upload-{turn}.txt", f"{turn} " * 1_000_000
        put(clients[-1], name, content, pause)
        files[name] = content

    rolled(stack, *quick(9, edit), upload)
    assert met(stack) > 0
    assert len(files) > 100
    found = {p.name: p.read_text() for p in (stack.home / "data").glob("*.txt")}
    assert found == files


def processes(stack: Stack) -> str:
    """What runs in the stack's home."""
    lines = os.popen("ps -ewwo args").read().splitlines()
    return "\n".join(line for line in lines if str(stack.home) in line)


async def jupyter_kernel(stack: Stack) -> None:
    client = Client(stack, Authorization="token secret")
    kernel = json.loads(client.ask("POST", "/api/kernels", b"{}", status=201).body)["id"]
    async with client.websocket(f"/api/kernels/{kernel}/channels") as websocket:

        async def execute(code: str, until: str) -> None:
            header = {"msg_id": code, "msg_type": "execute_request", "session": "", "username": ""}
            header |= {"version": "5.3"}
            content = {"code": code, "silent": False, "store_history": False}
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
            await websocket.send_json(message | {"channel": "shell", "buffers": []})
            while (await websocket.receive_json())["msg_type"] != until:
                pass

        await execute("x = 41", "execute_reply")
        await execute("import time; time.sleep(60)", "execute_input")
        assert kernel in processes(stack)
        roll = asyncio.create_task(asyncio.to_thread(stack.ctl, "restart"))
        while (message := await websocket.receive()).type != aiohttp.WSMsgType.CLOSE:
            assert message.type == aiohttp.WSMsgType.TEXT
        assert message.data == 1001
    await roll
    client.ask("GET", f"/api/kernels/{kernel}", status=404)
    assert kernel not in processes(stack)
    client.ask("POST", "/api/kernels", b"{}", status=201)


# thumbor


def png(width: int, height: int) -> bytes:
    """A white image."""
    rows = zlib.compress((b"\0" + b"\xff" * 3 * width) * height)
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@contextmanager
def images() -> Iterator[tuple[int, Counter[str]]]:
    """A source of images, some of them slow: its port, and how often it was asked for each."""
    asked: Counter[str] = Counter()
    image = png(800, 600)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked[self.path] += 1
            if "slow" in self.path:
                time.sleep(LONG)
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(image)))
            self.end_headers()
            self.wfile.write(image)

        def log_message(self, *arguments: object) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def thumbor() -> None:
    """Images, some of them of a slow source."""
    with recipe("thumbor", 9643, vault_thumbor_security_key="key") as stack, images() as source:
        port, asked = source
        clients = [Client(stack) for _ in range(12)]

        def resize(number: int, name: str) -> None:
            path = f"{width}x60/{quote(f'http://127.0.0.1:{port}/{name}.png', safe='')}"
            digest = hmac.digest(b"key", path.encode(), hashlib.sha1)
            signed = base64.urlsafe_b64encode(digest).decode()
            image = clients[number].ask("GET", f"/{signed}/{path}").body
            assert struct.unpack(">2I", image[16:24]) == (width, 60)
            assert image.endswith(b"IEND\xaeB`\x82")

        width = 80
        fast = quick(10, lambda number, turn: resize(number, f"{number}-{turn}"))
        slow = [
            lambda turn, number=number: resize(number, f"slow-{number}-{turn}")
            for number in (10, 11)
        ]
        counts = rolled(stack, *fast, *slow)
        assert met(stack) > 0
        # Each is another one, so a request that was cut and that nginx asked again shows here.
        assert set(asked.values()) == {1}
        assert len(asked) == sum(counts) > 100
        clients[0].ask("GET", "/unsafe/80x60/example.org", status=400)


# Flower


@contextmanager
def broker() -> Iterator[int]:
    """A Redis, on a port of its own."""
    [port] = free_ports(1)
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --save"
    redis = subprocess.Popen(["redis-server", *options.split(), ""], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        redis.terminate()
        redis.wait()


def flower() -> None:
    """Pages and the API; each task is sent once."""
    secrets = {"vault_flower_basic_auth": "user:password"}
    authorization = f"Basic {base64.b64encode(b'user:password').decode()}"
    with broker() as port:
        secrets["vault_celery_broker_url"] = f"redis://127.0.0.1:{port}/0"
        with recipe("flower", 9663, **secrets) as stack:
            clients = [Client(stack, Authorization=authorization) for _ in range(12)]
            sent: list[str] = []

            def send(number: int, amid: Callable[[], None] | None) -> None:
                body = json.dumps({"args": [number, "x" * 1000]}).encode()
                path = "/api/task/send-task/tasks.add"
                answer = clients[number].ask("POST", path, body, amid)
                sent.append(json.loads(answer.body)["task-id"])

            def use(number: int, turn: int) -> None:
                send(number, None)
                page = clients[number].ask("GET", "/workers").body
                assert page.rstrip().endswith(b"</html>")

            def refresh(turn: int) -> None:
                # It asks the workers, and waits a second for them.
                assert clients[10].ask("GET", "/api/workers?refresh=1").body == b"{}"

            rolled(stack, *quick(10, use), refresh, lambda turn: send(11, pause), rolls=3)
            assert met(stack) > 0
            queue = subprocess.run(
                ["redis-cli", "-p", str(port), "lrange", "celery", "0", "-1"],
                capture_output=True,
                check=True,
            )
            tasks = Counter(json.loads(line)["headers"]["id"] for line in queue.stdout.splitlines())
            assert tasks == Counter(sent)
            assert len(sent) > 100
            Client(stack).ask("GET", "/workers", status=401)


# All of them at the same time: what a roll takes is mostly waiting.

RECIPES = {recipe.__name__: recipe for recipe in (bokeh, jupyter, thumbor, flower)}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[None]]]:
    """Those that are to be tested, running."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    names = [str(i.callspec.params["name"]) for i in items if i.module is request.module]
    with ThreadPoolExecutor(len(names)) as threads:
        yield {name: threads.submit(RECIPES[name]) for name in names}


@pytest.mark.parametrize("name", RECIPES)
def test_rolls_under_load(runs: dict[str, Future[None]], name: str) -> None:
    runs[name].result()
