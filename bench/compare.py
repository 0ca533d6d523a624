"""`make bench`: this kit, the known recipe and the usual alternatives, side by side in one run.

python -m bench.compare [--only NAME,...] [--seconds N] [--rolls N] [--sizes N,...]
    [--nginx-workers N] [--to FOLDER]
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench import results
from bench.candidates import NGINX, OTHER_PORT, Candidate, Kit, Recipe, candidates
from bench.clients import CLIENTS, Seen, clients
from tests.support.stack import wrk

# What `make bench` promises of the kit: requests per second over the recipe's, one process's share
# of a roll of the most processes over that of the fewest, a roll in batches of a quarter over one
# process's time.
LEAST_FASTER, MOST_GROWTH, MOST_BATCHED = 1.3, 1.5, 6.0

# How often the kit and the recipe take turns to be compared, and for how many seconds each: the
# speed of a shared machine changes by a fifth within a minute.
TURNS, TURN_SECONDS = 5, 4

# Seconds that a process of the demo app takes to become ready in the roll in batches: as it mostly
# waits, the cores do not decide.
START_SECONDS = 4


@dataclass
class Memory:
    """The most that a candidate had at one time, bytes; `pss` counts what is shared once."""

    rss: int = 0
    pss: int = 0


@contextmanager
def watched(candidate: Candidate) -> Iterator[Memory]:
    """Look at its memory five times a second, within this context."""
    most = Memory()
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.2):
            rss = pss = 0
            # One that has just left has nothing.
            with suppress(psutil.NoSuchProcess, FileNotFoundError):
                for process in candidate.processes():
                    with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
                        memory = process.memory_full_info()
                        rss, pss = rss + memory.rss, pss + memory.pss
            most.rss, most.pss = max(most.rss, rss), max(most.pss, pss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        end.set()
        thread.join()


@dataclass
class Bench:
    """One run, and what it has found."""

    seconds: float
    rolls: int
    began: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def measure(self, candidate: Candidate, recipe: Candidate | None = None) -> dict[str, Any]:
        """Start a candidate, let clients ask, roll it while they ask, stop it.

        Args:
            candidate: to be measured.
            recipe: to compare its throughput with in turn.

        Returns:
            Its record for ``bench.json``; seconds, milliseconds (``_ms``) and bytes.
        """
        self.say(f"{candidate.name}: {candidate.how}")
        try:
            candidate.stop()
            candidate.start()
            with self.clients(candidate):
                time.sleep(1)
            turns = self.take_turns(candidate, recipe) if recipe else []
            psutil.cpu_percent()
            with self.clients(candidate) as steady:
                time.sleep(self.seconds)
            busy = psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1)
            took = []
            with watched(candidate) as memory, self.clients(candidate) as rolling:
                for _ in range(self.rolls):
                    began = time.monotonic()
                    candidate.roll()
                    took.append(time.monotonic() - began)
        finally:
            candidate.stop()
        failed = steady.failed + rolling.failed
        lost, twice = steady.lost + rolling.lost, steady.twice + rolling.twice
        per_second = steady.requests / steady.seconds
        self.say(f"  {per_second:,.0f} requests/s; {failed} failed, {lost} lost, {twice} twice")
        return {
            "name": candidate.name,
            "how": candidate.how,
            "requests": steady.requests + rolling.requests,
            "requests_per_second": per_second,
            "times_recipe": turns,
            "p50_ms_steady": steady.p50_ms,
            "p99_ms_steady": steady.p99_ms,
            "p50_ms_rolling": rolling.p50_ms,
            "p99_ms_rolling": rolling.p99_ms,
            "failed_steady": steady.failed,
            "failed": failed,
            "failed_per_roll": rolling.failed / self.rolls,
            "retried_per_roll": rolling.retried / self.rolls,
            "posts": steady.orders + rolling.orders,
            "posts_lost": lost,
            "posts_twice": twice,
            "rolls": self.rolls,
            "roll_seconds": sum(took) / len(took),
            "rss": memory.rss,
            "pss": memory.pss,
            "cores_busy": busy,
            "cores_clients": steady.cores,
            "why": rolling.why or steady.why,
        }

    def take_turns(self, candidate: Candidate, recipe: Candidate) -> list[float]:
        """Return how many times as many requests per second the candidate answers, turn by turn.

        All are for `/hello`, half of them POST; unlike `clients`, nobody waits for the last ones.
        """
        times = []
        try:
            recipe.start()
            for _ in range(TURNS):
                rates = []
                for one in (recipe, candidate):
                    with wrk(one.port) as load:
                        time.sleep(min(TURN_SECONDS, self.seconds))
                    rates.append(load.per_second)
                times.append(rates[1] / rates[0])
        finally:
            recipe.stop()
        return times

    def clients(self, candidate: Candidate) -> AbstractContextManager[Seen]:
        """`clients` of a candidate, with ids of their own: the two of the kit share a journal."""
        run = f"{os.getpid()}x{time.monotonic_ns()}"
        return clients(candidate.port, candidate.folder / "clients", run, candidate.data)

    def grow(self, sizes: Sequence[int]) -> dict[str, Any]:
        """Roll the kit with more and more processes, without load.

        Returns:
            Seconds of each roll, and the processor's seconds that the conductor and supervisord
            took of it, by number of processes; and of the rolls in batches.
        """
        kit = Kit("unix", "this kit, more and more processes")
        kit.stack.variables["tornado_app_batch"] = "25%"
        found: dict[str, Any] = {"sizes": []}
        try:
            kit.stop()
            for size in sizes:
                kit.start(size)
                found["sizes"].append({"processes": size} | self.roll(kit))
            found["batched"] = {"processes": sizes[-1]} | self.roll(kit, "25%")
            kit.stack.variables["tornado_app_environment"] = {
                "DEMO_START_SECONDS": str(START_SECONDS)
            }
            for name, size, batch in (("slow", sizes[0], "1"), ("slow_batched", sizes[-1], "25%")):
                kit.start(size)
                found[name] = {"processes": size} | self.roll(kit, batch)
        finally:
            kit.stop()
        return found

    def roll(self, kit: Kit, batch: str = "1") -> dict[str, float]:
        """Roll the kit once; returns seconds, and the processor's seconds of what does it."""
        supervisord = kit.supervisord()
        before, children = supervisord.cpu_times(), os.times()
        began = time.monotonic()
        kit.roll(batch)
        took = time.monotonic() - began
        after, conductor = supervisord.cpu_times(), os.times()
        own = after.user + after.system - before.user - before.system
        own += conductor.children_user + conductor.children_system
        own -= children.children_user + children.children_system
        self.say(f"  {kit.how}: {took:.1f} s, {batch} at a time")
        return {"seconds": took, "own_cpu_seconds": own}


def judge(found: dict[str, Any]) -> list[str]:
    """What does not hold of what `make bench` promises; empty where all does."""
    by_name = {record["name"]: record for record in found["candidates"]}
    problems = []
    for name in ("kit-port", "kit-unix"):
        record = by_name.get(name, {})
        problems += [
            f"{name}: {count} {record[count]}; expected 0 ({record['why']})"
            for count in ("failed", "posts_lost", "posts_twice")
            if record.get(count)
        ]
    recipe = by_name.get("recipe")
    if recipe and not (recipe["failed"] and recipe["posts_lost"]):
        problems.append(
            f"recipe: failed {recipe['failed']}, posts_lost {recipe['posts_lost']}; expected more "
            "than 0 of both: clients that see no loss here would see none of the kit's"
        )
    if turns := by_name.get("kit-unix", {}).get("times_recipe"):
        times = median(turns)
        if times < LEAST_FASTER:
            problems.append(
                f"kit-unix: {times:.2f} times the recipe's requests per second, taking turns; "
                f"expected {LEAST_FASTER:g}"
            )
    if growth := found.get("growth"):
        first, last = (size["seconds"] / size["processes"] for size in results.ends(growth))
        if last > MOST_GROWTH * first:
            problems.append(
                f"a roll took {first:.2f} s per process of the fewest, {last:.2f} s of the most; "
                f"expected at most {MOST_GROWTH:g} times"
            )
        one = growth["slow"]["seconds"] / growth["slow"]["processes"]
        times = growth["slow_batched"]["seconds"] / one
        if times > MOST_BATCHED:
            problems.append(
                f"a roll in batches of 25% took {times:.1f} times one process's time; "
                f"expected at most {MOST_BATCHED:g}"
            )
    return problems


def machine() -> dict[str, Any]:
    """Where this runs."""
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return {
        "cores": psutil.cpu_count(),
        "python": platform.python_version(),
        "nginx": nginx.strip().rpartition("/")[2],
        "load_before": round(os.getloadavg()[0], 2),
        "clients": CLIENTS,
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = {candidate.name: candidate for candidate in candidates()}
    parser.add_argument("--only", help=f"some of {','.join(known)}")
    parser.add_argument("--seconds", type=float, default=8, help="of steady load for each")
    parser.add_argument("--rolls", type=int, default=3, help="under load, of each")
    parser.add_argument("--sizes", default="2,8,32,64", help="processes of the kit, rolled idle")
    parser.add_argument("--nginx-workers", type=int, help="by default as the role has it")
    parser.add_argument("--to", type=Path, default=results.FOLDER, help="folder of the results")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: got {unknown[0]!r}; expected some of {','.join(known)}")
    if options.nginx_workers is not None:
        NGINX["tornado_app_nginx_workers"] = options.nginx_workers
    sizes = [int(size) for size in options.sizes.split(",") if size]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bench = Bench(options.seconds, options.rolls)
    arguments = f" ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else ""
    found: dict[str, Any] = {"command": f"make bench{arguments}"}
    found["machine"] = machine()
    try:
        found["candidates"] = [
            bench.measure(known[name], Recipe(OTHER_PORT) if name == "kit-unix" else None)
            for name in names
        ]
        if sizes:
            found["growth"] = bench.grow(sizes)
    except KeyboardInterrupt:
        print("\ninterrupted; what was started is stopped", file=sys.stderr)
        return 130
    found["seconds"] = time.monotonic() - bench.began
    found["problems"] = judge(found)
    options.to.mkdir(parents=True, exist_ok=True)
    (options.to / "bench.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("\n" + results.write(found, options.to))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
