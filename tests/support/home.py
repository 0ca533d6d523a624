"""An app's home as the role lays it out, on real supervisord, for tests of the conductor."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from plugins.filter.conductor_files import conductor_files
from plugins.module_utils import proc
from tests.support.paths import PROGRAMS, ROLE, ROOT
from tests.support.role import Role
from tests.support.user import give, unprivileged
from tests.support.wait import until

CONDUCTOR = ROLE / "files/conductor"


def role_of(home: Path, user: int | None = None, **variables: Any) -> Role:
    """The role, where all of an app is in its home, and nginx not its business.

    Args:
        home: of the app.
        user: who runs its processes; by default who runs this.
        variables: others of the role.
    """
    user = os.getuid() if user is None else user
    known = {
        "ansible_facts": {"user_id": user, "user_gid": os.getgid(), "processor_nproc": 2},
        "tornado_app_home": str(home),
        "tornado_app_rootless": True,
        "tornado_app_nginx_supervised": False,
    }
    return Role(**known | variables)


class Home:
    """One app's home. Its processes are never root's, as with systemd; the conductor may be.

    Args:
        path: where it is.
        ports: of the process on trial and of its processes.
        listener: ``port`` or ``unix``.
    """

    def __init__(self, path: Path, ports: list[int], listener: str = "port") -> None:
        self.path = path
        self.trial_port, *self.ports = ports
        self.listener = listener
        for folder in ("bin", "run", "log", "data", "configurations", "environments"):
            (path / folder).mkdir(parents=True)
        for folder in ("run", "log", "data"):
            give(path / folder)
        (path / "tools").symlink_to(sys.prefix)
        self.deploy(CONDUCTOR)
        self.user = (path / "data").stat().st_uid
        role = role_of(path, self.user)
        (path / "supervisord.conf").write_text(role.render("supervisord.conf.j2"))
        self.program = path / "bin/app-ctl"
        self.program.write_text(role.render("ctl.j2"))
        self.program.chmod(0o750)

    def deploy(self, conductor: Path) -> Path:
        """Put a conductor where the role puts it; returns the folder that is named by its content.

        Args:
            conductor: the package.
        """
        *files, last = conductor_files(str(conductor), str(self.path))
        for file in files:
            if file.get("state") == "directory":
                Path(file["path"]).mkdir(exist_ok=True)
            else:
                Path(file["path"]).write_text(file["content"])
        new = self.path / "conductor.new"
        new.symlink_to(last["target"])
        new.replace(last["path"])
        return self.path / last["target"]

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
        environment: dict[str, str] | None = None,
        ready_timeout: int = 30,
        max_wait: int = 5,
        trial: int = 1,
        **variables: Any,
    ) -> str:
        """Write a configuration and what it names, as the role does; returns its id.

        Args:
            release: its name, also that of the configuration.
            ports: of its processes; by default all.
            environment: of them.
            ready_timeout: seconds.
            max_wait: seconds.
            trial: seconds; 0 where there is none.
            variables: others of the role.
        """
        (self.path / "releases" / release).mkdir(parents=True, exist_ok=True)
        (self.path / "releases" / release / "requirements.txt").write_text("")
        known = {
            "tornado_app_listener": self.listener,
            "tornado_app_trial": trial,
            "tornado_app_trial_port": self.trial_port,
            "tornado_app_ready_timeout": ready_timeout,
            "tornado_app_max_wait": max_wait,
            "tornado_app_environment": environment or {},
            # Names the release, as a path in it would.
            "tornado_app_command": f"{sys.executable} {PROGRAMS}/app.py {{venv}}",
            "__tornado_app_ports": ports or self.ports,
            "__tornado_app_release_id": release,
            "__tornado_app_environment_id": f"e{release}",
        }
        role = role_of(self.path, self.user, **known | variables)
        (self.path / "environments" / f"e{release}").write_text(role.render("environment.j2"))
        self.configuration(release).write_text(role.render("configuration.conf.j2"))
        return release

    def configuration(self, release: str) -> Path:
        """The file of a configuration."""
        return self.path / "configurations" / f"{release}.conf"

    def misbehave(self, release: str, port: int, mode: str) -> None:
        """Let one process of a configuration do as ``MODE`` says."""
        path = self.configuration(release)
        variable = f'TORNADO_DRAIN_PORT="{port}"'
        assert path.read_text().count(variable) == 1
        path.write_text(path.read_text().replace(variable, f'{variable},MODE="{mode}"'))

    def start(self) -> None:
        """Start supervisord."""
        script = self.path / "conductor/conductor/supervisord.py"
        subprocess.run(
            [
                *unprivileged(),
                *(self.path / "tools/bin/python", script, "-c", self.path / "supervisord.conf"),
            ],
            env=os.environ | {"PYTHONPATH": str(ROOT / "app")},
            check=True,
        )
        until(lambda: self._pid.exists() and self._pid.read_text())

    @property
    def _pid(self) -> Path:
        return self.path / "run/supervisord.pid"

    def shut_down(self) -> None:
        """Kill supervisord and all its processes."""
        try:
            pid = int(self._pid.read_text())
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return
        os.kill(pid, signal.SIGKILL)
        for child in map(int, children):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        until(lambda: not proc.alive(pid))
        self._pid.unlink()

    def ctl(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the conductor and check its exit code, unless `code` is None."""
        done = subprocess.run(
            [self.program, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the conductor."""
        return subprocess.Popen(
            [self.program, *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def _environment(self) -> dict[str, str]:
        """As on a host, where Python keeps what it has compiled."""
        return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

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
        """The journal's events of these names, or all."""
        for line in (self.path / "log/rolling_restart.jsonl").read_text().splitlines():
            event = json.loads(line)
            if not names or event["event"] in names:
                yield event


MakeHome = Callable[..., Home]
