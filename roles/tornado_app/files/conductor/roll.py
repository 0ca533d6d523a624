"""A roll, from top to bottom: refuse, try, switch, replace, and where that fails revert."""

import asyncio
import dataclasses
import os
import time
from typing import NoReturn

from conductor.batch import batch_size, batches
from conductor.configuration import Configuration
from conductor.errors import Failed, Interrupted, NotReady
from conductor.home import Home, link, linked
from conductor.journal import Report
from conductor.lock import Lock
from conductor.processes import Processes
from conductor.readiness import TICK
from conductor.supervisor_client import Supervisor


class Roll:
    """Makes a configuration current and replaces processes, a batch at a time."""

    def __init__(
        self, home: Home, supervisor: Supervisor, processes: Processes, lock: Lock, report: Report
    ) -> None:
        self._home = home
        self._supervisor = supervisor
        self._processes = processes
        self._readiness = processes.readiness
        self._lock = lock
        self._report = report
        self._interrupted = False

    def interrupt(self) -> None:
        """Stop before the next process; a second time, at once."""
        if self._interrupted:
            os._exit(130)
        self._interrupted = True
        self._report("interrupt", "stopping after this process; once more to stop at once")

    async def run(
        self,
        target: Configuration,
        batch: str,
        *,
        everything: bool = False,
        try_first: bool = False,
    ) -> None:
        """Make `target` current and replace the processes that differ, or all of them.

        Args:
            target: what is to run.
            batch: how many at a time, a number or a percentage.
            everything: replace also those that do not differ.
            try_first: another configuration than the one that serves must stand a trial before.

        Raises:
            Failed: it was refused, or reverted (code 1), or could not be reverted wholly (code 3).
            Interrupted: between two batches; the next roll goes on from there.
        """
        size = batch_size(batch, len(target.processes))
        self._supervisor.call("getState")
        path = self._lock.unfinished() or linked(self._home.current)
        before = Configuration.read(path) if path else None
        self._lock.remember(path)
        try:
            await self._end_trial(target)
            if try_first and before is not None and before.path != target.path:
                await self._try(target)
            began = time.monotonic()
            link(self._home.current, target.path)
            replaced = await self._replace(target, before, size, everything)
        except (NotReady, Failed) as failure:
            await self._fail(target, before, size, failure)
        self._finish(target, before)
        seconds = time.monotonic() - began
        self._report(
            "done",
            f"{replaced} of {len(target.processes)} processes replaced in {seconds:.1f} s, "
            f"release {target.release}{self._killed()}",
            seconds=round(seconds, 3),
            release=target.release,
            killed=sorted(self._processes.killed),
        )

    async def _try(self, target: Configuration) -> None:
        """Start one process of `target` beside those that serve, and see whether it stays.

        nginx does not know it: where it ends in the midst of a request, nobody's request is lost.
        """
        if target.trial is None:
            return
        name = target.trial_name
        alone = dataclasses.replace(target, processes={name: target.trial.process})
        lines = [f"{key}={value}" for key, value in target.trial.program.items()]
        self._home.trial.write_text("\n".join([f"[program:{name}]", *lines, ""]), encoding="utf-8")
        self._supervisor.differences()
        self._supervisor.add(name)
        try:
            await self._processes.start(alone, [name])
            self._report("trial", f"{target.trial.seconds:g} s", name)
            began = time.monotonic()
            unready: dict[str, str] = {}
            while not unready and time.monotonic() - began < target.trial.seconds:
                await asyncio.sleep(5 * TICK)
                unready = await self._readiness.unready({name: alone})
            if unready:
                raise NotReady(unready)
        finally:
            await self._end_trial(target)

    async def _end_trial(self, target: Configuration) -> None:
        """Drain and remove the process on trial, also that of a conductor that was killed."""
        if not self._home.trial.exists():
            return
        await self._processes.stop({target.trial_name: target})
        self._supervisor.remove(target.trial_name)
        self._home.trial.unlink()

    async def _replace(
        self,
        target: Configuration,
        before: Configuration | None,
        size: int,
        everything: bool,
    ) -> int:
        """Start what is added, replace what is changed, restart what is down; returns how many."""
        added, changed, _ = self._supervisor.differences()
        # A changed process still listens, and is asked, where the configuration before says.
        expected = {
            name: before if before and name in changed & before.processes.keys() else target
            for name in target.processes
            if name not in added
        }
        unready = await self._readiness.settled(expected)
        for name, why in unready.items():
            self._report("unready", f"{why}: replaced first", name)
        # These serve nobody: replacing them takes nothing away, and may heal.
        first = [name for name in target.processes if name in added | unready.keys()]
        then = [
            name
            for name in target.processes
            if name not in first and (everything or name in changed)
        ]
        # With nobody to protect from the load of a start, all start at once.
        first_size = size if len(first) < len(target.processes) else len(first)
        self._report(
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
                if unready := await self._readiness.settled(others):
                    raise NotReady(unready)
            await self._processes.stop({n: expected[n] for n in names if n not in added})
            for name in names:
                if name in changed:
                    self._supervisor.remove(name)
                if name in added | changed:
                    self._supervisor.add(name)
            await self._processes.start(target, names)
            expected |= dict.fromkeys(names, target)
        if unready := await self._readiness.settled(expected):
            raise NotReady(unready)
        return len(first) + len(then)

    def _finish(self, target: Configuration, before: Configuration | None) -> None:
        os.utime(target.path)  # the last to be pruned
        if before is not None and before.path != target.path:
            link(self._home.previous, before.path)
        self._lock.forget()

    async def _fail(
        self,
        target: Configuration,
        before: Configuration | None,
        size: int,
        failure: NotReady | Failed,
    ) -> NoReturn:
        """Say why, and go back to what served before where that was another configuration."""
        self._report("failed", str(failure))
        if isinstance(failure, NotReady):
            self._processes.show_logs(target, failure.reasons)
        if before is not None and before.path == target.path:
            self._lock.forget()
            text = f"stopped: {failure}; the other processes were left as they are"
            raise Failed(text) from None
        os.utime(target.path, (0, 0))  # the first to be pruned
        await self._revert(target, before, size, str(failure))
        raise Failed(f"reverted: {failure}") from None

    async def _revert(
        self, target: Configuration, before: Configuration | None, size: int, reason: str
    ) -> None:
        self._readiness.pids.clear()
        self._report(
            "revert", f"to release {before.release}" if before else "to nothing: first one"
        )
        link(self._home.current, before.path if before else None)
        try:
            if before is not None:
                await self._replace(before, target, size, everything=False)
            await self._processes.retire(target)
        except (NotReady, Failed) as failure:
            self._report("failed", str(failure))
            text = f"{reason}; and the configuration before does not come back: {failure}"
            raise Failed(text, code=3) from None
        self._lock.forget()
        self._report(
            "reverted",
            (f"release {before.release} serves" if before else "nothing runs") + self._killed(),
            killed=sorted(self._processes.killed),
        )

    def _killed(self) -> str:
        names = sorted(self._processes.killed)
        return f"; killed, for they did not drain: {', '.join(names)}" if names else ""
