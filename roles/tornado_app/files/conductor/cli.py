"""The conductor: restarts the processes of one app in turn, and rolls out another configuration.

It reads only what is on the host. `<home>/current` links to a configuration, a supervisor file
that names a release and an environment by path; whatever supervisord runs that differs from it is
still to be rolled. A rollout moves the link, replaces the processes that differ, each gated on
readiness, and moves everything back when one does not become ready. Before that, one process of the
new configuration stands a trial on an address that nginx does not know.

Exit codes: 0 done; 1 refused, or failed and reverted; 2 usage; 3 failed and not wholly reverted;
4 another rollout is running; 130 interrupted between two processes (running it again goes on).
A process that did not drain and was killed is warned of on standard error, whatever the exit code.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import xmlrpc.client
from pathlib import Path

from conductor import proc
from conductor.configuration import Configuration
from conductor.errors import Failed, Interrupted, NotReady
from conductor.home import Home, linked
from conductor.journal import Report
from conductor.lock import Lock
from conductor.processes import Processes
from conductor.prune import prune, unneeded
from conductor.roll import Roll
from conductor.status import pending, status, table
from conductor.supervisor_client import Supervisor


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
    command("pending", "say whether a rollout or `retire` would do anything").add_argument("id")
    command("retire", "remove what is no longer configured, and prune")
    command("endpoints", "list the addresses at which processes may listen")
    command("listening", "list the TCP ports in use on this host")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> int:
    """Do one command; returns the exit code."""
    if options.command == "listening":
        print(json.dumps(proc.listening_ports()))
        return 0
    home = Home(options.home.resolve())
    report = Report(options.json)
    lock = Lock(home.lock, report)
    if options.command == "endpoints":
        # Amid a rollout, or after one that was cut short, some still listen where they did before.
        paths = [linked(home.current), lock.unfinished()]
        known = [Configuration.read(path) for path in paths if path and path.exists()]
        found = [process.listen for each in known for process in each.processes.values()]
        print(json.dumps(list(dict.fromkeys(found))))
        return 0
    supervisor = Supervisor(home.path)
    if options.command == "status":
        configuration = home.current_configuration()
        records = await status(configuration, supervisor)
        if options.json:
            print(json.dumps({"release": configuration.release, "processes": records}))
        else:
            print(table(records))
        return 0 if all(record["ready"] for record in records) else 1
    if options.command == "pending":
        why = pending(home, supervisor, lock, options.id)
        former = bool(why) or retirable(home, supervisor)
        print(json.dumps({"pending": bool(why), "why": why, "retire": former}))
        return 0
    processes = Processes(supervisor, report)
    if options.command == "shutdown":
        await processes.shut_down()
        return 0
    roll = Roll(home, supervisor, processes, lock, report)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, roll.interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a lost terminal does not stop half-way
    try:
        async with lock.held():
            await change(options, home, processes, roll, report)
    finally:
        for name, told in sorted(processes.killed.items()):
            print(f"warning: {name} {told}", file=sys.stderr)
    return 0


def retirable(home: Home, supervisor: Supervisor) -> bool:
    """Whether `retire` would do anything."""
    _, _, removed = supervisor.differences()
    return bool(removed or unneeded(home, home.current_configuration().keep))


async def change(
    options: argparse.Namespace, home: Home, processes: Processes, roll: Roll, report: Report
) -> None:
    """Do one of the commands that need the lock."""
    if options.command == "rollout":
        target = Configuration.read(home.configuration(options.id))
    elif options.command == "rollback":
        previous = linked(home.previous)
        if previous is None:
            raise Failed("there is no configuration before this one")
        target = Configuration.read(previous)
    else:
        target = home.current_configuration()
    report.open_journal(target.log)
    match options.command:
        case "rollout":
            await roll.run(target, options.batch, try_first=True)
        case "rollback":
            await roll.run(target, options.batch)
        case "restart":
            await roll.run(target, options.batch, everything=True)
        case "stop":
            await processes.stop_all(target)
        case "start":
            await processes.start_stopped(target)
        case "retire":
            before = linked(home.previous)
            left = Configuration.read(before) if before and before.exists() else target
            await processes.retire(left)
            prune(home, target.keep)


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
