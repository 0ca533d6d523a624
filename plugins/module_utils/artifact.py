"""An artifact: what pip resolves, locked, and a wheel of each.

Runs where it is built, on the controller or on a host: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HASH = re.compile(r"\s+--hash[=\s]\S+")
NOT_FOUND = re.compile("No matching distribution found|ResolutionImpossible")
# A URL of a version control system, in a line of a requirements file.
VCS = re.compile(
    r"(?P<scheme>\w+\+\w+)://(?:(?P<user>[^\s/@]+)@)?(?P<place>[^\s@#;]+)"
    r"(?:@(?P<revision>[^\s@#;]+))?(?:#(?:\S*&)?subdirectory=(?P<subdirectory>[^\s&]+))?"
)


class ArtifactError(Exception):
    """Why there is none: a line, and in `output` all that pip said."""

    def __init__(self, line: str, output: str = "") -> None:
        super().__init__(line)
        self.output = output


class Pip:
    """pip, for the packages of one order.

    Args:
        command: how it is started for the Python that the packages are for.
        order: what is asked, in types that JSON has: ``requirements``, ``constraints`` and
            ``hashed``, lines of requirements files, the last with hashes; ``options``, lines too,
            such as ``--index-url``; ``wheels``, a list of ``name``, ``extras`` and ``file`` of
            wheels that are there already; ``arguments`` for every command; ``credentials``, a list
            of ``vcs`` (such as ``git``; empty for an index or a file), ``base``
            (``https://host:port``), ``host``, ``user`` and ``password``.
        folder: where those wheels are.
    """

    def __init__(self, command: Sequence[str], order: Mapping[str, Any], folder: Path) -> None:
        self.command = command
        self.order = order
        self.folder = folder

    def resolve(self) -> list[str]:
        """Ask which packages would be installed.

        Returns:
            A lock without the wheels that are there: a line for each package, by name, of a
            requirements file with every version and hash. With a package from a version control
            system there are no hashes, since pip wants them of all or of none.

        Raises:
            ArtifactError: pip refuses them.
        """
        hashed = self.order["hashed"]
        # Asked alone, since pip wants hashes of all or of none, and the drain's needs have none.
        locked = self._report(hashed, self.order["constraints"]) if hashed else {}
        wheels = [
            f"{wheel['name']}{wheel['extras']} @ {(self.folder / wheel['file']).as_uri()}"
            for wheel in self.order["wheels"]
        ]
        found = self._report(
            [*self.order["requirements"], *map(unhashed, hashed), *wheels],
            [*self.order["constraints"], *map(unhashed, locked.values())],
        )
        found |= locked
        if not all(HASH.search(line) for line in found.values()):
            return [unhashed(found[name]) for name in sorted(found)]
        return [found[name] for name in sorted(found)]

    def wheels(self, lock: Sequence[str], folder: Path) -> None:
        """Download or build a wheel of each line of a lock.

        Args:
            lock: what `resolve` returned.
            folder: where they go.

        Raises:
            ArtifactError: one cannot be had, or is not what was locked.
        """
        if lock:
            self._run("wheel", ["--no-deps", "--wheel-dir", str(folder)], requirement=lock)

    def _report(self, requirements: Sequence[str], constraints: Sequence[str]) -> dict[str, str]:
        """What pip would install, lines of a lock by name."""
        if not requirements:
            return {}
        report = self._run(
            "install",
            ["--dry-run", "--ignore-installed", "--report", "-"],
            requirement=requirements,
            constraint=constraints,
        )
        found = dict(lock_lines(json.loads(report), self.folder.as_uri()))
        asked = accounts(requirements)
        return {name: VCS.sub(partial(_account, asked), line) for name, line in found.items()}

    def _run(self, command: str, options: Sequence[str], **files: Sequence[str]) -> str:
        """Run one of its commands; requirements go by files, which only we may read."""
        quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
        with private(self.order["credentials"]) as (folder, environment):
            for kind, lines in files.items():
                text = [*self.order["options"], *lines] if kind == "requirement" else lines
                (folder / kind).write_text("".join(f"{line}\n" for line in text))
                options = [*options, f"--{kind}", str(folder / kind)]
            whole = [*self.command, command, *quiet, *self.order["arguments"], *options]
            done = self._done(whole, environment)
            if done.returncode != 0:
                said = done.stderr.rstrip() or done.stdout.rstrip()
                if NOT_FOUND.search(said):
                    # It goes on without an index that does not answer, and says so in a log alone.
                    # With that it would not say what else fails, so it is asked again.
                    log = folder / "log"
                    self._done([*whole, "--log", str(log)], environment)
                    said = "\n".join([*unanswered(log), said])
                said = hide(said, self.order["credentials"])
                raise ArtifactError(reason(said), said)
        return done.stdout

    def _done(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise ArtifactError(f"{command[0]}: {error.strerror}") from error


def lock_lines(report: Mapping[str, Any], wheels: str) -> Iterator[tuple[str, str]]:
    """Read the lines of a lock from a report.

    Args:
        report: what ``pip install --report`` writes
            (https://pip.pypa.io/en/stable/reference/installation-report/).
        wheels: the URL of the folder whose wheels are left out.

    Yields:
        A package's name, normalized, and its line.
    """
    for item in report["install"]:
        name, source = item["metadata"]["name"], item["download_info"]
        digest = ""
        if "vcs_info" in source:
            vcs = source["vcs_info"]
            line = f"{name} @ {vcs['vcs']}+{source['url']}@{vcs['commit_id']}"
            if "subdirectory" in source:
                line += f"#subdirectory={source['subdirectory']}"
        else:
            digest = f" --hash={_digest(source['archive_info'])}"
            if not item.get("is_direct"):
                line = f"{name}=={item['metadata']['version']}"
            elif source["url"].startswith(f"{wheels}/"):
                continue
            else:
                line = f"{name} @ {source['url']}"
        yield normalized(name), line + digest


def accounts(requirements: Sequence[str]) -> dict[str, str]:
    """Find the accounts by which ssh is asked.

    pip leaves them out of what it reports, but for ``git``.

    Args:
        requirements: lines of a requirements file.

    Returns:
        Them by URL, without account and revision.
    """
    return {
        f"{found['scheme']}://{found['place']}": found["user"]
        for line in requirements
        for found in VCS.finditer(line)
        if found["user"] and found["scheme"].endswith("ssh")
    }


def _account(asked: Mapping[str, str], found: re.Match[str]) -> str:
    """Return a URL with its account."""
    user = asked.get(f"{found['scheme']}://{found['place']}")
    if found["user"] or not user:
        return found[0]
    return found[0].replace("://", f"://{user}@", 1)


def held(lines: Sequence[str], lock: Sequence[str]) -> list[str]:
    """Have version control systems asked for what is locked.

    A constraint cannot: pip refuses one with another revision than is asked for.

    Args:
        lines: of a requirements file.
        lock: what is locked.

    Returns:
        The lines, with the revisions of the lock where they have branches, tags or nothing.
    """
    locked = {
        (found["scheme"], found["place"], found["subdirectory"]): found["revision"]
        for line in lock
        for found in VCS.finditer(line)
    }

    def hold(found: re.Match[str]) -> str:
        revision = locked.get((found["scheme"], found["place"], found["subdirectory"]))
        if not revision:
            return found[0]
        end = found.end("place") - found.start()
        rest = found[0][end:].removeprefix(f"@{found['revision']}")
        return f"{found[0][:end]}@{revision}{rest}"

    return [VCS.sub(hold, line) for line in lines]


def _digest(archive: Mapping[str, Any]) -> str:
    """Return ``sha256:<hex>``; pip before 23.1, that of Debian 12, writes no ``hashes``."""
    if "hash" in archive:
        return str(archive["hash"]).replace("=", ":")
    return f"sha256:{archive['hashes']['sha256']}"


def normalized(name: str) -> str:
    """Normalize a package's name (https://packaging.python.org/specifications/)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def unhashed(line: str) -> str:
    """Return a line of a requirements file without its hashes."""
    return HASH.sub("", line)


@contextmanager
def private(credentials: Sequence[Mapping[str, str]]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Make a folder that only we may read, and an environment in which pip and git are trusted.

    Credentials are in no command line: pip hands URLs to processes of its own, and to git. pip
    reads netrc files, git takes a header. Where both ask the same host, each has its own.
    """
    environment = dict(os.environ)
    # Neither waits for somebody to type.
    environment |= {"GIT_TERMINAL_PROMPT": "0"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of_pip = [each for each in credentials if not each["vcs"]]
        of_git = [each for each in credentials if each["vcs"] == "git"]
        if of_pip:
            own = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
            # The last that fits is taken; an empty line ends a macro.
            lines = [own.read_text(), ""] if own.is_file() else []
            lines += [
                f"machine {c['host']} login {_quoted(c['user'])} password {_quoted(c['password'])}"
                for c in of_pip
            ]
            (folder / "netrc").write_text("\n".join([*lines, ""]))
            environment["NETRC"] = str(folder / "netrc")
        for number, each in enumerate(of_git, int(environment.get("GIT_CONFIG_COUNT", "0"))):
            told = base64.b64encode(f"{each['user']}:{each['password']}".encode()).decode()
            environment |= {
                f"GIT_CONFIG_KEY_{number}": f"http.{each['base']}/.extraHeader",
                f"GIT_CONFIG_VALUE_{number}": f"Authorization: Basic {told}",
                "GIT_CONFIG_COUNT": str(number + 1),
            }
        yield folder, environment


def _quoted(text: str) -> str:
    """Quote a word of a netrc file."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def hide(text: str, credentials: Sequence[Mapping[str, str]]) -> str:
    """Replace all that is secret in a text."""
    for each in credentials:
        for secret in (each["password"], each["user"] if not each["password"] else ""):
            if secret:
                text = text.replace(secret, "****")
    return text


def unanswered(log: Path) -> list[str]:
    """Find which pages of an index pip could not have, but for those of packages not in it."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    lines = dict.fromkeys(re.findall(r"Could not fetch URL .*", text))
    return [line.removesuffix(" - skipping") for line in lines if ": 404 " not in line]


def reason(output: str) -> str:
    """Condense what pip said to a line: its errors, at most four."""
    lines = [line.strip(" \u00d7\u2570\u2500\u2502>\t") for line in output.splitlines()]
    telling = re.compile(
        r"\berror\b|^fatal:|denied|\b40[13]\b|verification failed|^Could not fetch"
        # Which package it is, below a line of hashes.
        r"|^\S+ from \w+://|--hash=",
        re.IGNORECASE,
    )
    found = [re.sub("^(ERROR|error|WARNING): ", "", line) for line in lines if telling.search(line)]
    return "; ".join(list(dict.fromkeys(found))[:4]) or (lines or [""])[-1]
