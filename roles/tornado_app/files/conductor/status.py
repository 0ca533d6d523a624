"""What runs, for people and for programs, and whether it is what should run."""

import asyncio
import contextlib
import json
from typing import Any

from conductor import proc
from conductor.configuration import Configuration, Process
from conductor.home import Home, linked
from conductor.lock import Lock
from conductor.probe import ask
from conductor.readiness import Readiness
from conductor.supervisor_client import State, Supervisor
from conductor.text import aligned


async def status(configuration: Configuration, supervisor: Supervisor) -> list[dict[str, Any]]:
    """Ask every process that should run.

    Returns:
        A record for each: ``port``, ``pid``, ``state`` (a word), ``ready``, ``release``, ``uptime``
        (seconds), ``in_flight`` (requests) and ``listen``; None for what cannot be told.
    """
    answers = supervisor.answers()
    states = supervisor.states() if answers else {}
    expected = dict.fromkeys(configuration.processes, configuration)
    unready = await Readiness(supervisor).unready(expected) if answers else expected

    async def record(process: Process) -> dict[str, Any]:
        state = states.get(process.name)
        own: Any = None
        if state and state.up:
            _, body = await ask(process.listen, "/-/status", timeout=2)
            with contextlib.suppress(ValueError):
                own = json.loads(body)
        environment = {}
        if state and state.pid:
            with contextlib.suppress(OSError):
                environment = proc.environment(state.pid)
        return {
            "port": process.port,
            "pid": state.pid if state and state.pid else None,
            "state": describe(state, process.name not in unready),
            "ready": process.name not in unready,
            "release": environment.get("TORNADO_DRAIN_RELEASE"),
            "uptime": state.uptime if state and state.pid else None,
            "in_flight": own.get("in_flight") if isinstance(own, dict) else None,
            "listen": process.listen,
        }

    return list(await asyncio.gather(*map(record, configuration.processes.values())))


def describe(state: State | None, ready: bool) -> str:
    """One word for a person."""
    if state is None:
        return "absent"
    if state.state == "STOPPING":
        return "draining"
    if state.up:
        return "serving" if ready else "starting" if state.state == "STARTING" else "not ready"
    return state.state.lower()


def table(records: list[dict[str, Any]]) -> str:
    """The records of `status`, one a line below their names."""
    columns = ["port", "pid", "state", "release", "uptime", "in_flight"]
    rows = [[c.replace("_", "-").upper() for c in columns]]
    rows += [["-" if r[c] is None else str(r[c]) for c in columns] for r in records]
    return aligned(rows)


def pending(home: Home, supervisor: Supervisor, lock: Lock, name: str) -> list[str]:
    """Why a rollout of the configuration `name` would do something; empty where it would not."""
    if linked(home.current) != home.configuration(name):
        return ["the configuration is another one"]
    if not supervisor.answers():
        return ["supervisord does not run"]
    reasons = ["the last rollout did not end"] if lock.unfinished() else []
    added, changed, _ = supervisor.differences()
    reasons += [f"{name} does not run the current configuration" for name in added | changed]
    for name, state in supervisor.states().items():
        if not state.up and state.state != "STOPPING":
            reasons.append(f"{name} is {state.state.lower()}")
    return sorted(reasons)
