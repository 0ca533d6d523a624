"""supervisord's XML-RPC interface, as the conductor uses it."""

import configparser
import contextlib
import re
import xmlrpc.client
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from conductor.errors import Failed


@dataclass(frozen=True)
class State:
    """What supervisord says of one process; `uptime` in seconds."""

    name: str
    pid: int
    state: str
    exitstatus: int
    uptime: int

    @property
    def up(self) -> bool:
        """Whether there is a process that may come to answer."""
        return self.state in ("STARTING", "RUNNING")

    @property
    def ended(self) -> bool:
        """Whether nothing runs under this name and nothing will without a start.

        EXITED is not such a state: supervisord is about to start it again (autorestart).
        """
        return self.state in ("STOPPED", "FATAL")


class Supervisor:
    """The supervisord of one home, asked over its unix socket."""

    def __init__(self, home: Path) -> None:
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
        parser.read(home / "supervisord.conf", encoding="utf-8")
        try:
            path = parser["unix_http_server"]["file"].replace("%%", "%")
        except KeyError as error:
            raise Failed(f"{home}/supervisord.conf: no control socket; is it a home?") from error
        transport = SupervisorTransport(None, None, f"unix://{path}")
        self._rpc = xmlrpc.client.ServerProxy("http://localhost", transport).supervisor
        self._path = path

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method; raises `Failed` where nobody answers, and supervisor's own `Fault`s."""
        try:
            return getattr(self._rpc, method)(*arguments)
        except PermissionError as error:
            raise Failed(f"{self._path}: permission denied: run this as root") from error
        except OSError as error:
            raise Failed(f"supervisord does not answer on {self._path}: {error}") from error

    def answers(self) -> bool:
        """Whether supervisord runs."""
        try:
            self.call("getState")
        except Failed:
            return False
        return True

    def states(self, names: Collection[str] | None = None) -> dict[str, State]:
        """The state of the named programs that exist, or of all whose name ends in a port.

        One call, however many: each costs supervisord a pass over all programs.
        """
        infos: list[dict[str, Any]] = []
        if names is None:
            infos = [i for i in self.call("getAllProcessInfo") if is_process(i["group"])]
        elif len(names) == 1:
            [name] = names
            with faults("BAD_NAME"):
                infos.append(self.call("getProcessInfo", f"{name}:{name}"))
        elif names:
            infos = [i for i in self.call("getAllProcessInfo") if i["group"] in names]
        return {
            info["group"]: State(
                name=info["group"],
                pid=info["pid"],
                state=info["statename"],
                exitstatus=info["exitstatus"],
                uptime=info["now"] - info["start"] if info["pid"] else 0,
            )
            for info in infos
        }

    def start(self, name: str) -> None:
        """Begin to start a program; its state tells what came of it."""
        with faults("ALREADY_STARTED", "SPAWN_ERROR"):
            self.call("startProcess", f"{name}:{name}", False)

    def stop(self, name: str) -> bool:
        """Begin to stop a program; returns whether it ran."""
        with faults("NOT_RUNNING"):
            self.call("stopProcess", f"{name}:{name}", False)
            return True
        return False

    def add(self, name: str) -> None:
        """Run a program as the configuration that was read last has it."""
        self.call("addProcessGroup", name)

    def remove(self, name: str) -> None:
        """Forget a program that has ended, if there is one."""
        with faults("BAD_NAME"):
            self.call("removeProcessGroup", name)

    def differences(self) -> tuple[set[str], set[str], set[str]]:
        """Re-read the configuration; returns the programs added, changed and removed by it."""
        try:
            ((added, changed, removed),) = self.call("reloadConfig")
        except xmlrpc.client.Fault as fault:
            raise Failed(f"supervisord refuses the configuration: {fault.faultString}") from fault
        return (
            set(filter(is_process, added)),
            set(filter(is_process, changed)),
            set(filter(is_process, removed)),
        )


@contextlib.contextmanager
def faults(*expected: str) -> Iterator[None]:
    """Pass over supervisor's faults of these names; what they mean is seen in the state."""
    try:
        yield
    except xmlrpc.client.Fault as fault:
        if fault.faultString.partition(":")[0] not in expected:
            raise


def is_process(program: str) -> bool:
    """Whether a program is a process of the app: its name ends in its port."""
    return re.search(r"-\d+$", program) is not None
