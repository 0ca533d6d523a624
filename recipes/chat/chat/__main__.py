"""``python -m chat``: one process, where the environment says."""

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import ClassVar

import tornado_drain
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

# Seconds between two looks for what any process has stored.
LOOK = 0.05

# Messages that who comes new is shown, and bytes that one may have.
SHOWN, LONGEST = 50, 4000


class Messages:
    """What was said, in the order of its numbers, for all processes in one file."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, timeout=5, isolation_level=None)
        # Neither waits for the disk at each message nor for who reads.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT,"
            " key TEXT UNIQUE NOT NULL, text TEXT NOT NULL)"
        )

    def add(self, key: str, text: str) -> None:
        """Store a message, unless one with this key is there: its sender had no answer then."""
        insert = "INSERT INTO messages (key, text) VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._database.execute(insert, (key, text))

    def after(self, number: int) -> list[tuple[int, str, str]]:
        """Number, key and text of each message past `number`."""
        select = "SELECT number, key, text FROM messages WHERE number > ? ORDER BY number"
        return self._database.execute(select, (number,)).fetchall()

    def newest(self) -> int:
        """The last number."""
        [(number,)] = self._database.execute("SELECT max(number) FROM messages")
        return number or 0


class Page(RequestHandler):
    """The client."""

    def get(self) -> None:
        self.set_header("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'")
        self.render("page.html")


class Chat(WebSocketHandler):
    """One client; ``?after=`` is the last number that it has."""

    messages: ClassVar[Messages]
    here: ClassVar[set["Chat"]] = set()

    def open(self, *args: str, **kwargs: str) -> None:
        after, newest = self.get_query_argument("after", ""), self.messages.newest()
        self.seen = min(int(after), newest) if after.isdecimal() else max(newest - SHOWN, 0)
        self.here.add(self)
        self.look()

    def on_message(self, message: str | bytes) -> None:
        try:
            said = json.loads(message)
            key, text = str(said["key"]), str(said["text"])
        except (ValueError, KeyError, TypeError):
            self.close(1003, 'expected {"key": ..., "text": ...}')
            return
        self.messages.add(key, text)

    def on_close(self) -> None:
        self.here.discard(self)

    def look(self) -> None:
        """Send what is new; its own messages among it tell a client that they are stored."""
        for number, key, text in self.messages.after(self.seen):
            with contextlib.suppress(WebSocketClosedError):
                self.write_message({"number": number, "key": key, "text": text})
            self.seen = number


async def look() -> None:
    """Look for what is new, on behalf of all clients of this process."""
    while True:
        await asyncio.sleep(LOOK)
        newest = Chat.messages.newest()
        for chat in list(Chat.here):
            if chat.seen < newest:
                chat.look()


async def main() -> None:
    """Serve until told to leave."""
    Chat.messages = Messages("chat.sqlite")
    looking = asyncio.create_task(look())
    here = Path(__file__).parent
    await tornado_drain.serve(
        Application(
            [("/", Page), ("/chat", Chat)],
            template_path=here,
            static_path=here / "static",
            websocket_max_message_size=LONGEST,
        )
    )
    looking.cancel()


if __name__ == "__main__":
    tornado_drain.basic_config()
    asyncio.run(main())
