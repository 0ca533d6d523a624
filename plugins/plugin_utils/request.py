"""What is asked of pip: the user's packages, with the wheels of local sources, and its name."""

import email
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..module_utils.artifact import VCS, held, normalized, unhashed
from ..module_utils.interpreter import title
from .requirements import INSTALLING, Requirements, read, without_credentials
from .store import digest, sha256
from .wheels import BuildError, is_plain, split_extras, wheel_of


@dataclass
class LocalWheel:
    """A wheel on the controller: its path, and what its metadata says."""

    path: Path
    extras: str

    def __post_init__(self) -> None:
        inner = re.compile(r"[^/]+\.dist-info/METADATA")
        try:
            with zipfile.ZipFile(self.path) as archive:
                [name] = [name for name in archive.namelist() if inner.fullmatch(name)]
                metadata = email.message_from_bytes(archive.read(name))
        except (zipfile.BadZipFile, ValueError) as error:
            raise BuildError(f"{self.path.name} is not a wheel: {error}") from None
        self.name = str(metadata["Name"])
        self.version = str(metadata["Version"])
        needs = [*metadata.get_all("Requires-Dist", []), metadata.get("Requires-Python", "")]
        self.needs = sorted(map(str, needs))
        self.sha256 = sha256(self.path)

    @property
    def line(self) -> str:
        """Its line in a lock."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


class Request:
    """What is asked, the same for every host.

    Args:
        packages: as the user has them.
        requirements: paths of requirements files.
        constraints: paths of constraints files.
        arguments: of pip.
        base: what paths are relative to.
        spare: a folder for wheels, should their cache not be usable.

    Raises:
        BuildError: a local source cannot be built.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        packages: Sequence[str],
        requirements: Sequence[str],
        constraints: Sequence[str],
        arguments: Sequence[str],
        base: Path,
        spare: Path,
    ) -> None:
        sources = [p for p in packages if re.match(r"\.{0,2}/", p)]
        plain = [
            str(base / split_extras(s)[0] / "requirements.txt")
            for s in sources
            if is_plain(base / split_extras(s)[0])
        ]
        found = Requirements()
        for path in [*requirements, *plain]:
            read(base / path, found)
        for path in constraints:
            read(base / path, found, constraint=True)
        wheels: dict[str, LocalWheel] = {}
        for number, source in enumerate([*sources, *found.sources]):
            path, extras = split_extras(source)
            wheel = LocalWheel(wheel_of(path, base, spare / str(number)), extras)
            wheels.setdefault(normalized(wheel.name), wheel)
        self.wheels = list(wheels.values())
        names = [p for p in packages if p not in sources]
        lines, credentials = without_credentials([*names, *found.lines])
        # What is hashed is asked alone, and what is locked without what was asked.
        options = [line for line in lines if line.startswith("-") and line != "--require-hashes"]
        hashed, more = without_credentials(found.hashed)
        arguments, most = without_credentials([a for a in arguments if a not in INSTALLING])
        self.credentials = credentials + more + most
        self.order: dict[str, Any] = {
            "requirements": [line for line in lines if not line.startswith("-")],
            "options": options,
            "hashed": hashed,
            "constraints": found.constraints,
            "arguments": arguments,
            "credentials": self.credentials,
            "wheels": [
                {"name": w.name, "extras": w.extras, "file": w.path.name} for w in self.wheels
            ],
        }

    def key(self, builder: dict[str, str]) -> str:
        """Name what pip is asked: the same is not asked twice.

        That is not the code of local sources, nor a version of theirs that nothing else needs.

        Args:
            builder: of the Python that builds, as `about` tells.
        """
        needed = {
            normalized(need)
            for w in self.wheels
            for line in w.needs
            for need in re.findall(r"^[\w.-]+", line)
        }
        parts = [
            [w.name, w.extras, w.needs, w.version if normalized(w.name) in needed else ""]
            for w in self.wheels
        ]
        order = self.order | {"wheels": parts, "credentials": []}
        return digest(title(builder), builder["libc"], json.dumps(order, sort_keys=True))

    def held(self, lock: Sequence[str]) -> dict[str, Any]:
        """The order, with nothing left but what is locked."""
        constraints = [unhashed(line) for line in lock if not VCS.search(line)]
        return self.order | {
            "requirements": held(self.order["requirements"], lock),
            "constraints": [*held(self.order["constraints"], lock), *constraints],
        }
