"""supervisord, with three things that it does not do by itself (supervisor 4.3.0).

- At its end, programs of the same priority stop at once. It stops one after the other
  (`ordered_stop_groups_phase_1`), so that N processes may take N times stopwaitsecs: longer than a
  reboot or `docker stop` waits.
- Its timeouts do not follow the wall clock. They do (`supervisor.process`), so that a clock that is
  set forward in the midst of a drain ends that with SIGKILL.
- What another supervisord of this home left behind when it was killed leaves before anything
  starts: nobody can adopt it, and it would keep the ports.
"""

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

if __name__ == "__main__":
    # Run by its path, so that ps(1) shows that: the package is next to this folder, not in it.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from supervisor import process, rpcinterface, supervisord

from conductor import proc

# Seconds between two looks at what still has to leave.
TICK = 0.02


class Supervisor(supervisord.Supervisor):  # type: ignore[misc]
    """Stops all programs of the highest priority that are left, and then those of the next."""

    def ordered_stop_groups_phase_1(self) -> None:
        """Ask them to stop; called again and again until none is left."""
        for group in self.stop_groups:
            if group.config.priority == self.stop_groups[-1].config.priority:
                group.stop_all()

    def runforever(self) -> None:
        """Serve, once what is left from before is gone; until then callers of the socket wait."""
        configs = {
            config.name: config
            for group in self.process_groups.values()
            for config in group.config.process_configs
        }
        for group, name in orphans(self.options.serverurl, configs).items():
            self.options.logger.warn(f"{name}, pid {group}, is left from before: stopping it")
            send(group, configs[name].stopsignal if name in configs else signal.SIGTERM)
        began = time.monotonic()
        while left := orphans(self.options.serverurl, configs):
            for group, name in left.items():
                wait = configs[name].stopwaitsecs if name in configs else 0
                if time.monotonic() - began > wait:
                    send(-group, signal.SIGKILL)
            time.sleep(TICK)
        super().runforever()


def orphans(serverurl: str, configs: Mapping[str, Any]) -> dict[int, str]:
    """What a supervisord with this control socket has started: process groups, and their names."""
    # nginx writes its title over its environment; its command stands in that.
    commands = {name: " ".join(shlex.split(config.command)) for name, config in configs.items()}
    found = {}
    for pid in proc.all_pids():
        with contextlib.suppress(OSError):
            group = os.getpgid(pid)
            given = proc.environment(pid)
            title = proc.command(pid)
            names = [name for name, command in commands.items() if title.endswith(command)]
            if given.get("SUPERVISOR_SERVER_URL") == serverurl:
                names.append(given["SUPERVISOR_PROCESS_NAME"])
            if names and group != os.getpgrp():
                found[group] = names[-1]
    return found


def send(pid: int, number: int) -> None:
    """Send a signal to what may have left already; a negative pid is a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def steady_clock() -> Any:
    """The module `time`, but that `time.time` counts on from now by the monotonic clock."""
    offset = time.time() - time.monotonic()
    return SimpleNamespace(**vars(time) | {"time": lambda: offset + time.monotonic()})


if __name__ == "__main__":
    process.time = rpcinterface.time = steady_clock()
    supervisord.Supervisor = Supervisor
    supervisord.main()
