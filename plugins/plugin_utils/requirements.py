"""Reads requirements files on the controller, and keeps credentials out of what comes of them."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ..module_utils.artifact import unhashed

VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # as pip has it
FILE = re.compile(r"(?:-(?P<short>[rc])\s*|--(?P<long>requirement|constraint)[\s=]+)(?P<path>.+)")
SOURCE = re.compile(r"(?:-e\s*|--editable[\s=]+)?(?P<path>\.{0,2}/[^\s;]*|\.)(?:\s*;.*)?")
EDITABLE = re.compile(r"^(-e\s*|--editable[\s=]+)")
FIND_LINKS = re.compile(r"^(-f\s*|--find-links[\s=]+)(?P<path>\S+)$")
# A name alone is taken for a token, but not with ssh, which has it for the account.
USERINFO = re.compile(r"(?P<scheme>(?:\w+\+)?https?)://(?P<userinfo>[^\s/@]+)@(?P<host>[^\s/]+)")

# Options of `pip install` that `pip wheel` does not have, none of which takes a value.
INSTALLING = {"--compile", "--no-compile", "--no-warn-script-location", "--no-warn-conflicts"}
INSTALLING |= {"--break-system-packages", "--force-reinstall", "--upgrade", "-U"}


@dataclass
class Requirements:
    """What a file and those that it includes say: lines as pip takes them, and paths of sources."""

    lines: list[str] = field(default_factory=list)
    hashed: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def read(path: Path, found: Requirements, *, constraint: bool = False) -> None:
    """Read a requirements file, with those that it includes.

    Args:
        path: of the file.
        found: what is added to.
        constraint: whether it is one of constraints.

    Raises:
        OSError: a file cannot be read.
    """
    text = path.read_text(errors="replace").replace("\\\n", " ")
    for whole in text.splitlines():
        line = re.sub(r"(^|\s+)#.*", "", whole).strip()
        line = VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), line)
        folder = path.parent.resolve()
        if not line:
            continue
        if included := FILE.fullmatch(line):
            kind = included["short"] or included["long"][0]
            read(folder / included["path"], found, constraint=constraint or kind == "c")
        elif source := SOURCE.fullmatch(line):
            found.sources.append(str(folder / source["path"]))
        elif constraint:
            # What is installed is what is locked, with hashes of its own.
            found.constraints.append(unhashed(line))
        elif (links := FIND_LINKS.match(line)) and (folder / links["path"]).exists():
            found.lines.append(f"--find-links {folder / links['path']}")
        else:
            line = EDITABLE.sub("", line)
            (found.hashed if "--hash" in line else found.lines).append(line)


def without_credentials(lines: list[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Take the credentials out of the URLs in some lines.

    Args:
        lines: of requirements files, or arguments of pip.

    Returns:
        The lines without them; the credentials, as `Pip` takes them.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}

    def take(match: re.Match[str]) -> str:
        user, _, password = match["userinfo"].partition(":")
        vcs, _, scheme = match["scheme"].rpartition("+")
        base = f"{scheme}://{match['host']}"
        found[vcs, base] = {
            "vcs": vcs,
            "base": base,
            "host": match["host"].partition(":")[0],
            "user": unquote(user),
            "password": unquote(password),
        }
        return f"{match['scheme']}://{match['host']}"

    return [USERINFO.sub(take, line) for line in lines], list(found.values())
