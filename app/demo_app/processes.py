"""Which processes there are, and how each says that it is.

Each keeps a file in the working directory, which they share: its first line says who it is, another
one that it drains, for then it takes no connection on which one could ask. As long as it lives it
holds a lock on the file, so that one that crashed is known from one that starts.
"""

import asyncio
import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tornado_drain

# Seconds for an answer: a process whose loop is blocked for longer is shown without numbers.
PATIENCE = 1.0

Record = dict[str, Any]


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Keep this process's file until it has drained; one that crashes leaves it."""
    settings = tornado_drain.Settings.from_environment()
    for old in _files(str(settings.port)):
        old.unlink(missing_ok=True)
    path = Path(f"process-{settings.port}-{os.getpid()}.jsonl")
    with path.open("w", encoding="utf-8", buffering=1) as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)
        who = {"port": settings.port, "pid": os.getpid(), "release": settings.release}
        print(json.dumps(who | {"listen": settings.listen}), file=lines)
        with tornado_drain.on_drain(lambda: print('{"state": "draining"}', file=lines)):
            yield
        path.unlink(missing_ok=True)


async def look() -> list[Record]:
    """One record per process, by port; ``state`` is serving, draining, starting or down."""
    answers = await asyncio.gather(*map(_registered, _files()))
    found = {record["listen"]: record for record in answers if record}
    # Those that have another working directory, or none that they can write.
    others = set(os.environ.get("TORNADO_DRAIN_PEERS", "").split()) - set(found)
    found |= {listen: await _other(listen) for listen in others}
    return sorted(found.values(), key=lambda record: (record["port"], record["listen"]))


def _files(port: str = "*") -> list[Path]:
    return list(Path().glob(f"process-{port}-*.jsonl"))


async def _registered(path: Path) -> Record | None:
    record = _read(path)
    if record is None or record["state"] in ("draining", "down"):
        return record
    try:
        status = await _status(record["listen"])
        # Asked just as it began to drain: the next time there would be no numbers.
        return record | ({"state": "draining"} if status["state"] == "draining" else status)
    except TimeoutError:
        late = _read(path) or record
        return late | ({"state": "serving"} if late["state"] == "starting" else {})
    except (OSError, ValueError, KeyError):
        # It may have begun to drain since.
        return _read(path) or record


async def _other(listen: str) -> Record:
    port = Path(listen).stem if listen.startswith("unix:") else listen.rpartition(":")[2]
    record = {"port": int(port) if port.isdecimal() else 0, "listen": listen, "state": "down"}
    with contextlib.suppress(OSError, ValueError, KeyError):
        record |= await _status(listen)
    return record


def _read(path: Path) -> Record | None:
    """What a process has said in its file, or None where it has not yet or has left."""
    record: Record = {"state": "starting"}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                record |= json.loads(line)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lines, fcntl.LOCK_SH | fcntl.LOCK_NB)
                record["state"] = "down"
    except (OSError, ValueError):
        return None
    return record if "listen" in record else None


async def _status(listen: str) -> Record:
    async with asyncio.timeout(PATIENCE):
        ready, status = await asyncio.gather(_ask(listen, "/-/ready"), _ask(listen, "/-/status"))
    if status["state"] == "serving" and not ready["ready"]:
        status["state"] = "starting"
    return status


async def _ask(listen: str, path: str) -> Record:
    if listen.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(listen.removeprefix("unix:"))
    else:
        host, _, port = listen.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        # HTTP/1.0: the connection ends with the answer, so that no drain has to wait for it.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer: Record = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        return answer
    finally:
        writer.close()
