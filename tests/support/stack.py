"""The local stack, deployed by the real playbook into a home of its own, and wrk as its clients."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.paths import BIN, ROOT

# What 100 clients ask that leave the playbook its share of the machine.
LIGHT = "/slow?seconds=1"


@dataclass
class Load:
    """What wrk's clients saw."""

    requests: int = 0
    per_second: float = 0
    failed: int = -1
    cut: int = -1
    output: str = ""


def run(command: Sequence[str], environment: dict[str, str], code: int) -> str:
    """Run a command from the top of the project, check its exit code, return what it printed."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate()
    finally:
        # Interrupted: Ansible, unless it is killed, ends its workers too.
        process.terminate()
        process.wait()
    assert process.returncode == code, output
    return output


class Stack:
    """An app that is deployed on this machine.

    Args:
        name: of the app.
        base_port: of its first process; the one before is for the trial, nginx has the one before.
        variables: of the role, for every run of the playbook.
    """

    def __init__(self, name: str, base_port: int, **variables: Any) -> None:
        self.home = Path(variables.get("tornado_app_home", ROOT / ".run" / name))
        self.port = base_port - 2
        self.variables = {
            "tornado_app_name": name,
            "tornado_app_base_port": base_port,
            "tornado_app_nginx_listen": f"127.0.0.1:{self.port}",
            "tornado_app_processes": 3,
            "tornado_app_trial": 1,
        } | variables

    @contextmanager
    def deployed(self, tools: str | None = sys.prefix) -> Iterator[Self]:
        """Within this context it is up; after it, nothing of it is left.

        Args:
            tools: a virtual environment with supervisor, which spares the role making one; None
                does not.
        """
        if self.home.exists():  # of a run that was interrupted
            self.playbook(tornado_app_state="absent")
        if tools is not None:
            self.share_tools(tools)
        try:
            self.playbook()
            yield self
            if self.home.exists():  # no test has removed it
                # A reload must not meet an nginx that is only starting.
                assert "terminated by SIGHUP" not in (self.home / "log/supervisord.log").read_text()
                self.ctl("shutdown")
                self._remove_home()
        finally:
            if self.home.exists():
                self.playbook(tornado_app_state="absent")
        assert str(self.home) not in os.popen("ps -eo args").read()

    def share_tools(self, tools: str = sys.prefix) -> None:
        """Give a new home the tools that are here, as `deployed` does."""
        (self.home / "configurations").mkdir(parents=True)  # by which the role knows its home
        (self.home / "tools").symlink_to(tools)

    def _remove_home(self) -> None:
        """Remove it but for its logs, which may have to explain a failure."""
        logs = ROOT / ".cache/logs" / self.home.name
        shutil.rmtree(logs, ignore_errors=True)
        logs.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.home / "log", logs)
        shutil.rmtree(self.home)

    def command(self, *arguments: str, **variables: Any) -> list[str]:
        """The command line of the playbook."""
        extra = json.dumps(self.variables | variables)
        start = [str(BIN / "ansible-playbook"), "-i", "inventory/local", "site.yml", "-e", extra]
        return [*start, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """Of the playbook, as the Makefile has it."""
        cache = ROOT / ".cache"
        # An unbuffered stderr hides what a signal amid a log line does to a buffered one.
        own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        return own | {"ANSIBLE_HOME": str(cache / "ansible"), "XDG_CACHE_HOME": str(cache)}

    def playbook(self, *arguments: str, code: int = 0, **variables: Any) -> str:
        """Run the playbook, check its exit code, return what it printed."""
        return run(self.command(*arguments, **variables), self.environment, code)

    def start_playbook(self, **variables: Any) -> subprocess.Popen[bytes]:
        """Start the playbook in a process group of its own."""
        return subprocess.Popen(
            self.command(**variables),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ctl(self, *arguments: str, code: int = 0) -> str:
        """Run the app's ctl, check its exit code, return what it printed."""
        [program] = (self.home / "bin").glob("*-ctl")
        return run([str(program), *arguments], self.environment, code)

    def status(self) -> dict[str, Any]:
        """What `status` says."""
        answer: dict[str, Any] = json.loads(self.ctl("--json", "status"))
        return answer

    def current(self) -> str:
        """The id of the configuration that should run."""
        return (self.home / "current").readlink().stem

    def orders(self) -> list[str]:
        """The ids of all orders that the demo app has executed."""
        journals = (self.home / "data").glob("orders-*.jsonl")
        return [json.loads(line)["id"] for j in journals for line in j.read_text().splitlines()]

    def access_log(self) -> list[dict[str, Any]]:
        """What nginx has logged; it writes a line within a second or so."""
        name = self.variables["tornado_app_name"]
        log = (self.home / f"log/{name}-access.log").read_text()
        return [json.loads(line) for line in log.splitlines()]

    def happened(self, event: str, since: float) -> bool:
        """Whether the journal knows of an event since then."""
        journal = (self.home / "log/rolling_restart.jsonl").read_text().splitlines()
        events = (json.loads(line) for line in journal)
        return any(e["event"] == event and e["time"] >= since for e in events)

    def get(
        self, path: str, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        """Ask through nginx; returns status, body and headers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    @contextmanager
    def load(
        self, path: str = "/hello", clients: int = 100, script: str = "half_posts"
    ) -> Iterator[Load]:
        """Within this context clients ask; see `wrk`."""
        with wrk(self.port, path, clients, script=script) as found:
            yield found


@contextmanager
def wrk(
    port: int,
    path: str = "/hello",
    clients: int = 100,
    *,
    host: str = "127.0.0.1",
    post: bool = True,
    script: str = "half_posts",
) -> Iterator[Load]:
    """Within this context keepalive clients ask, half of it POST; after it the numbers are in.

    `script` says how: half_posts.lua or sticky.lua.

    A failure is an answer that is not 2xx, or a socket error; of these, `cut` were connections that
    nginx closed without an answer.
    """
    process = subprocess.Popen(
        [
            *("wrk", "-t2", f"-c{clients}", "-d3600", "--timeout", "30"),
            *(["-s", f"tests/support/{script}.lua"] if post else []),
            f"http://{host}:{port}{path}",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    found = Load()
    try:
        time.sleep(1)
        yield found
        time.sleep(1)
    finally:
        process.send_signal(2)
        found.output, _ = process.communicate()
        total = re.search(r"(\d+) requests in", found.output)
        found.requests = int(total[1]) if total else 0
        rate = re.search(r"Requests/sec: +([\d.]+)", found.output)
        found.per_second = float(rate[1]) if rate else 0
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", found.output)
        errors = re.search(r"Socket errors: (.*)", found.output)
        found.failed = int(bad[1]) if bad else 0
        found.failed += sum(map(int, re.findall(r"\d+", errors[1]))) if errors else 0
        cut = re.search(r"read (\d+)", errors[1]) if errors else None
        found.cut = int(cut[1]) if cut else 0


def children(pid: int) -> set[int]:
    """The processes that a process has started."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def changed(output: str) -> int:
    """How many tasks changed something, by the recap."""
    found = re.search(r"^localhost .*changed=(\d+)", output, re.MULTILINE)
    assert found, output
    return int(found[1])
