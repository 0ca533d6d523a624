"""Rules for what a process is made of, how it is started and when it is ready."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..facts import HostFacts
from ..settings import Settings, integer

PLACES = ("{port}", "{listen}", "{socket}", "{name}", "{data}", "{prefix}", "{venv}")


def readiness(settings: Settings) -> Iterator[str]:
    """A process can be asked whether it is ready."""
    given = settings.text("tornado_app_ready_path")
    path = given.replace("{prefix}", settings.text("tornado_app_nginx_path"))
    if not re.fullmatch("/[!-~]*", path) or "%" in given or ";" in given:
        yield settings.error("tornado_app_ready_path", "a path that begins with /")
    if not 200 <= settings.integer("tornado_app_ready_status") < 600:
        yield settings.error("tornado_app_ready_status", "an HTTP status")


def packages(settings: Settings, playbook_dir: str) -> Iterator[str]:
    """Packages are packages, and those that are paths are on the controller."""
    given = settings.texts("tornado_app_packages")
    if not given and not settings.text("tornado_app_requirements"):
        yield settings.error("tornado_app_packages", "at least one package that pip can install")
    wrapping = [settings.text("tornado_app_drain_package")] if wrapped(settings) else []
    for package in given + wrapping:
        variable = "tornado_app_packages" if package in given else "tornado_app_drain_package"
        if not package or package.startswith("-") or "\n" in package:
            yield settings.error(variable, "what pip takes, no options", package)
        source = Path(playbook_dir, re.sub(r"\[.*\]$", "", package))
        if package.startswith(("/", "./", "../")) and not os.access(source, os.F_OK):
            yield settings.error(variable, "a path that exists on the controller", package)


def files(settings: Settings, playbook_dir: str) -> Iterator[str]:
    """Requirements files are on the controller; a lock can be written there."""
    for variable in ("tornado_app_requirements", "tornado_app_constraints"):
        given = settings.text(variable)
        if given and not os.path.isfile(Path(playbook_dir, given)):  # noqa: PTH113 - may raise
            yield settings.error(variable, "a file that exists on the controller")
    lock = settings.text("tornado_app_lock")
    if lock and (Path(playbook_dir, lock).is_dir() or not Path(playbook_dir, lock).parent.is_dir()):
        yield settings.error("tornado_app_lock", "a file in a folder that exists on the controller")
    builder = settings.text("tornado_app_build_on")
    if builder and builder not in settings.given["groups"]["all"]:
        yield settings.error("tornado_app_build_on", "a host of the inventory")


def command(settings: Settings) -> Iterator[str]:
    """The command is one program with its arguments."""
    given = settings.text("tornado_app_command")
    if not re.match(r"[^\s{}]", given) or re.search(r"[\n\r]|\s[;#]", given):
        yield settings.error(
            "tornado_app_command",
            "a program of the packages, or an absolute path, and its arguments,"
            ' in one line without " ;" or " #"',
        )
    for word in dict.fromkeys(re.findall(r"\{[a-z_]*\}", given)):
        if word not in PLACES:
            yield settings.error(
                "tornado_app_command",
                "only {port}, {listen}, {socket}, {name}, {data}, {prefix} and {venv} in braces",
                word,
            )
    if wrapped(settings) and "tornado_drain" in given:
        yield settings.error(
            "tornado_app_command",
            "the program's own command: tornado_app_wrap puts the drain around it",
        )


def wrapped(settings: Settings) -> bool:
    """Tell whether the drain is put around a program that knows nothing of it."""
    return settings.boolean("tornado_app_wrap")


def environment(settings: Settings) -> Iterator[str]:
    """Variables have names that are not the role's own, and values that a line can hold."""
    given = {str(name): v for name, v in settings.given["tornado_app_environment"].items()}
    for name, value in sorted(given.items(), key=lambda item: item[0].lower()):
        named = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)
        if not named or name.startswith("TORNADO_DRAIN_"):
            yield settings.error(
                "tornado_app_environment",
                "names of letters, digits and underscores, none that begins with TORNADO_DRAIN_",
                name,
            )
        # A value may be a secret: only its type is said.
        if not isinstance(value, str | int | float):
            yield settings.error(
                "tornado_app_environment",
                f"text or a number for {name}",
                f"a {type(value).__name__}",
            )


def batch(settings: Settings) -> Iterator[str]:
    """A roll leaves a process to serve."""
    given = settings.text("tornado_app_batch")
    processes = settings.integer("tornado_app_processes")
    size: float = integer(given.replace("%", ""))
    if given.endswith("%"):
        size = size * processes / 100
    if not re.fullmatch("[1-9][0-9]*%?", given) or size >= processes:
        yield settings.error(
            "tornado_app_batch", "a number or a percentage that leaves a process to serve"
        )


def series(settings: Settings) -> Iterator[str]:
    """A fleet rolls in steps that Ansible takes."""
    given = settings.given["tornado_app_serial"]
    for step in given if isinstance(given, list) and given else [given]:
        if not re.fullmatch(r"[1-9][0-9]*|(100|[1-9][0-9]?)%", str(step)):
            yield settings.error(
                "tornado_app_serial", "a number of hosts, a percentage, or a list of these"
            )


def programs(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """The host has what the role does not install."""
    if not facts["python"]:
        yield settings.error("tornado_app_python", "a Python on this host")
    if settings.rootless and not facts["nginx"]:
        yield settings.error(
            "tornado_app_rootless", "nginx in the PATH of this host: only root can install it"
        )
