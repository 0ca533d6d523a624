"""Whether processes are ready: what supervisord says of them, and what they say themselves."""

import asyncio
import time
from collections.abc import Mapping

from conductor import proc
from conductor.configuration import Configuration
from conductor.probe import PROBE_TIMEOUT, ask
from conductor.supervisor_client import Supervisor

# Seconds between two looks at a process: the most that a roll adds to its own drain and start.
TICK = 0.02


class Readiness:
    """Which processes are ready.

    Attributes:
        pids: of those that this conductor started and saw ready, by name.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.pids: dict[str, int] = {}

    async def answer(self, configuration: Configuration, name: str, timeout: float) -> str:
        """Why a process does not answer within `timeout` seconds that it is ready; empty if so."""
        listen, path = configuration.processes[name].listen, configuration.ready_path
        status, _ = await ask(listen, path, timeout)
        if status == configuration.ready_status:
            return ""
        return f"answers {status} on {path}" if status else f"does not answer on {path}"

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
        states = self._supervisor.states(expected)
        ended = "ended after it had become ready"

        async def reason(name: str) -> str:
            state = states.get(name)
            if state is not None and self.pids.get(name, state.pid) != state.pid:
                return ended
            if state is None or not state.up:
                return f"is {state.state.lower()}" if state else "is not there"
            patience = expected[name].ready_timeout if patient else 0
            why = await self.answer(expected[name], name, max(PROBE_TIMEOUT, patience))
            if why and name in self.pids:
                # It may be ending: its sockets are closed first.
                await asyncio.sleep(TICK)
                return why if proc.alive(state.pid) else ended
            return why

        reasons = zip(expected, await asyncio.gather(*map(reason, expected)), strict=True)
        return {name: why for name, why in reasons if why}

    async def settled(self, expected: Mapping[str, Configuration]) -> dict[str, str]:
        """`unready`, once those that start or are busy have had the time they may take."""
        began = time.monotonic()
        unready = await self.unready(expected, patient=True)
        while unready:
            waiting = [
                name
                for name, state in self._supervisor.states(unready).items()
                if state.state == "STARTING"
                and time.monotonic() - began < expected[name].ready_timeout
            ]
            if not waiting:
                break
            await asyncio.sleep(TICK)
            unready = await self.unready({name: expected[name] for name in unready}, patient=True)
        return unready
