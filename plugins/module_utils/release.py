"""A release: the wheels of an artifact, in a virtual environment of its own.

Runs on the host: standard library only, Python 3.9.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# It is written last: a folder without it is of a build that was interrupted.
LOCK = "requirements.txt"


class ReleaseError(Exception):
    """Why there is no such release, in the words of who refused it."""


def run(command: Sequence[str], text: str = "") -> None:
    """Run a command.

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


def install(venv: Path, pip: Sequence[str], archive: Path, wheels: Mapping[str, str]) -> None:
    """Install wheels in a virtual environment, without asking an index.

    Args:
        venv: its folder.
        pip: a Python that has pip, and arguments for it.
        archive: of the wheels, a tar file.
        wheels: the SHA-256 of each, hexadecimal, by its file's name.

    Raises:
        OSError: there is no room.
        ReleaseError: a wheel is not what it should be, or is not for this Python.
    """
    python, *arguments = pip
    command = [python, "-m", "pip", "--python", str(venv / "bin/python"), "install", *arguments]
    # No setting of this host's: all that is needed is there.
    command += ["--isolated", "--quiet", "--no-input", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory(dir=venv) as folder:
        with tarfile.open(archive) as packed:
            for name in wheels:
                unpacked = packed.extractfile(name)
                assert unpacked
                with Path(folder, name).open("wb") as file:
                    shutil.copyfileobj(unpacked, file)
        lines = [f"{folder}/{name} --hash=sha256:{digest}\n" for name, digest in wheels.items()]
        run([*command, "--no-index", "--no-deps", "--requirement", "/dev/stdin"], "".join(lines))


def build(
    release: Path, python: str, pip: Sequence[str], archive: Path, wheels: Mapping[str, str]
) -> None:
    """Install a release; `complete` is what makes one of it.

    Args:
        release: its folder. What an interrupted build has left there is removed.
        python: the Python that it is made with.
        pip: as `install` takes it, like the others.
        archive: of the wheels.
        wheels: their hashes.

    Raises:
        OSError: a file cannot be removed, or there is no room.
        ReleaseError: a wheel is not what it should be, or is not for this Python.
    """
    if release.exists():
        shutil.rmtree(release)
    run([python, "-m", "venv", "--without-pip", str(release / "venv")])
    install(release / "venv", pip, archive, wheels)


def complete(release: Path, lock: str, give: Callable[[str], object]) -> None:
    """Mark a release as built to its end.

    Args:
        release: its folder.
        lock: of what is in it, which is kept there.
        give: gives the file at a path its owner and group.

    Raises:
        OSError: there is no room.
    """
    new = release / f".{LOCK}"
    new.write_text(lock)
    new.chmod(0o640)
    give(str(new))
    new.replace(release / LOCK)


def is_program(name: str, release: Path) -> bool:
    """Tell whether a name is a program of a release, or the absolute path of one of the host."""
    path = release / "venv/bin" / name
    return path.is_file() and os.access(path, os.X_OK)


def programs(release: Path) -> list[str]:
    """Name the programs of a release, sorted."""
    found = [path.name for path in (release / "venv/bin").glob("*")]
    return sorted(name for name in found if is_program(name, release))


def releases(home: Path) -> dict[str, Any]:
    """Find the releases that were built to their end.

    Args:
        home: of the app.

    Returns:
        Of each, by name, its lock, its programs and whether it is the current one.
    """
    try:
        configuration = (home / "current").read_text()
    except OSError:
        configuration = ""
    return {
        path.parent.name: {
            "lock": path.read_text(),
            "programs": programs(path.parent),
            "current": f"/releases/{path.parent.name}/" in configuration,
        }
        for path in sorted(home.glob(f"releases/*/{LOCK}"))
        if os.access(path, os.R_OK)
    }
