"""A release: what pip resolves, locked, in a virtual environment of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

# It is written last: a folder without it is of a build that was interrupted.
LOCK = "requirements.txt"


class ReleaseError(Exception):
    """Why there is no such release, in the words of who refused it."""


def run(command: Sequence[str], text: str = "") -> str:
    """Run a command and return what it printed.

    Raises:
        ReleaseError: it failed, or there is no such program.
    """
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise ReleaseError(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise ReleaseError(done.stderr.rstrip() or done.stdout.rstrip())
    return done.stdout


def pip_install(tools: str, python: str, arguments: Sequence[str], text: str = "") -> str:
    """Have the tools' pip install for a Python; see `run`."""
    command = [tools, "-m", "pip", "--python", python, "install", "--quiet", "--no-input"]
    return run([*command, "--disable-pip-version-check", *arguments], text)


def resolve(tools: str, python: str, arguments: Sequence[str], packages: Sequence[str]) -> str:
    """Ask pip which packages it would install.

    Args:
        tools: the Python whose pip is asked.
        python: the one that the packages are for.
        arguments: for pip, such as ``--index-url``.
        packages: names, as pip takes them, or paths of wheels.

    Returns:
        The lock, see `lock`.

    Raises:
        ReleaseError: pip refuses them.
    """
    dry = ["--dry-run", "--ignore-installed", "--report", "-"]
    return lock(json.loads(pip_install(tools, python, [*dry, *arguments, *packages])))


def lock(report: Mapping[str, Any]) -> str:
    """Return the lock of a release: a requirements file with every version and hash.

    Args:
        report: what ``pip install --report`` writes
            (https://pip.pypa.io/en/stable/reference/installation-report/).

    Returns:
        A comment with the version of Python, then a line per package, by name. With a package from
        a version control system there are no hashes, since pip wants them of all or of none.
    """
    items = sorted(report["install"], key=lambda item: str(item["metadata"]["name"]).lower())
    hashed = not any("vcs_info" in item["download_info"] for item in items)
    lines = [f"# Python {report['environment']['python_full_version']}"]
    for item in items:
        name, source = item["metadata"]["name"], item["download_info"]
        if "vcs_info" in source:
            vcs = source["vcs_info"]
            line = f"{name} @ {vcs['vcs']}+{source['url']}@{vcs['commit_id']}"
            if "subdirectory" in source:
                line += f"#subdirectory={source['subdirectory']}"
        elif item.get("is_direct"):
            line = f"{name} @ {source['url']}"
        else:
            line = f"{name}=={item['metadata']['version']}"
        if hashed:
            line += f" --hash={_digest(source['archive_info'])}"
        lines.append(line)
    return "".join(f"{line}\n" for line in lines)


def _digest(archive: Mapping[str, Any]) -> str:
    """Return ``sha256:<hex>``; pip before 23.1, that of Debian 12, writes no ``hashes``."""
    if "hash" in archive:
        return str(archive["hash"]).replace("=", ":")
    return f"sha256:{archive['hashes']['sha256']}"


def identify(locked: str) -> str:
    """Name a release by its lock, 12 hexadecimal digits."""
    return hashlib.sha256(locked.encode()).hexdigest()[:12]


def build(release: Path, tools: str, python: str, arguments: Sequence[str], locked: str) -> None:
    """Install what a lock names; `complete` is what makes a release of it.

    Args:
        release: its folder. What an interrupted build has left there is removed.
        tools: the Python whose pip installs.
        python: the one that the release is made with.
        arguments: for pip.
        locked: the lock.

    Raises:
        OSError: a file cannot be removed.
        ReleaseError: there is no such package, or no room.
    """
    if release.exists():
        shutil.rmtree(release)
    run([python, "-m", "venv", "--without-pip", str(release / "venv")])
    own_python = str(release / "venv/bin/python")
    pip_install(tools, own_python, ["--no-deps", *arguments, "-r", "/dev/stdin"], locked)


def complete(release: Path, locked: str, give: Callable[[str], object]) -> None:
    """Mark a release as built to its end.

    Args:
        release: its folder.
        locked: the lock, which is kept in it.
        give: gives the file at a path its owner and group.

    Raises:
        OSError: there is no room.
    """
    new = release / f".{LOCK}"
    new.write_text(locked)
    new.chmod(0o640)
    give(str(new))
    new.replace(release / LOCK)


def is_program(name: str, release: Path) -> bool:
    """Tell whether a name is a program of a release, or the absolute path of one of the host."""
    path = release / "venv/bin" / name
    return path.is_file() and os.access(path, os.X_OK)
