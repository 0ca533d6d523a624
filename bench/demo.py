"""`make demo`: deploy, roll and break the demo app under load, and show what that cost.

python -m bench.demo [arguments for ansible-playbook]
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import report

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".run/demo"
OUT = ROOT / "out/demo"
BIN = Path(sys.executable).parent

# What `make demo` promises.
LEAST_REQUESTS = 20_000
CLIENTS = 100

# Before the first roll: enough for a steady p99.
STEADY_REQUESTS = 3_000

# Seconds in which even a slow machine answers LEAST_REQUESTS.
PATIENCE = 180.0


class Stopped(Exception):
    """A step did not end as it should."""


class Demo:
    """The stack, its load, and what both say while they run."""

    def __init__(self, arguments: Sequence[str], port: int) -> None:
        self.arguments = [*arguments, "-e", f"tornado_app_nginx_listen=127.0.0.1:{port}"]
        self.port = port
        self.began = time.monotonic()
        self.log = OUT / "load.jsonl"
        self.journal = HOME / "log/rolling_restart.jsonl"
        self._journal_read = 0
        self._load: subprocess.Popen[bytes] | None = None
        self._load_read = self._requests = self._failed = 0
        self._spoke = 0.0
        self.deploying: list[tuple[float, float]] = []

    def say(self, text: str) -> None:
        """Print a line with the seconds since the beginning."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)
        self._spoke = time.monotonic()

    def step(self, title: str) -> None:
        """Announce what comes."""
        print(flush=True)
        self.say(title)

    def watch(self) -> None:
        """Print what the conductor has said since, and every 5 seconds how the load fares."""
        if self.journal.exists():
            with self.journal.open(encoding="utf-8") as lines:
                lines.seek(self._journal_read)
                for line in lines:
                    event = json.loads(line)
                    self.say(
                        f"  {event.get('process', ''):<12} {event['event']:<9} {event['text']}"
                    )
                self._journal_read = lines.tell()
        if self._load is None:
            return
        with self.log.open(encoding="utf-8") as lines:
            lines.seek(self._load_read)
            new = lines.read()
        new = new[: new.rfind("\n") + 1]
        self._load_read += len(new.encode())
        self._requests += new.count("\n")
        self._failed += new.count('"error":')
        if time.monotonic() - self._spoke >= 5:
            self.say(f"  {self._requests:,} requests, {self._failed} failed")
        if self._load.poll() is not None:
            raise Stopped(f"the load ended by itself: see {OUT.relative_to(ROOT)}/load.log")

    def wait(self, seconds: float, requests: int = 0) -> None:
        """Let the load run so long, and on until it has made so many requests in all."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds or (
            self._requests < requests and waited < PATIENCE
        ):
            self.watch()
            time.sleep(0.2)

    def run(self, command: Sequence[str | Path], name: str) -> int:
        """Run a command, its output in ``out/demo/<name>.log``; returns its exit code."""
        with (OUT / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
            try:
                while process.poll() is None:
                    self.watch()
                    time.sleep(0.2)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        self.watch()
        return process.returncode

    def deploy(self, name: str, **variables: Any) -> int:
        """Run the playbook with these variables; returns its exit code."""
        command = [str(BIN / "ansible-playbook"), "-i", "inventory/local", "site.yml"]
        extra = ["-e", json.dumps(variables)] if variables else []
        began = time.time()
        try:
            return self.run([*command, *self.arguments, *extra], name)
        finally:
            self.deploying.append((began, time.time()))

    def must(self, code: int, what: str, name: str) -> None:
        """Raise `Stopped` with the end of the log unless the code is 0."""
        if code != 0:
            lines = (OUT / f"{name}.log").read_text(errors="replace").splitlines()
            raise Stopped("\n".join([f"{what} failed with exit code {code}:", *lines[-40:]]))

    def start_load(self) -> None:
        """Start the clients."""
        self.log.touch()
        options = ["-f", "bench/locustfile.py", "--headless", "--only-summary"]
        options += ["--users", str(CLIENTS), "--spawn-rate", str(CLIENTS), "--stop-timeout", "30"]
        options += ["--host", f"http://127.0.0.1:{self.port}"]
        self._load = subprocess.Popen(
            [BIN / "locust", *options],
            cwd=ROOT,
            env=os.environ | {"LOAD_LOG": str(self.log)},
            stdout=(OUT / "load.log").open("wb"),
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )

    def stop_load(self) -> None:
        """Let the clients finish what they have begun."""
        if self._load is None:
            return
        load, self._load = self._load, None
        load.send_signal(signal.SIGTERM)
        try:
            load.wait(60)
        except subprocess.TimeoutExpired:
            load.kill()

    def status(self) -> dict[str, Any]:
        """What runs, as the conductor says."""
        done = subprocess.run(
            [HOME / "bin/demo-ctl", "--json", "status"], capture_output=True, check=False
        )
        answer: dict[str, Any] = json.loads(done.stdout or b"{}")
        return answer

    def orders(self) -> list[str]:
        """The ids of all orders that the processes have executed."""
        journals = (HOME / "data").glob("orders-*.jsonl")
        return [json.loads(line)["id"] for j in journals for line in j.read_text().splitlines()]


def another_release(version: str) -> list[str]:
    """Copy the demo app under another version; returns the release's packages."""
    copy = OUT / f"demo_app-{version}"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "app/demo_app", copy, ignore=ignore)
    project = copy / "pyproject.toml"
    line = re.compile("^version = .*$", re.MULTILINE)
    changed, count = line.subn(f'version = "{version}"', project.read_text())
    if count != 1:
        raise Stopped(f"{project}: no version to change")
    project.write_text(changed)
    return [str(ROOT / "app[metrics]"), str(copy)]


def stop_stack() -> None:
    """Drain and stop whatever runs under ``.run``."""
    if (HOME / "run/supervisor.sock").exists():
        subprocess.run([HOME / "bin/demo-ctl", "shutdown"], check=False, capture_output=True)


def play(demo: Demo) -> dict[str, Any]:
    """All the steps; returns what the report is made of."""
    demo.step("deploying the first release")
    demo.must(demo.deploy("1-deploy"), "the deployment", "1-deploy")

    demo.step(f"{CLIENTS} clients begin")
    demo.start_load()
    demo.wait(5, STEADY_REQUESTS)

    demo.step("rolling out the second release under this load")
    second = another_release("1.1.1")
    code = demo.deploy("2-rollout", tornado_app_packages=second)
    demo.must(code, "the rollout", "2-rollout")
    good = demo.status()["release"]
    demo.wait(5)

    demo.step("restarting every process under this load")
    code = demo.run([HOME / "bin/demo-ctl", "restart"], "3-restart")
    demo.must(code, "the rolling restart", "3-restart")
    demo.wait(5)

    demo.step("deploying a release that never becomes ready")
    broken = demo.deploy(
        "4-broken",
        tornado_app_packages=another_release("1.1.2"),
        tornado_app_environment={"DEMO_BREAK": "unready"},
        tornado_app_ready_timeout=4,
    )
    status = demo.status()
    reverted = (
        broken != 0
        and status["release"] == good
        and all(p["ready"] and p["release"] == good for p in status["processes"])
    )
    demo.say("  the playbook failed, as it should" if broken else "  the playbook did not fail")
    demo.wait(5, LEAST_REQUESTS)

    demo.step("the clients leave")
    demo.stop_load()
    return {"reverted": reverted, "orders": demo.orders()}


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    _, arguments = parser.parse_known_args()
    port = int(os.environ.get("PORT", "8080"))
    stop_stack()
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    demo = Demo(arguments, port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        facts = play(demo)
    except Stopped as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        demo.stop_load()
        demo.say("stopping what was started")
        if demo.journal.exists():
            shutil.copy(demo.journal, OUT)
        stop_stack()
    result = report.write(
        OUT, facts["orders"], deploying=demo.deploying, reverted=facts["reverted"]
    )
    print(report.table(result))
    checks: dict[str, Callable[[], bool]] = {
        f"fewer than {LEAST_REQUESTS:,} requests": lambda: result["requests"] < LEAST_REQUESTS,
        "requests failed": lambda: result["failed"] > 0,
        "orders were lost": lambda: result["posts_lost"] > 0,
        "orders happened twice": lambda: result["posts_twice"] > 0,
        "the broken release was not reverted": lambda: not result["reverted"],
    }
    problems = [text for text, wrong in checks.items() if wrong()]
    demo.step(f"{OUT.relative_to(ROOT)}/report.html shows it over time")
    print("\n".join(f"FAILED: {problem}" for problem in problems) or "Nothing was lost.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
