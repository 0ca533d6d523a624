"""One question to one process, over HTTP."""

import asyncio

# Seconds that a process may at least take to answer whether it is ready, its loop being busy.
PROBE_TIMEOUT = 10.0


async def ask(listen: str, path: str, timeout: float = PROBE_TIMEOUT) -> tuple[int, bytes]:
    """GET `path` from a process.

    Args:
        listen: its address, ``host:port`` or ``unix:/path``.
        path: the request target.
        timeout: seconds for the whole exchange.

    Returns:
        The status and the body; status 0 where there is no whole answer in time.
    """
    try:
        async with asyncio.timeout(timeout):
            if listen.startswith("unix:"):
                reader, writer = await asyncio.open_unix_connection(listen.removeprefix("unix:"))
            else:
                host, _, port = listen.rpartition(":")
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            return int(head.split(None, 2)[1]), body
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0, b""
