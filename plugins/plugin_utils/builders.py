"""Where artifacts are built: on the controller, or on a host."""

import base64
import importlib.util
import io
import json
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..module_utils.artifact import ArtifactError, Pip
from ..module_utils.interpreter import about, fits
from .request import Request


class Builder(Protocol):
    """Has pip resolve a request, and make the wheels of what came of it."""

    platform: dict[str, str]

    def resolve(self, request: Request, held: Sequence[str]) -> list[str]:
        """Return a lock; see `Pip.resolve`. Nothing is left but what another one has."""
        ...

    def wheels(self, request: Request, lock: Sequence[str], folder: Path) -> None:
        """Fill a folder; see `Pip.wheels`."""
        ...


class Controller:
    """The machine that Ansible runs on.

    Args:
        platform: of the Python that builds, as `about` tells.
    """

    def __init__(self, platform: dict[str, str]) -> None:
        self.platform = platform

    def resolve(self, request: Request, held: Sequence[str]) -> list[str]:
        """Ask pip here."""
        with tempfile.TemporaryDirectory() as folder:
            for wheel in request.wheels:
                Path(folder, wheel.path.name).symlink_to(wheel.path)
            return self._pip(request, Path(folder), held).resolve()

    def wheels(self, request: Request, lock: Sequence[str], folder: Path) -> None:
        """Ask pip here."""
        self._pip(request, folder).wheels(lock, folder)

    def _pip(self, request: Request, folder: Path, held: Sequence[str] = ()) -> Pip:
        command = [sys.executable, "-m", "pip"]
        if self.platform["path"] != sys.executable:
            command += ["--python", self.platform["path"]]
        return Pip(command, request.held(held), folder)


def controller(host: dict[str, str]) -> Controller | None:
    """Find a Python on the controller whose wheels fit a host.

    Args:
        host: of the host's Python, as `about` tells.
    """
    for python in (sys.executable, shutil.which(f"python{host['version']}")):
        platform = about(python) if python else {}
        if fits(platform, host):
            return Controller(platform)
    return None


class Host:
    """A host, for what the controller cannot build.

    Args:
        platform: of its Python.
        call: runs the module `build_artifact` there with some options, and a file that is sent
            before, and returns what it returned.
    """

    def __init__(
        self, platform: dict[str, str], call: Callable[[dict[str, Any], bytes], dict[str, Any]]
    ) -> None:
        self.platform = platform
        self._call = call

    def resolve(self, request: Request, held: Sequence[str]) -> list[str]:
        """Ask pip there."""
        order = request.held(held)
        lock: list[str] = self._ask(request, order, {"lock": None})["lock"]
        return lock

    def wheels(self, request: Request, lock: Sequence[str], folder: Path) -> None:
        """Ask pip there, and fetch what came of it."""
        if not lock:
            return
        done = self._ask(request, request.order, {"lock": list(lock)})
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(done["wheels"]))) as archive:
            for member in archive.getmembers():
                unpacked = archive.extractfile(member)
                assert unpacked
                (folder / Path(member.name).name).write_bytes(unpacked.read())

    def _ask(
        self, request: Request, order: Mapping[str, Any], options: dict[str, Any]
    ) -> dict[str, Any]:
        given = {
            "order": dict(order) | {"credentials": []},
            # As one text, since Ansible hides each text of what is secret wherever it comes up.
            "credentials": json.dumps(request.credentials),
            "platform": self.platform,
        }
        done = self._call(given | options, self._parcel(request))
        if done.get("failed"):
            raise ArtifactError(done.get("msg", "failed"), done.get("output", ""))
        return done

    def _parcel(self, request: Request) -> bytes:
        """What is sent: pip itself, which the host may lack, and the wheels of local sources."""
        found = importlib.util.find_spec("pip")
        if found is None or not found.origin:
            raise ArtifactError(f"{sys.executable} has no pip")
        pip = Path(found.origin).parent
        parcel = io.BytesIO()
        with zipfile.ZipFile(parcel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in pip.rglob("*"):
                if path.is_file() and path.suffix != ".pyc":
                    archive.write(path, f"pip/{path.relative_to(pip)}")
            for wheel in request.wheels:
                archive.write(wheel.path, f"wheels/{wheel.path.name}")
        return parcel.getvalue()
