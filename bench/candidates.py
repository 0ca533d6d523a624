"""What is compared: each is started, rolled and stopped in its own way, behind the same nginx."""

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psutil
import tornado

from tests.support.home import CONDUCTOR, role_of
from tests.support.paths import ROOT
from tests.support.role import Role
from tests.support.stack import Stack

BIN = Path(sys.executable).parent
PROCESSES = 3

# As the Stack has them: nginx listens two below the first process.
BASE_PORT = 9103
# Of what is compared in turn, above as many processes as there may be.
OTHER_PORT = 9183

# Seconds for a start, a roll or a stop, which are to take less.
PATIENCE = 120.0

# The role's, for the nginx of all. So that the clients see what it had to ask for twice.
NGINX: dict[str, Any] = {
    "tornado_app_nginx_extra": "add_header X-Upstream-Status $upstream_status always;"
}


class Candidate:
    """One way to serve the app.

    Args:
        base_port: of its first process.

    Attributes:
        name: of it, in tables.
        how: what it is, in a line.
        port: where nginx listens.
        folder: where all of it is; `data` in it is where its processes write what they did.
    """

    name: str
    how: str

    def __init__(self, base_port: int = BASE_PORT) -> None:
        self.base_port = base_port
        self.port = base_port - 2
        self.folder = ROOT / f".run/bench-{self.name}"

    @property
    def data(self) -> Path:
        """Where the orders are written down."""
        return self.folder / "data"

    def start(self) -> None:
        """Serve, from nothing; returns once it answers through nginx."""
        raise NotImplementedError

    def roll(self) -> None:
        """Replace every process; returns once that is done."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave nothing running; does nothing where nothing runs."""
        raise NotImplementedError

    def processes(self) -> list[psutil.Process]:
        """All that belongs to it, nginx and whatever rolls it included."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() != "wrk":
                    found.append(process)
        return found


class Kit(Candidate):
    """The kit, deployed by its role and rolled by its conductor."""

    def __init__(self, listener: str, how: str) -> None:
        self.name, self.how = f"kit-{listener}", how
        super().__init__()
        # The Tornado that all the others have, and like them no metrics.
        packages = ["./app", "./app/demo_app", f"tornado=={tornado.version}"]
        self.stack = Stack(
            "bench",
            self.base_port,
            tornado_app_listener=listener,
            tornado_app_packages=packages,
            tornado_app_processes=PROCESSES,
            # Many that start at once on few cores.
            tornado_app_ready_timeout=120,
        )
        self.folder = self.stack.home

    def start(self, processes: int = PROCESSES) -> None:
        if not self.folder.exists():
            self.stack.share_tools()
        self.stack.playbook(tornado_app_processes=processes, **NGINX)
        answers(self.port)

    def roll(self, batch: str = "1") -> None:
        self.stack.ctl("restart", "--batch", batch)

    def stop(self) -> None:
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            self.supervisord()
            self.stack.ctl("shutdown")

    def processes(self) -> list[psutil.Process]:
        supervisord = self.supervisord()
        return [*super().processes(), supervisord, *supervisord.children(recursive=True)]

    def supervisord(self) -> psutil.Process:
        """The process that runs all others."""
        return psutil.Process(int((self.folder / "run/supervisord.pid").read_text()))


class Peer(Candidate):
    """What is not this kit: nginx as the role configures it, and a server of its own behind it.

    Attributes:
        nginx: the role's variables for its own.
    """

    nginx: ClassVar[dict[str, Any]] = {}

    def __init__(self, base_port: int = BASE_PORT) -> None:
        super().__init__(base_port)
        self.running: list[subprocess.Popen[bytes]] = []

    @property
    def listen(self) -> list[str]:
        """What nginx has as upstream: by default one socket that all workers share."""
        return [f"unix:{self.folder}/app.sock"]

    def serve(self) -> None:
        """Start what is behind nginx."""
        raise NotImplementedError

    def start(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("data", "log", "run", "nginx/temporary"):
            (self.folder / name).mkdir(parents=True)
        self.serve()
        role = Role(
            ansible_facts={
                "processor_nproc": len(os.sched_getaffinity(0)),
                "user_id": getpass.getuser(),
                "user_gid": 0,
            },
            tornado_app_home=str(self.folder),
            tornado_app_rootless=True,
            tornado_app_nginx_listen=f"127.0.0.1:{self.port}",
            tornado_app_nginx_supervised=False,
            __tornado_app_nginx_endpoints=self.listen,
            __tornado_app_nginx_includes=[str(self.folder / "nginx/site.conf")],
            **NGINX,
            **self.nginx,
        )
        (self.folder / "nginx/site.conf").write_text(role.render("nginx_site.conf.j2"))
        configuration = self.folder / "nginx/nginx.conf"
        configuration.write_text(role.render("nginx.conf.j2"))
        self.run(["nginx", "-c", str(configuration), "-g", "daemon off;"])
        answers(self.port)

    def run(self, command: Sequence[str]) -> int:
        """Start a program that stays, with its output in the log; returns its pid."""
        with (self.folder / f"log/{Path(command[0]).name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.data,
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/app"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)
        return process.pid

    def stop(self) -> None:
        while self.running:
            process = self.running.pop()
            family = [process, *psutil.Process(process.pid).children(recursive=True)]
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for member in family[1:]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()


class Recipe(Peer):
    """One process per port under supervisord, restarted in turn."""

    name = "recipe"
    how = "server.stop(), wait for in-flight, exit; a new upstream connection per request"
    nginx: ClassVar[dict[str, Any]] = {"tornado_app_nginx_upstream_keepalive": 0}

    @property
    def listen(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    def serve(self) -> None:
        text = role_of(self.folder).render("supervisord.conf.j2")
        (self.folder / "supervisord.conf").write_text(text)
        programs = "".join(
            f"[program:app-{port}]\n"
            f"command={sys.executable} -m bench.recipe {port}\n"
            f"stopwaitsecs=35\nredirect_stderr=true\nstdout_logfile={self.folder}/log/{port}.log\n"
            for port in self.ports
        )
        (self.folder / "current").write_text(programs)
        program = [sys.executable, str(CONDUCTOR / "supervisord.py"), "--nodaemon"]
        self.run([*program, "-c", str(self.folder / "supervisord.conf")])

    @property
    def ports(self) -> list[int]:
        """Of the processes."""
        return list(range(self.base_port, self.base_port + PROCESSES))

    def roll(self) -> None:
        ctl = f"{BIN}/supervisorctl -c {self.folder}/supervisord.conf restart".split()
        for port in self.ports:
            subprocess.run([*ctl, f"app-{port}"], check=True, capture_output=True)
            answers(port)


class RecipeKeepalive(Recipe):
    """The same, with nginx as the kit configures it."""

    name = "recipe-keepalive"
    how = "the same, upstream connections kept alive as the kit does"
    nginx: ClassVar[dict[str, Any]] = {}


class Master(Peer):
    """A server that replaces its own workers when told so by SIGHUP."""

    command: str

    def serve(self) -> None:
        words = self.command.format(home=self.folder, processes=PROCESSES).split()
        self.master = self.run([str(BIN / words[0]), *words[1:]])

    def workers(self) -> set[int]:
        """The pids of the workers."""
        found = set()
        for child in psutil.Process(self.master).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                # multiprocessing has a child of its own.
                if "resource_tracker" not in " ".join(child.cmdline()):
                    found.add(child.pid)
        return found

    def reload(self) -> None:
        """Tell it to replace its workers."""
        os.kill(self.master, signal.SIGHUP)

    def roll(self) -> None:
        before = self.workers()
        self.reload()
        until(
            lambda: len(self.workers()) >= PROCESSES and not before & self.workers(),
            f"{self.name}: the workers are not replaced",
        )


class Gunicorn(Master):
    """gunicorn with uvicorn's worker."""

    name = "gunicorn"
    how = "gunicorn, uvicorn workers, an ASGI app in place of Tornado's; kill -HUP"
    command = (
        "gunicorn --bind unix:{home}/app.sock --workers {processes} --graceful-timeout 30 "
        "--keep-alive 75 --worker-class uvicorn_worker.UvicornWorker bench.asgi:app"
    )


class Uvicorn(Master):
    """uvicorn with workers of its own."""

    name = "uvicorn"
    how = "uvicorn --workers, the same ASGI app; kill -HUP"
    command = (
        "uvicorn --uds {home}/app.sock --workers {processes} --timeout-graceful-shutdown 30 "
        "--timeout-keep-alive 75 --no-access-log --log-level warning bench.asgi:app"
    )


class Granian(Master):
    """granian."""

    name = "granian"
    how = "granian --workers, the same ASGI app; kill -HUP"
    command = (
        "granian --uds {home}/app.sock --workers {processes} --interface asgi "
        "--workers-kill-timeout 30 --no-access-log --log-level warning bench.asgi:app"
    )


class Circus(Master):
    """circus, which gives the recipe's app a socket that stays open."""

    name = "circus"
    how = "circus, one shared socket, the recipe's app, circusctl reload"
    command = "circusd {home}/circus.ini"

    def serve(self) -> None:
        (self.folder / "circus.ini").write_text(
            f"[circus]\nendpoint = ipc://{self.folder}/run/ctl\n"
            f"pubsub_endpoint = ipc://{self.folder}/run/pub\n"
            f"[socket:app]\npath = {self.folder}/app.sock\n"
            "[watcher:app]\n"
            f"cmd = {sys.executable} -m bench.recipe fd:$(circus.sockets.app)\n"
            f"use_sockets = true\ncopy_env = true\nnumprocesses = {PROCESSES}\n"
            f"graceful_timeout = 35\nworking_dir = {self.data}\n"
        )
        super().serve()

    def reload(self) -> None:
        ctl = f"{BIN}/circusctl --timeout 60 --endpoint ipc://{self.folder}/run/ctl reload app"
        subprocess.run(ctl.split(), check=True, capture_output=True)


def candidates() -> list[Candidate]:
    """All of them, in the order of the table; the first is what the others are measured by."""
    return [
        Recipe(),
        RecipeKeepalive(),
        Kit("port", "this kit, on TCP ports"),
        Kit("unix", "this kit, on unix sockets"),
        Gunicorn(),
        Uvicorn(),
        Granian(),
        Circus(),
    ]


def answers(port: int) -> None:
    """Wait until GET /hello is answered."""
    url = f"http://127.0.0.1:{port}/hello"

    def answered() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    until(answered, f"{url} does not answer")


def until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait for a condition; raises `TimeoutError` with the text otherwise."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.05)
