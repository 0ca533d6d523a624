"""100 keepalive clients that never pause and 10 that ask for what takes half a second, by wrk.

None retries. They check every body and keep the id of each order that was acknowledged, so that
it can be compared with what the processes executed.
"""

import json
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent

CLIENTS = {"quick": 100, "slow": 10}

# Seconds by which the last order has an answer, or will have none: nginx has given up.
LAST = 65.0


@dataclass
class Seen:
    """What the clients saw; it is filled in when they have left.

    Attributes:
        requests: that were answered, in `seconds`.
        failed: not the right status and whole body, or no answer.
        retried: answered by a second process, the first having failed nginx.
        orders: sent.
        lost: of these, not acknowledged, or acknowledged and not executed.
        twice: executed more than once.
        p50_ms: of the quick clients; so is `p99_ms`.
        cores: what the clients themselves used of the machine.
        why: what was wrong with the first of those that failed.
    """

    folder: Path
    requests: int = 0
    seconds: float = 0
    failed: int = 0
    retried: int = 0
    orders: int = 0
    lost: int = 0
    twice: int = 0
    p50_ms: float = 0
    p99_ms: float = 0
    cores: float = 0
    why: str = ""

    def so_far(self) -> int:
        """How many requests were sent, as of the last second."""
        return sum(int(words[0]) for words in self._told() if words)

    def settle(self) -> None:
        """Let the clients send no more orders, and wait until those sent have their answers."""
        (self.folder / "closed").touch()
        deadline = time.monotonic() + LAST
        while time.monotonic() < deadline:
            pending = [words[1] for words in self._told() if len(words) == 2]
            if len(pending) == len(CLIENTS) and all(n != "open" and int(n) <= 0 for n in pending):
                return
            time.sleep(0.1)

    def _told(self) -> list[list[str]]:
        return [file.read_text().split() for file in self.folder.glob("requests-*")]


@contextmanager
def clients(port: int, folder: Path, run: str, data: Path) -> Iterator[Seen]:
    """Within this context the clients ask; after it the numbers are in.

    Args:
        port: of nginx.
        folder: for what they say; it is made anew.
        run: what the ids of their orders begin with; letters and digits, used once.
        data: where the processes keep their journals of orders.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seen = Seen(folder)
    running = {kind: start(kind, port, folder, run) for kind in CLIENTS}
    try:
        yield seen
        seen.settle()
        cpu = [psutil.Process(process.pid).cpu_times() for process in running.values()]
    finally:
        for process in running.values():
            process.send_signal(signal.SIGINT)
        said = {kind: process.communicate()[0] for kind, process in running.items()}
    counts = {kind: json.loads(text.splitlines()[-1]) for kind, text in said.items()}
    for name in ("requests", "failed", "retried", "orders"):
        setattr(seen, name, sum(count[name] for count in counts.values()))
    for name in ("seconds", "p50_ms", "p99_ms"):
        setattr(seen, name, counts["quick"][name])
    seen.cores = sum(times.user + times.system for times in cpu) / seen.seconds
    seen.why = "".join((folder / f"{kind}.log").read_text() for kind in CLIENTS)[:200]
    acknowledged = {i for file in folder.glob("acknowledged-*") for i in file.read_text().split()}
    executed = Counter(i for i in orders(data) if i.startswith(f"{run}-"))
    seen.lost = seen.orders - len(acknowledged & executed.keys())
    seen.twice = sum(times > 1 for times in executed.values())


def start(kind: str, port: int, folder: Path, run: str) -> subprocess.Popen[str]:
    """Start the clients of one kind."""
    command = ["wrk", "-t1", f"-c{CLIENTS[kind]}", "-d24h", "--timeout", "60"]
    url = f"http://127.0.0.1:{port}"
    with (folder / f"{kind}.log").open("w") as log:
        return subprocess.Popen(
            [*command, "-s", "bench/clients.lua", url, "--", kind, str(folder), run],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def orders(data: Path) -> Iterator[str]:
    """The ids of all orders that the processes have executed, one by one."""
    for journal in data.glob("orders-*.jsonl"):
        with journal.open() as lines:
            for line in lines:
                yield json.loads(line)["id"]
