"""Starting and draining processes, and waiting until that is done."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterable, Mapping

from conductor import proc
from conductor.configuration import Configuration
from conductor.errors import NotReady
from conductor.journal import Report
from conductor.probe import PROBE_TIMEOUT
from conductor.readiness import TICK, Readiness
from conductor.supervisor_client import State, Supervisor


class Processes:
    """The processes of one app.

    Attributes:
        readiness: of them.
        killed: those that had not drained within stopwaitsecs, by name, and why that is told.
    """

    def __init__(self, supervisor: Supervisor, report: Report) -> None:
        self._supervisor = supervisor
        self._report = report
        self._log_offsets: dict[str, int] = {}
        self.readiness = Readiness(supervisor)
        self.killed: dict[str, str] = {}

    async def stop(self, running: Mapping[str, Configuration]) -> None:
        """Drain processes, all at once, and wait until each is gone.

        Args:
            running: the configuration that each process runs, by name.

        Raises:
            NotReady: some are still there after its `stop_timeout`.
        """
        began = time.monotonic()
        pids: dict[str, int] = {}
        waiting = dict(running)
        for name in waiting:
            self.readiness.pids.pop(name, None)
        while waiting:
            elapsed = time.monotonic() - began
            late = {name for name in waiting if elapsed > waiting[name].stop_timeout}
            # Only of those that end: a look wakes supervisord, which by itself reaps once a second.
            ended = late | {name for name in waiting if not proc.alive(pids.get(name, 0))}
            states = self._supervisor.states(ended)
            for name in ended:
                state = states.get(name)
                if state is None:
                    del waiting[name]
                elif state.ended:
                    configuration = waiting.pop(name)
                    if name in pids:
                        self._stopped(configuration, state, pids[name], elapsed)
                elif state.state != "STOPPING" and self._supervisor.stop(name):
                    self._report("drain", f"pid {state.pid}", name, pid=state.pid)
                    pids[name] = state.pid
            if left := late & waiting.keys():
                raise NotReady(
                    {name: f"not gone after {waiting[name].stop_timeout:g} s" for name in left}
                )
            if waiting:
                await asyncio.sleep(TICK)

    def _stopped(
        self, configuration: Configuration, state: State, pid: int, seconds: float
    ) -> None:
        by_signal = state.exitstatus == -1
        limit = configuration.stopwaitsecs
        text = f"{seconds:.2f} s"
        if by_signal and seconds >= limit - 1:
            text += f", killed by supervisord after stopwaitsecs ({limit:g} s)"
            self.killed[state.name] = f"did not drain within stopwaitsecs ({limit:g} s): killed"
        elif by_signal:
            text += ", ended by the signal: it does not drain"
        self._report("drained", text, state.name, seconds=round(seconds, 3), killed=by_signal)
        # What it started and left behind serves nobody (supervisord names the group by its pid).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid:
                os.killpg(pid, signal.SIGKILL)

    async def start(self, configuration: Configuration, names: Collection[str]) -> None:
        """Start processes and wait until each, and not another program, is ready.

        Raises:
            NotReady: some did not become it.
        """
        for name in names:
            log = configuration.processes[name].log
            self._log_offsets[name] = log.stat().st_size if log.exists() else 0
            self._supervisor.start(name)
        began = time.monotonic()
        pids = {name: state.pid for name, state in self._supervisor.states(names).items()}
        for name, pid in pids.items():
            self._report("start", f"pid {pid}", name, pid=pid)
        waiting = set(names)
        reasons: dict[str, str] = {}
        while waiting:
            remaining = configuration.ready_timeout - (time.monotonic() - began)
            # The last look too has a second: what it sees is what the operator is told.
            timeout = max(1.0, min(PROBE_TIMEOUT, remaining))
            asked = (self.readiness.answer(configuration, name, timeout) for name in waiting)
            answers = zip(waiting, await asyncio.gather(*asked), strict=True)
            unready = {name: why for name, why in answers if why}
            # Of the others supervisord has no news.
            news = {n for n in waiting if n not in unready or not proc.alive(pids.get(n, 0))}
            states = self._supervisor.states(waiting if remaining <= 0 else news)
            for name, state in states.items():
                listen = configuration.processes[name].listen
                if not state.up or state.pid != pids[name]:
                    reasons[name] = "ended before it was ready"
                elif name not in unready and not proc.listens(state.pid, listen):
                    reasons[name] = f"is not the program that listens on {listen}"
                elif name not in unready:
                    self.readiness.pids[name] = state.pid
                    seconds = time.monotonic() - began
                    self._report("ready", f"{seconds:.2f} s", name, seconds=round(seconds, 3))
                elif remaining <= 0:
                    limit = f"{configuration.ready_timeout:g} s"
                    reasons[name] = f"did not become ready in {limit}: it {unready[name]}"
                else:
                    continue
                waiting.discard(name)
            if waiting:
                await asyncio.sleep(TICK)
        if reasons:
            raise NotReady(reasons)

    async def start_stopped(self, configuration: Configuration) -> None:
        """Start whatever does not run, all at once, and wait until it is ready."""
        states = self._supervisor.states()
        ended = [name for name in configuration.processes if name in states and states[name].ended]
        await self.start(configuration, ended)

    async def stop_all(self, configuration: Configuration) -> None:
        """Drain all processes at once; supervisord stays."""
        await self.stop(dict.fromkeys(self._supervisor.states(), configuration))

    async def shut_down(self) -> None:
        """End supervisord, which drains all processes at once, and wait until it is gone."""
        pid = self._supervisor.call("getPID")
        began = proc.started(pid)
        self._supervisor.call("shutdown")
        self._report("shutdown", "draining all processes")
        while proc.alive(pid) and proc.started(pid) == began:
            await asyncio.sleep(TICK)
        self._report("shutdown", "supervisord is gone")

    async def retire(self, configuration: Configuration) -> None:
        """Drain and remove the programs that the current configuration does not have.

        Args:
            configuration: of which they are left; its timeouts count.
        """
        _, _, removed = self._supervisor.differences()
        await self.stop(dict.fromkeys(removed, configuration))
        for name in sorted(removed):
            self._supervisor.remove(name)
            self._report("retired", "no longer configured", name)

    def show_logs(self, configuration: Configuration, names: Iterable[str]) -> None:
        """Report the last lines that processes wrote since they were started."""
        for name in names:
            log = configuration.log / f"{name}.log"
            with contextlib.suppress(OSError), log.open("rb") as lines:
                lines.seek(self._log_offsets.get(name, 0))
                tail = lines.read().decode(errors="replace").splitlines()[-20:]
                for line in tail or ["(it wrote nothing)"]:
                    self._report("log", line, name)
