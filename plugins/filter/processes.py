"""The filter `processes`: what the processes of an app are called and where they listen."""

from collections.abc import Callable, Iterable
from typing import Any


def processes(
    ports: Iterable[int], name: str, listener: str, run: str, log: str
) -> list[dict[str, Any]]:
    """Describe the processes of an app.

    Args:
        ports: one for each process, its identity also on a unix socket.
        name: the app's.
        listener: ``port`` or ``unix``.
        run: the folder of the sockets.
        log: the folder of the logs.

    Returns:
        For each its ``name``, ``port``, ``listen`` (``127.0.0.1:<port>`` or ``unix:<path>``) and
        ``log`` (the file).
    """
    return [
        {
            "name": f"{name}-{port}",
            "port": int(port),
            "listen": f"unix:{run}/{port}.sock" if listener == "unix" else f"127.0.0.1:{port}",
            "log": f"{log}/{name}-{port}.log",
        }
        for port in ports
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"processes": processes}
