"""What the clients ask of the demo app, for servers that are not Tornado's."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Message = dict[str, Any]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Answer as `demo_app.handlers` does."""
    if scope["type"] != "http":
        return
    query = parse_qs(scope["query_string"].decode())
    who = {"port": 0, "pid": os.getpid(), "release": ""}
    status, answer = 200, dict[str, Any]()
    match scope["path"]:
        case "/hello":
            answer = {"hello": "world"}
        case "/slow":
            seconds = float(query["seconds"][0])
            await asyncio.sleep(seconds)
            answer = {"slept": seconds}
        case "/orders":
            status, answer = 201, {"id": query["id"][0]}
            write_down(answer)
        case _:
            status = 404
    body = json.dumps(answer | who).encode()
    headers = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def write_down(order: Message) -> None:
    """Keep an order in the journal, as `demo_app.handlers.Orders` does."""
    with Path(f"orders-0-{os.getpid()}.jsonl").open("a", encoding="utf-8") as lines:
        print(json.dumps(order | {"time": time.time(), "request_id": ""}), file=lines)
