#!/usr/bin/env python3
"""The conductor: restarts the processes of one app in turn, and rolls out another configuration.

It reads only what is on the host. `<home>/current` links to a configuration, a supervisor file
that names a release and an environment by path; whatever supervisord runs that differs from it is
still to be rolled. A rollout moves the link, replaces the processes that differ, each gated on
readiness, and moves everything back when one does not become ready. Before that, one process of the
new configuration stands a trial on an address that nginx does not know.

Exit codes: 0 done; 1 refused, or failed and reverted; 2 usage; 3 failed and not wholly reverted;
4 another rollout is running; 130 interrupted between two processes (running it again goes on).
"""

import argparse
import asyncio
import configparser
import contextlib
import dataclasses
import fcntl
import json
import math
import os
import re
import shutil
import signal
import socket
import sys
import time
import xmlrpc.client
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# Seconds between two looks at a process: the most that a roll adds to its own drain and start.
TICK = 0.02

# Seconds that a process may at least take to answer whether it is ready, its loop being busy.
PROBE_TIMEOUT = 10.0

JOURNAL_BYTES = 5_000_000


class Failed(Exception):
    """Something went wrong; the text is for the operator, `code` for the shell."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """The operator asked to stop between two processes."""


class NotReady(Exception):
    """Processes are not ready, or did not become it: why, by name."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name} {reason}" for name, reason in reasons.items()))
        self.reasons = reasons


@dataclass(frozen=True)
class Process:
    """One program of a configuration."""

    name: str
    port: int
    listen: str
    stopwaitsecs: float
    log: Path

    @classmethod
    def of(cls, program: configparser.SectionProxy, name: str | None = None) -> "Process":
        """Read a program's section; raises `KeyError` or `ValueError` where it is not whole."""
        variables = dict(re.findall(r'(\w+)="([^"]*)"', program["environment"]))
        return cls(
            name=name or program.name.removeprefix("program:"),
            port=int(variables["TORNADO_DRAIN_PORT"]),
            listen=variables["TORNADO_DRAIN_LISTEN"].replace("%%", "%"),
            stopwaitsecs=float(program["stopwaitsecs"]),
            log=Path(program["stdout_logfile"].replace("%%", "%")),
        )


@dataclass(frozen=True)
class Trial:
    """One more process, on an address that nginx does not know, and its section for supervisord.

    It must stay ready for `seconds`.
    """

    process: Process
    seconds: float
    program: dict[str, str]


@dataclass(frozen=True)
class Configuration:
    """One file of `<home>/configurations`; times are in seconds."""

    path: Path
    name: str
    release: str
    ready_path: str
    ready_status: int
    ready_timeout: float
    stop_timeout: float
    keep: int
    processes: dict[str, Process]
    trial: "Trial | None"

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """Parse a configuration; raises `Failed` where it is missing or not whole."""
        parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
        try:
            parser.read_string(path.read_text(encoding="utf-8"), str(path))
            app = parser["tornado_app"]
            programs = {
                section.removeprefix("program:"): Process.of(parser[section])
                for section in parser.sections()
                if section.startswith("program:")
            }
            trial = None
            if "trial" in parser:
                process = Process.of(parser["trial"], f"{app['name']}-trial")
                trial = Trial(process, float(app["trial"]), dict(parser["trial"]))
            return cls(
                path=path,
                name=app["name"],
                release=app["release"],
                ready_path=app["ready_path"],
                ready_status=int(app["ready_status"]),
                ready_timeout=float(app["ready_timeout"]),
                stop_timeout=float(app["stop_timeout"]),
                keep=int(app["keep"]),
                processes=dict(sorted(programs.items(), key=lambda item: item[1].port)),
                trial=trial,
            )
        except (OSError, KeyError, ValueError, configparser.Error) as error:
            raise Failed(f"{path}: not a configuration of the role: {error!r}") from error

    @property
    def trial_name(self) -> str:
        """The name of the program on trial; no port at its end: it is not one of the app's."""
        return f"{self.name}-trial"

    @property
    def log_folder(self) -> Path:
        """Where the processes log, and the conductor keeps its journal."""
        return next(iter(self.processes.values())).log.parent


@dataclass(frozen=True)
class State:
    """What supervisord says of one process."""

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
    """supervisord's XML-RPC interface over its unix socket, for the programs of one app."""

    def __init__(self, home: Path) -> None:
        from supervisor.xmlrpc import SupervisorTransport

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


class Report:
    """Says what happens, as lines with times or as JSON lines, and keeps it in the journal."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._journal: IO[bytes] | None = None

    def open_journal(self, log: Path) -> None:
        """Keep events in `log`/rolling_restart.jsonl, the newest 5 to 10 MB of them."""
        path = log / "rolling_restart.jsonl"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > JOURNAL_BYTES:
                path.replace(path.with_suffix(".jsonl.1"))
        # The folder is the app's, and this may be root: a link there must not lead elsewhere.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._journal = os.fdopen(os.open(path, flags, 0o644), "ab", buffering=0)

    def __call__(self, event: str, text: str, process: str | None = None, **facts: Any) -> None:
        now = time.time()
        record = {"time": round(now, 3), "event": event, "process": process, "text": text} | facts
        line = json.dumps({key: value for key, value in record.items() if value is not None})
        if self._journal is not None:
            # A full disk stops no roll half-way, with one process less.
            with contextlib.suppress(OSError):
                self._journal.write(f"{line}\n".encode())
        if self._as_json:
            print(line, flush=True)
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now % 1 * 1000):03d}"
            print(f"{clock}  {process or '':<14} {event:<9} {text}".rstrip(), flush=True)


async def ask(listen: str, path: str, timeout: float = PROBE_TIMEOUT) -> tuple[int, bytes]:
    """GET `path` from a process.

    Args:
        listen: its address, ``host:port`` or ``unix:/path``.
        path: the request target.
        timeout: seconds for the whole exchange.

    Returns:
        The status and the body; status 0 where there is no whole answer in time.
    """
    try:
        async with asyncio.timeout(timeout):
            if listen.startswith("unix:"):
                reader, writer = await asyncio.open_unix_connection(listen.removeprefix("unix:"))
            else:
                host, _, port = listen.rpartition(":")
                reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            return int(head.split(None, 2)[1]), body
    except (OSError, TimeoutError, IndexError, ValueError):
        return 0, b""


def listening_sockets() -> Iterator[tuple[str, str]]:
    """Yield address (a TCP port or a unix path) and inode of each listening socket (proc(5))."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for row in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == "0A":
                    yield str(int(fields[1].rpartition(":")[2], 16)), fields[9]
    with contextlib.suppress(FileNotFoundError):
        for row in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = row.split(None, 7)
            if len(fields) == 8 and int(fields[3], 16) & 0x10000:
                yield fields[7], fields[6]


def socket_inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets; raises `OSError` where we may not look."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


def all_pids() -> list[int]:
    """Every process that we can see."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def listens(pid: int, listen: str) -> bool:
    """Whether the process, or one it started, is the one that listens at an address.

    supervisord gives each program a process group of its own, named by its first pid. Where we may
    not look, the answer is yes.
    """
    address = listen.removeprefix("unix:") if listen.startswith("unix:") else listen.split(":")[-1]
    wanted = {inode for where, inode in listening_sockets() if where == address}
    try:
        if wanted & socket_inodes(pid):
            return True
    except OSError:
        return True
    for other in all_pids():
        with contextlib.suppress(OSError):
            if os.getpgid(other) == pid and wanted & socket_inodes(other):
                return True
    return False


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; empty where we may not look."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def link(path: Path, target: Path | None) -> None:
    """Point a link elsewhere in one step (rename(2)), or take it away."""
    if target is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def linked(path: Path) -> Path | None:
    """Where a link points, None where there is none."""
    try:
        return path.parent / path.readlink()
    except FileNotFoundError:
        return None


class Conductor:
    """All that can be done with the processes of the app in `home`."""

    def __init__(self, home: Path, report: Report) -> None:
        self.home = home
        self.report = report
        self.supervisor = Supervisor(home)
        self._interrupted = False
        self._ready_pids: dict[str, int] = {}
        self._log_offsets: dict[str, int] = {}

    # What is

    def current(self) -> Configuration:
        """The configuration that should run; raises `Failed` where there is none."""
        path = linked(self.home / "current")
        if path is None:
            raise Failed(f"{self.home}/current: nothing is deployed yet")
        return Configuration.read(path)

    async def unready(
        self, expected: Mapping[str, Configuration], *, patient: bool = False
    ) -> dict[str, str]:
        """Ask processes for readiness, all at once.

        Args:
            expected: the configuration that each process runs, by name.
            patient: give a busy process the time to answer that a starting one has to get ready.

        Returns:
            Why each that is not ready is not, by name.
        """
        states = self.supervisor.states(expected)
        ended = "ended after it had become ready"

        async def reason(name: str) -> str:
            state = states.get(name)
            if state is not None and self._ready_pids.get(name, state.pid) != state.pid:
                return ended
            if state is None or not state.up:
                return f"is {state.state.lower()}" if state else "is not there"
            patience = expected[name].ready_timeout if patient else 0
            why = await self._answer(expected[name], name, max(PROBE_TIMEOUT, patience))
            if why and name in self._ready_pids:
                # It may be ending: its sockets are closed first.
                await asyncio.sleep(TICK)
                return why if alive(state.pid) else ended
            return why

        reasons = zip(expected, await asyncio.gather(*map(reason, expected)), strict=True)
        return {name: why for name, why in reasons if why}

    async def _answer(self, configuration: Configuration, name: str, timeout: float) -> str:
        """Why a process does not answer that it is ready; empty where it does."""
        listen, path = configuration.processes[name].listen, configuration.ready_path
        status, _ = await ask(listen, path, timeout)
        if status == configuration.ready_status:
            return ""
        return f"answers {status} on {path}" if status else f"does not answer on {path}"

    async def settled(self, expected: Mapping[str, Configuration]) -> dict[str, str]:
        """`unready`, once those that start or are busy have had the time they may take."""
        began = time.monotonic()
        unready = await self.unready(expected, patient=True)
        while unready:
            states = self.supervisor.states(unready)
            waiting = [
                name
                for name, state in states.items()
                if state.state == "STARTING"
                and time.monotonic() - began < expected[name].ready_timeout
            ]
            if not waiting:
                break
            await asyncio.sleep(TICK)
            unready = await self.unready({name: expected[name] for name in unready}, patient=True)
        return unready

    async def status(self, configuration: Configuration) -> list[dict[str, Any]]:
        """One record per process that should run."""
        answers = self.supervisor.answers()
        states = self.supervisor.states() if answers else {}
        expected = dict.fromkeys(configuration.processes, configuration)
        unready = await self.unready(expected) if answers else expected

        async def record(process: Process) -> dict[str, Any]:
            state = states.get(process.name)
            status = {}
            if state and state.up:
                _, body = await ask(process.listen, "/-/status", timeout=2)
                with contextlib.suppress(ValueError):
                    status = json.loads(body)
            environment = environment_of(state.pid) if state else {}
            return {
                "port": process.port,
                "pid": state.pid if state and state.pid else None,
                "state": describe(state, process.name not in unready),
                "ready": process.name not in unready,
                "release": environment.get("TORNADO_DRAIN_RELEASE"),
                "uptime": state.uptime if state and state.pid else None,
                "in_flight": status.get("in_flight") if isinstance(status, dict) else None,
                "listen": process.listen,
            }

        return list(await asyncio.gather(*map(record, configuration.processes.values())))

    def pending(self, target: Path) -> list[str]:
        """Why a rollout of `target` would do something; empty where it would not."""
        if linked(self.home / "current") != target:
            return ["the configuration is another one"]
        if not self.supervisor.answers():
            return ["supervisord does not run"]
        reasons = ["the last rollout did not end"] if self._unfinished() else []
        added, changed, _ = self.supervisor.differences()
        reasons += [f"{name} does not run the current configuration" for name in added | changed]
        for name, state in self.supervisor.states().items():
            if not state.up and state.state != "STOPPING":
                reasons.append(f"{name} is {state.state.lower()}")
        return sorted(reasons)

    # What is done

    async def roll(
        self,
        target: Configuration,
        batch: str,
        *,
        everything: bool = False,
        try_first: bool = False,
    ) -> None:
        """Make `target` current and replace the processes that differ, or all, a batch at a time.

        With `try_first`, another configuration than the one that serves must stand a trial before.

        Raises:
            Failed: it was refused, or reverted (code 1), or could not be reverted wholly (code 3).
            Interrupted: between two batches; the next roll goes on from there.
        """
        size = batch_size(batch, len(target.processes))
        self.supervisor.call("getState")
        path = self._unfinished() or linked(self.home / "current")
        before = Configuration.read(path) if path else None
        self._remember(path)
        try:
            await self._end_trial(target)
            if try_first and before is not None and before.path != target.path:
                await self._try(target)
            began = time.monotonic()
            link(self.home / "current", target.path)
            replaced = await self._replace(target, before, size, everything)
        except (NotReady, Failed) as failure:
            self.report("failed", str(failure))
            if isinstance(failure, NotReady):
                self._show_logs(target, failure.reasons)
            if path == target.path:
                self._forget()
                text = f"stopped: {failure}; the other processes were left as they are"
                raise Failed(text) from None
            os.utime(target.path, (0, 0))  # the first to be pruned
            await self._revert(target, before, size, str(failure))
            raise Failed(f"reverted: {failure}") from None
        os.utime(target.path)
        if before is not None and before.path != target.path:
            link(self.home / "previous", before.path)
        self._forget()
        seconds = time.monotonic() - began
        self.report(
            "done",
            f"{replaced} of {len(target.processes)} processes replaced in {seconds:.1f} s, "
            f"release {target.release}",
            seconds=round(seconds, 3),
            release=target.release,
        )

    async def _revert(
        self, target: Configuration, before: Configuration | None, size: int, reason: str
    ) -> None:
        self._ready_pids.clear()
        self.report("revert", f"to release {before.release}" if before else "to nothing: first one")
        link(self.home / "current", before.path if before else None)
        try:
            if before is not None:
                await self._replace(before, target, size, everything=False)
            await self.retire(target)
        except (NotReady, Failed) as failure:
            self.report("failed", str(failure))
            text = f"{reason}; and the configuration before does not come back: {failure}"
            raise Failed(text, code=3) from None
        self._forget()
        self.report("reverted", f"release {before.release} serves" if before else "nothing runs")

    async def _replace(
        self,
        target: Configuration,
        before: Configuration | None,
        size: int,
        everything: bool,
    ) -> int:
        """Start what is added, replace what is changed, restart what is down; returns how many."""
        added, changed, _ = self.supervisor.differences()
        # A changed process still listens, and is asked, where the configuration before says.
        expected = {
            name: before if before and name in changed & before.processes.keys() else target
            for name in target.processes
            if name not in added
        }
        unready = await self.settled(expected)
        for name, why in unready.items():
            self.report("unready", f"{why}: replaced first", name)
        # These serve nobody: replacing them takes nothing away, and may heal.
        first = [name for name in target.processes if name in added | unready.keys()]
        then = [
            name
            for name in target.processes
            if name not in first and (everything or name in changed)
        ]
        # With nobody to protect from the load of a start, all start at once.
        first_size = size if len(first) < len(target.processes) else len(first)
        self.report(
            "rollout",
            f"release {target.release}: {len(first) + len(then)} of {len(target.processes)} "
            f"processes, {size} at a time",
            release=target.release,
        )
        for names in [*batches(first, first_size), *batches(then, size)]:
            if self._interrupted:
                raise Interrupted
            if names[0] in then:
                others = {name: expected[name] for name in expected if name not in names}
                if unready := await self.settled(others):
                    raise NotReady(unready)
            await self._stop(target, [name for name in names if name not in added])
            for name in names:
                if name in changed:
                    self.supervisor.call("removeProcessGroup", name)
                if name in added | changed:
                    self.supervisor.call("addProcessGroup", name)
            await self._start(target, names)
            expected |= dict.fromkeys(names, target)
        if unready := await self.settled(expected):
            raise NotReady(unready)
        return len(first) + len(then)

    async def _try(self, target: Configuration) -> None:
        """Start one process of `target` beside those that serve, and see whether it stays.

        nginx does not know it: where it ends in the midst of a request, nobody's request is lost.
        """
        if target.trial is None:
            return
        name = target.trial_name
        alone = dataclasses.replace(target, processes={name: target.trial.process})
        lines = [f"{key}={value}" for key, value in target.trial.program.items()]
        self._trial_file.write_text("\n".join([f"[program:{name}]", *lines, ""]), encoding="utf-8")
        self.supervisor.differences()
        self.supervisor.call("addProcessGroup", name)
        try:
            await self._start(alone, [name])
            self.report("trial", f"{target.trial.seconds:g} s", name)
            began = time.monotonic()
            unready: dict[str, str] = {}
            while not unready and time.monotonic() - began < target.trial.seconds:
                await asyncio.sleep(5 * TICK)
                unready = await self.unready({name: alone})
            if unready:
                raise NotReady(unready)
        finally:
            await self._end_trial(target)

    async def _end_trial(self, target: Configuration) -> None:
        """Drain and remove the process on trial, also that of a conductor that was killed."""
        if not self._trial_file.exists():
            return
        name = target.trial_name
        await self._stop(target, [name])
        with faults("BAD_NAME"):
            self.supervisor.call("removeProcessGroup", name)
        self._trial_file.unlink()

    async def _stop(self, configuration: Configuration, names: Iterable[str]) -> None:
        """Drain processes, all at once, and wait until each is gone."""
        began = time.monotonic()
        pids: dict[str, int] = {}
        waiting = set(names)
        for name in waiting:
            self._ready_pids.pop(name, None)
        while waiting:
            elapsed = time.monotonic() - began
            # Only of those that end: a look wakes supervisord, which by itself reaps once a second.
            late = elapsed > configuration.stop_timeout
            ended = {name for name in waiting if late or not alive(pids.get(name, 0))}
            states = self.supervisor.states(ended)
            waiting -= ended - states.keys()
            for name, state in states.items():
                if state.state != "STOPPING" and not state.ended:
                    with faults("NOT_RUNNING"):
                        self.supervisor.call("stopProcess", f"{name}:{name}", False)
                        self.report("drain", f"pid {state.pid}", name, pid=state.pid)
                        pids[name] = state.pid
                elif state.ended:
                    waiting.discard(name)
                    if name in pids:
                        self._report_stop(configuration, state, pids[name], elapsed)
            if waiting and late:
                text = f"not gone after {configuration.stop_timeout:g} s"
                raise NotReady(dict.fromkeys(waiting, text))
            if waiting:
                await asyncio.sleep(TICK)

    def _report_stop(
        self, configuration: Configuration, state: State, pid: int, seconds: float
    ) -> None:
        process = configuration.processes.get(state.name)
        killed = state.exitstatus == -1  # by a signal
        text = f"{seconds:.2f} s"
        if killed and process and seconds >= process.stopwaitsecs - 1:
            text += f", killed by supervisord after stopwaitsecs ({process.stopwaitsecs:g} s)"
        elif killed:
            text += ", ended by the signal: it does not drain"
        self.report("drained", text, state.name, seconds=round(seconds, 3), killed=killed)
        # What it started and left behind serves nobody (supervisord names the group by its pid).
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if pid:
                os.killpg(pid, signal.SIGKILL)

    async def _start(self, configuration: Configuration, names: Collection[str]) -> None:
        """Start processes and wait until each, and not another program, is ready."""
        for name in names:
            log = configuration.processes[name].log
            self._log_offsets[name] = log.stat().st_size if log.exists() else 0
            with faults("ALREADY_STARTED", "SPAWN_ERROR"):
                self.supervisor.call("startProcess", f"{name}:{name}", False)
        began = time.monotonic()
        pids = {name: state.pid for name, state in self.supervisor.states(names).items()}
        for name, pid in pids.items():
            self.report("start", f"pid {pid}", name, pid=pid)
        waiting = set(names)
        reasons: dict[str, str] = {}
        while waiting:
            remaining = configuration.ready_timeout - (time.monotonic() - began)
            # The last look too has a second: what it sees is what the operator is told.
            timeout = max(1.0, min(PROBE_TIMEOUT, remaining))
            asked = (self._answer(configuration, name, timeout) for name in waiting)
            answers = zip(waiting, await asyncio.gather(*asked), strict=True)
            unready = {name: why for name, why in answers if why}
            # Of the others supervisord has no news.
            news = {n for n in waiting if n not in unready or not alive(pids.get(n, 0))}
            for name, state in self.supervisor.states(waiting if remaining <= 0 else news).items():
                listen = configuration.processes[name].listen
                seconds = time.monotonic() - began
                if not state.up or state.pid != pids[name]:
                    reasons[name] = "ended before it was ready"
                elif name not in unready and not listens(state.pid, listen):
                    reasons[name] = f"is not the program that listens on {listen}"
                elif name not in unready:
                    self._ready_pids[name] = state.pid
                    self.report("ready", f"{seconds:.2f} s", name, seconds=round(seconds, 3))
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

    async def stop(self) -> None:
        """Drain all processes at once; supervisord stays."""
        await self._stop(self.current(), self.supervisor.states())

    async def shutdown(self) -> None:
        """End supervisord, which drains all processes at once, and wait until it is gone."""
        pid = self.supervisor.call("getPID")
        began = started(pid)
        self.supervisor.call("shutdown")
        self.report("shutdown", "draining all processes")
        while started(pid) == began:
            await asyncio.sleep(TICK)
        self.report("shutdown", "supervisord is gone")

    async def start(self) -> None:
        """Start whatever does not run, all at once, and wait until it is ready."""
        configuration = self.current()
        states = self.supervisor.states()
        ended = [name for name in configuration.processes if name in states and states[name].ended]
        await self._start(configuration, ended)

    async def retire(self, configuration: Configuration) -> None:
        """Drain and remove the programs that the current configuration does not have."""
        _, _, removed = self.supervisor.differences()
        await self._stop(configuration, removed)
        for name in sorted(removed):
            self.supervisor.call("removeProcessGroup", name)
            self.report("retired", "no longer configured", name)

    def prune(self, keep: int) -> None:
        """Delete configurations but the newest `keep`, and whatever none of the kept ones names."""
        by_age = sorted(
            self.home.glob("configurations/*.conf"), key=lambda p: p.stat().st_mtime, reverse=True
        )
        links = [linked(self.home / "current"), linked(self.home / "previous")]
        kept = sorted(by_age, key=lambda path: links.index(path) if path in links else 2)[:keep]
        named = "".join(path.read_text(encoding="utf-8") for path in kept)
        unused = set(by_age) - set(kept)
        for kind in ("releases", "environments"):
            unused |= {p for p in self.home.glob(f"{kind}/*") if f"/{kind}/{p.name}" not in named}
        for path in unused:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        locks = "".join(p.read_text() for p in self.home.glob("releases/*/requirements.txt"))
        for path in self.home.glob("wheels/*"):
            if f"/wheels/{path.name}/" not in locks:
                shutil.rmtree(path)
        if links[1] and not links[1].exists():
            link(self.home / "previous", None)

    def interrupt(self) -> None:
        """Stop before the next process; a second time, at once."""
        if self._interrupted:
            os._exit(130)
        self._interrupted = True
        self.report("interrupt", "stopping after this process; once more to stop at once")

    def _show_logs(self, configuration: Configuration, names: Iterable[str]) -> None:
        for name in names:
            log = configuration.log_folder / f"{name}.log"
            with contextlib.suppress(OSError), log.open("rb") as lines:
                lines.seek(self._log_offsets.get(name, 0))
                tail = lines.read().decode(errors="replace").splitlines()[-20:]
                for line in tail or ["(it wrote nothing)"]:
                    self.report("log", line, name)

    # The lock, in which a rollout notes what to go back to until it ends

    @property
    def _lock(self) -> Path:
        return self.home / "rolling_restart.lock"

    @property
    def _trial_file(self) -> Path:
        return self.home / "trial.conf"

    def _note(self) -> dict[str, Any]:
        try:
            # A conductor killed while it wrote may have left the tail of the note before.
            note, _ = json.JSONDecoder().raw_decode(self._lock.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _write_note(self, note: dict[str, Any]) -> None:
        text = json.dumps(note)
        with self._lock.open("r+", encoding="utf-8") as lock:
            lock.write(text)
            lock.flush()
            lock.truncate(len(text.encode()))

    def _unfinished(self) -> Path | None:
        """The configuration from before a rollout that did not end."""
        before = self._note().get("before")
        return Path(before) if before else None

    def _remember(self, before: Path | None) -> None:
        self._write_note(self._note() | {"before": str(before) if before else None})

    def _forget(self) -> None:
        self._remember(None)

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock of this home.

        Raises:
            Failed: another conductor holds it (code 4). One whose playbook was killed is waited
                for instead: nobody will see its end, and this one goes on from there.
        """
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError as error:
            raise Failed(f"{self._lock}: permission denied: run this as root") from error
        waits = False
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    note = self._note()
                    holder = f"pid {note.get('pid')}, since {note.get('since')}"
                    if all(started(int(pid)) == at for pid, at in note.get("callers", {}).items()):
                        text = f"another rollout is running: {holder}"
                        raise Failed(text, code=4) from None
                    if not waits:
                        self.report("wait", f"for a rollout whose caller is gone: {holder}")
                    waits = True
                    await asyncio.sleep(0.2)
            since = time.strftime("%H:%M:%S")
            note = {"pid": os.getpid(), "since": since, "callers": callers()}
            self._write_note(self._note() | note)
            yield
        finally:
            os.close(lock)


def stat_fields(pid: int) -> list[str]:
    """What proc(5) says of a process from its state on; raises `OSError` if it is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if it is gone."""
    try:
        return stat_fields(pid)[19]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended, reaped or not."""
    try:
        return stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False


def parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone."""
    try:
        return int(stat_fields(pid)[1])
    except OSError:
        return 0


def callers() -> dict[int, str]:
    """The ancestors of this process and when each started."""
    found = {}
    pid = os.getppid()
    while pid > 1:
        found[pid] = started(pid)
        pid = parent(pid)
    return found


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


def describe(state: State | None, ready: bool) -> str:
    """One word for a person."""
    if state is None:
        return "absent"
    if state.state == "STOPPING":
        return "draining"
    if state.up:
        return "serving" if ready else "starting" if state.state == "STARTING" else "not ready"
    return state.state.lower()


def batch_size(text: str, processes: int) -> int:
    """How many processes a batch takes; raises `Failed` where none would be left to serve."""
    found = re.fullmatch(r"([1-9]\d*)(%?)", text)
    if not found:
        raise Failed(f"batch {text!r}: expected a number of processes, or a percentage", code=2)
    number = int(found[1])
    size = max(1, math.floor(processes * number / 100)) if found[2] else number
    if size >= processes > 1:
        raise Failed(f"batch {text}: {size} of {processes} processes leaves none to serve", code=2)
    return size


def batches(names: list[str], size: int) -> Iterator[list[str]]:
    """Cut a list into lists of at most `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def print_status(records: list[dict[str, Any]]) -> None:
    """The table."""
    columns = ["port", "pid", "state", "release", "uptime", "in_flight"]
    rows = [[c.replace("_", "-").upper() for c in columns]]
    rows += [["-" if r[c] is None else str(r[c]) for c in columns] for r in records]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def print_listening() -> None:
    """Who listens on which TCP port, as JSON; of several processes the one that began it."""
    ports = {inode: address for address, inode in listening_sockets() if address.isdecimal()}
    holders: dict[str, set[int]] = {port: set() for port in ports.values()}
    for pid in all_pids():
        with contextlib.suppress(OSError):
            for inode in socket_inodes(pid) & ports.keys():
                holders[ports[inode]].add(pid)
    found = {}
    for port, pids in holders.items():
        first = min((pid for pid in pids if parent(pid) not in pids), default=None)
        words = b""
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{first}/cmdline").read_bytes()
        command = words.decode(errors="replace").replace("\0", " ").strip()
        found[port] = {"pid": first, "command": command}
    print(json.dumps(found))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog=os.environ.get("TORNADO_APP_CTL"), description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--home", type=Path, default=Path.cwd(), help="the app's home folder")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines and tables")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, *, batch: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        if batch:
            sub.add_argument("--batch", default="1", help="processes at a time: a number or N%%")
        return sub

    command("status", "show the processes; exit code 0 if all are ready")
    command("restart", "rolling restart of every process", batch=True)
    command("rollback", "roll out the configuration before", batch=True)
    command("stop", "drain all processes at once")
    command("start", "start all processes")
    command("shutdown", "drain all processes at once, then end supervisord")
    command("rollout", "roll out a configuration (the role does)", batch=True).add_argument("id")
    command("pending", "say whether a rollout would do anything").add_argument("id")
    command("retire", "remove what is no longer configured, and prune")
    command("endpoints", "list the addresses of the current processes")
    command("listening", "list the TCP ports in use on this host")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> int:
    """Do one command; returns the exit code."""
    if options.command == "listening":
        print_listening()
        return 0
    home: Path = options.home.resolve()
    if options.command == "endpoints":
        path = linked(home / "current")
        processes = Configuration.read(path).processes.values() if path else ()
        print(json.dumps([process.listen for process in processes]))
        return 0
    conductor = Conductor(home, Report(options.json))
    if options.command == "status":
        configuration = conductor.current()
        records = await conductor.status(configuration)
        if options.json:
            print(json.dumps({"release": configuration.release, "processes": records}))
        else:
            print_status(records)
        return 0 if all(record["ready"] for record in records) else 1
    if options.command == "pending":
        why = conductor.pending(home / "configurations" / f"{options.id}.conf")
        print(json.dumps({"pending": bool(why), "why": why}))
        return 0
    if options.command == "shutdown":
        await conductor.shutdown()
        return 0
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, conductor.interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost terminal does not stop half-way
    async with conductor.locked():
        await change(conductor, options)
    return 0


async def change(conductor: Conductor, options: argparse.Namespace) -> None:
    """Do one of the commands that need the lock."""
    home = conductor.home
    if options.command == "rollout":
        target = Configuration.read(home / "configurations" / f"{options.id}.conf")
    elif options.command == "rollback":
        previous = linked(home / "previous")
        if previous is None:
            raise Failed("there is no configuration before this one")
        target = Configuration.read(previous)
    else:
        target = conductor.current()
    conductor.report.open_journal(target.log_folder)
    match options.command:
        case "rollout":
            await conductor.roll(target, options.batch, try_first=True)
        case "rollback":
            await conductor.roll(target, options.batch)
        case "restart":
            await conductor.roll(target, options.batch, everything=True)
        case "stop":
            await conductor.stop()
        case "start":
            await conductor.start()
        case "retire":
            await conductor.retire(target)
            conductor.prune(target.keep)


def main() -> int:
    """Run the command line; returns the exit code."""
    socket.setdefaulttimeout(60)  # of supervisor's client, should supervisord hang
    options = arguments()
    try:
        return asyncio.run(run(options))
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:  # of the disk: it is full, say
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted:
        print("error: interrupted; run it again to go on", file=sys.stderr)
        return 130
    except NotReady as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except xmlrpc.client.Fault as fault:
        print(f"error: supervisord: {fault.faultString}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
