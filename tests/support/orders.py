"""Clients that post orders, each of which is to happen exactly once."""

import asyncio
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass

import aiohttp

from tests.support.stack import Stack


@dataclass
class Order:
    """What a customer was told of one order: status 0 is a cut connection. Times are monotonic.

    `connected` is when the connection was made that it was sent on.
    """

    id: str
    began: float
    ended: float
    status: int
    request_id: str = ""
    error: str = ""
    connected: float = 0


class Customers:
    """Within this context, clients order one thing after the other, each on one connection.

    Args:
        stack: what they ask, through nginx.
        clients: how many there are.
    """

    def __init__(self, stack: Stack, clients: int = 20) -> None:
        self.stack = stack
        self.clients = clients
        self.orders: list[Order] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Customers":
        self._thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *exception: object) -> None:
        time.sleep(1)
        self._stop.set()
        self._thread.join()

    def failed(self) -> list[Order]:
        """The orders that were not acknowledged; asserts that no other is lost, and none twice."""
        mine = {order.id for order in self.orders}
        executed = Counter(order for order in self.stack.orders() if order in mine)
        acknowledged = {order.id for order in self.orders if order.status == 201}
        assert [order for order, times in executed.items() if times > 1] == []
        assert acknowledged - executed.keys() == set()
        assert len(acknowledged) > 100
        return [order for order in self.orders if order.status != 201]

    async def _run(self) -> None:
        await asyncio.gather(*(self._order() for _ in range(self.clients)))

    async def _order(self) -> None:
        # aiohttp repeats no POST; nor would it be one that happens once.
        connected = 0.0

        async def note(*_: object) -> None:
            nonlocal connected
            connected = time.monotonic()

        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(note)
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
            while not self._stop.is_set():
                order = Order(uuid.uuid4().hex, time.monotonic(), 0, 0)
                url = f"http://127.0.0.1:{self.stack.port}/orders?id={order.id}"
                try:
                    async with session.post(url) as answer:
                        await answer.read()
                        order.request_id = answer.headers["X-Request-ID"]
                        order.status = answer.status
                except aiohttp.ClientError as error:
                    order.error = repr(error)
                order.ended = time.monotonic()
                order.connected = connected
                self.orders.append(order)
                await asyncio.sleep(0.1)
