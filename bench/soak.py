"""`make soak`: a million requests over a hundred rolls; nothing is lost, and nothing grows.

python -m bench.soak [--requests N] [--rolls N] [--listener port|unix]
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, mean

import psutil

from bench.candidates import Kit
from bench.clients import Seen, clients
from bench.results import FOLDER

# The whole soak; a smaller one is for trying, and is not written down.
REQUESTS, ROLLS = 1_000_000, 100

# Resident memory may be so much more over the last tenth of the rolls than over the first.
MOST_GROWTH, MOST_BYTES = 1.05, 1 << 20

# Seconds for a roll of three processes, which takes some ten.
PATIENCE = 300.0


class Soak:
    """The kit under load, and what its memory was during each roll."""

    def __init__(self, listener: str) -> None:
        self.kit = Kit(listener, "")
        self.began = time.monotonic()
        self.resident: dict[str, list[int]] = {"supervisord": [], "nginx": [], "conductor": []}

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def run(self, requests: int, rolls: int) -> Seen:
        """Roll that often under load, and let the load go on to that many requests."""
        try:
            self.kit.stop()
            self.kit.start()
            folder = self.kit.folder / "soak"
            run = f"{os.getpid()}x{int(self.began)}"
            with clients(self.kit.port, folder, run, self.kit.data) as seen:
                for number in range(1, rolls + 1):
                    self.roll()
                    if number % 10 == 0 or number == rolls:
                        self.say(f"{number} rolls, {seen.so_far():,} requests")
                while seen.so_far() < requests:
                    time.sleep(1)
        finally:
            self.kit.stop()
        return seen

    def roll(self) -> None:
        """Roll once, and look at the memory while and after it."""
        [program] = (self.kit.folder / "bin").glob("*-ctl")
        conductor = subprocess.Popen([program, "restart"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        most = 0
        try:
            while conductor.poll() is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"a roll takes more than {PATIENCE:g} s")
                most = max(most, psutil.Process(conductor.pid).memory_info().rss)
                time.sleep(0.05)
        finally:
            conductor.terminate()
            conductor.wait()
        if conductor.returncode != 0:
            raise subprocess.CalledProcessError(conductor.returncode, "restart")
        supervisord = self.kit.supervisord()
        family = [p for p in supervisord.children(recursive=True) if p.name() == "nginx"]
        self.resident["conductor"].append(most)
        self.resident["supervisord"].append(supervisord.memory_info().rss)
        self.resident["nginx"].append(sum(process.memory_info().rss for process in family))


def tenths(values: Sequence[int]) -> tuple[float, float]:
    """The means of the first and of the last tenth."""
    count = max(1, len(values) // 10)
    return mean(values[:count]), mean(values[-count:])


def judge(soak: Soak, seen: Seen) -> list[str]:
    """What does not hold of what `make soak` promises; empty where all does."""
    counts = {"failed": seen.failed, "lost": seen.lost, "twice": seen.twice}
    problems = [f"{name}: {n}; expected 0 ({seen.why})" for name, n in counts.items() if n]
    for name, values in soak.resident.items():
        first, last = tenths(values)
        if last > MOST_GROWTH * first + MOST_BYTES:
            problems.append(
                f"{name}: {last / 2**20:.1f} MiB resident at the end, {first / 2**20:.1f} at the "
                f"beginning; expected at most {MOST_GROWTH - 1:.0%} and 1 MiB more"
            )
    return problems


def table(soak: Soak, seen: Seen, rolls: int) -> str:
    """The result, as Markdown that a terminal shows well too."""
    rows = [
        ("listener", soak.kit.stack.variables["tornado_app_listener"]),
        ("requests", f"{seen.requests:,}"),
        ("rolls", f"{rolls}"),
        ("minutes", f"{seen.seconds / 60:.1f}"),
        ("failed", f"{seen.failed}"),
        ("orders", f"{seen.orders:,}"),
        ("orders lost", f"{seen.lost}"),
        ("orders executed twice", f"{seen.twice}"),
    ]
    for name, values in soak.resident.items():
        first, last = (value / 2**20 for value in tenths(values))
        slope = linear_regression(range(len(values)), values).slope if len(values) > 1 else 0
        text = f"{first:.1f} / {last:.1f} MiB, {slope / 1024:+.1f} KiB a roll"
        rows.append((f"{name} resident, first / last tenth", text))
    width = max(len(name) for name, _ in rows)
    lines = [f"| {name:<{width}} | {value:>30} |" for name, value in rows]
    return "\n".join([f"| {'':<{width}} | {'':>30} |", f"| {'-' * width} | {'-' * 29}: |", *lines])


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="at least so many")
    parser.add_argument("--rolls", type=int, default=ROLLS)
    parser.add_argument("--listener", choices=["port", "unix"], default="port")
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder of the result")
    options = parser.parse_args()
    if options.requests < 1 or options.rolls < 1:
        parser.error(f"--requests, --rolls: got {options.requests}, {options.rolls}; expected 1 up")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soak = Soak(options.listener)
    try:
        seen = soak.run(options.requests, options.rolls)
    except KeyboardInterrupt:
        print("\ninterrupted; what was started is stopped", file=sys.stderr)
        return 130
    problems = judge(soak, seen)
    text = table(soak, seen, options.rolls)
    print("\n" + text)
    if options.requests >= REQUESTS and options.rolls >= ROLLS and not problems:
        title = f"# Measured by `make soak`, {time.strftime('%Y-%m-%d', time.gmtime())}"
        (options.to / "soak.md").write_text(f"{title}\n\n{text}\n", encoding="utf-8")
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "\nNothing was lost or grew.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
