"""An app's home as the role lays it out, on real supervisord, for tests of the conductor."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.paths import PROGRAMS, ROLE, ROOT

CONDUCTOR = ROLE / "files/rolling_restart.py"

SUPERVISORD = """\
[unix_http_server]
file={home}/run/supervisor.sock
chmod=0700

[supervisord]
logfile={home}/log/supervisord.log
pidfile={home}/run/supervisord.pid
user={user}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{home}/run/supervisor.sock

[include]
files={home}/current {home}/trial.conf
"""

APP = """\
[tornado_app]
name=app
release={release}
ready_path={ready_path}
ready_status=200
ready_timeout={ready_timeout}
stop_timeout={stop_timeout}
trial=1
keep=3
"""

PROGRAM = """
[{section}]
command=/bin/sh -c '. "$0"; exec "$@"' {environment} {command}
environment=TORNADO_DRAIN_LISTEN="{listen}",TORNADO_DRAIN_PORT="{port}",TORNADO_DRAIN_RELEASE="{release}",TORNADO_DRAIN_MAX_WAIT="{max_wait}"
directory={home}/data
autostart=true
autorestart=true
startsecs=1
startretries=100
stopsignal=TERM
stopwaitsecs={stopwaitsecs}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={home}/log/{name}.log
"""


class Home:
    """One app's home.

    Args:
        path: where it is.
        ports: of the process on trial and of its processes.
        listener: ``port`` or ``unix``.
    """

    def __init__(self, path: Path, ports: list[int], listener: str = "port") -> None:
        self.path = path
        self.trial_port, *self.ports = ports
        self.listener = listener
        for folder in ("run", "log", "data", "configurations", "environments", "wheels"):
            (path / folder).mkdir(parents=True)
        text = SUPERVISORD.format(home=path, user=os.getuid())
        (path / "supervisord.conf").write_text(text)

    def listen(self, port: int) -> str:
        """A process's address."""
        if self.listener == "unix":
            return f"unix:{self.path}/run/{port}.sock"
        return f"127.0.0.1:{port}"

    def add(
        self,
        release: str,
        *,
        ports: list[int] | None = None,
        ready_path: str = "/-/ready",
        ready_timeout: float = 10,
        max_wait: float = 5,
        stopwaitsecs: float = 7,
        environment: dict[str, str] | None = None,
    ) -> str:
        """Write a configuration and what it names, as the role does; returns its id."""
        (self.path / "releases" / release).mkdir(parents=True, exist_ok=True)
        (self.path / "releases" / release / "requirements.txt").write_text("")
        exports = "".join(f"export {k}='{v}'\n" for k, v in (environment or {}).items())
        environment_file = self.path / "environments" / f"e{release}"
        environment_file.write_text(exports)
        text = APP.format(
            release=release,
            ready_path=ready_path,
            ready_timeout=ready_timeout,
            stop_timeout=stopwaitsecs + 3,
        )
        for port in [*(ports or self.ports), 0]:
            name = f"app-{port or 'trial'}"
            text += PROGRAM.format(
                section=f"program:{name}" if port else "trial",
                name=name,
                port=port or self.trial_port,
                environment=environment_file,
                # Names the release, as a path in it would.
                command=f"{sys.executable} {PROGRAMS}/app.py {self.path}/releases/{release}/",
                listen=self.listen(port or self.trial_port),
                release=release,
                max_wait=max_wait,
                stopwaitsecs=stopwaitsecs,
                home=self.path,
            )
        (self.path / "configurations" / f"{release}.conf").write_text(text)
        return release

    def start(self) -> None:
        """Start supervisord."""
        program = [sys.executable, str(ROLE / "files/supervisord.py")]
        subprocess.run(
            [*program, "-c", str(self.path / "supervisord.conf")],
            env=os.environ | {"PYTHONPATH": str(ROOT / "app")},
            check=True,
        )

    def shut_down(self) -> None:
        """Kill supervisord and all its processes."""
        try:
            pid = int((self.path / "run/supervisord.pid").read_text())
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGKILL)
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def command(self, *arguments: str) -> list[str]:
        """The command line of the conductor."""
        return [sys.executable, str(CONDUCTOR), "--home", str(self.path), *arguments]

    def ctl(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the conductor and check its exit code, unless `code` is None."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=120
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the conductor."""
        return subprocess.Popen(
            self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def status(self) -> list[dict[str, Any]]:
        """What `status --json` says of the processes."""
        records: list[dict[str, Any]] = json.loads(self.ctl("--json", "status", code=None).stdout)[
            "processes"
        ]
        return records

    def pids(self) -> dict[int, int]:
        """The pid of each port's process."""
        return {record["port"]: record["pid"] for record in self.status()}

    def releases(self) -> set[str]:
        """The releases that run."""
        return {record["release"] for record in self.status()}

    def pending(self, release: str) -> list[str]:
        """Why a rollout would do something."""
        why: list[str] = json.loads(self.ctl("pending", release).stdout)["why"]
        return why

    def events(self, *names: str) -> Iterator[dict[str, Any]]:
        """The journal's events of these names."""
        for line in (self.path / "log/rolling_restart.jsonl").read_text().splitlines():
            event = json.loads(line)
            if event["event"] in names:
                yield event
