"""The action `artifact`: packages become a lock and wheels, once for all hosts."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.artifact import ArtifactError, normalized, unhashed
from ..module_utils.interpreter import title
from ..plugin_utils import lockfile
from ..plugin_utils.builders import Builder, Host, controller
from ..plugin_utils.request import Request
from ..plugin_utils.requirements import without_credentials
from ..plugin_utils.store import Store, digest, sha256
from ..plugin_utils.wheels import BuildError, cache_folder

TEXTS = {"type": "list", "elements": "str", "default": []}
OPTIONS = {
    "packages": TEXTS,
    "requirements": {"type": "str", "default": ""},
    "constraints": {"type": "str", "default": ""},
    "lock": {"type": "str", "default": ""},
    "refresh": {"type": "bool", "default": False},
    "pip_arguments": TEXTS,
    "platform": {"type": "dict", "required": True},
    "installed": {"type": "dict", "default": {}},
    "facts": {"type": "str", "default": ""},
    "build_on": {"type": "str", "default": ""},
}
REQUEST = "# request "


class ActionModule(ActionBase):  # type: ignore[misc]
    """Build on the controller where it can; on the host where it can't."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Find the artifact, or build it.

        Returns:
            ``id``, ``lock``, and the paths of the ``wheels`` with the hash of each, nothing where
            the host has that release.
        """
        self._variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, self._options = self.validate_argument_spec(OPTIONS)
        try:
            with self._store.locked():
                return result | self._artifact()
        except BuildError as error:
            raise AnsibleActionFail(
                f"{self._asked}; expected a project that pip can build, but it says: {error}"
            ) from None
        except ArtifactError as error:
            raise AnsibleActionFail(
                f"{self._asked}; expected what pip can install, but it says: {error}",
                result={"output": error.output.splitlines()},
            ) from None
        except OSError as error:
            raise AnsibleActionFail(f"{self._asked}; but {error}") from None
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    @cached_property
    def _asked(self) -> str:
        """What a message begins with."""
        packages, _ = without_credentials(self._options["packages"])
        asked = f"tornado_app_packages: got {json.dumps(packages)}"
        if file := self._options["requirements"]:
            asked += f", tornado_app_requirements: got {json.dumps(file)}"
        return asked

    @cached_property
    def _store(self) -> Store:
        """In the user's cache, or, where that cannot be used, for this run."""
        try:
            return Store(cache_folder())
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            return Store(Path(constants.DEFAULT_LOCAL_TMP, "tornado_drain"))

    def _artifact(self) -> dict[str, Any]:
        options, host = self._options, self._options["platform"]
        base = Path(self._variables["playbook_dir"])
        request = Request(
            options["packages"],
            [options["requirements"]] if options["requirements"] else [],
            [options["constraints"]] if options["constraints"] else [],
            options["pip_arguments"],
            base,
            Path(constants.DEFAULT_LOCAL_TMP, "wheels"),
        )
        here = None if options["build_on"] else controller(host)
        builder = here or Host(host, self._call)
        for wheel in request.wheels:
            if not wheel.path.name.endswith("-none-any.whl") and not here:
                raise ArtifactError(
                    f"{wheel.path.name} was built on the controller, where there "
                    f"is no Python that fits {title(host)}, {host['libc']}"
                )
        key, lock = self._lock(request, builder, base)
        local = [wheel.line for wheel in request.wheels]
        lines = sorted([*lock, *local], key=str.lower)
        found = {
            "id": digest(title(host), *lines),
            "lock": "".join(f"{line}\n" for line in [f"# {title(host)}", REQUEST + key, *lines]),
            "wheels": {},
        }
        if found["id"] not in options["installed"] and not self._task.check_mode:
            kept = self._store.wheels(
                digest(title(host), builder.platform["libc"], *lock),
                lambda folder: builder.wheels(request, lock, folder),
            )
            found["wheels"] = {str(path): sha256(path) for path in kept} | {
                str(wheel.path): wheel.sha256 for wheel in request.wheels
            }
        return found

    def _lock(self, request: Request, builder: Builder, base: Path) -> tuple[str, list[str]]:
        """The lock of what is asked, and the name of the question."""
        options, platform = self._options, title(self._options["platform"])
        run = str(constants.DEFAULT_LOCAL_TMP)  # it has a name of its own in each
        path = base / options["lock"] if options["lock"] else None
        sections = lockfile.read(path) if path else {}
        # What another host of this run has resolved anew counts as it is.
        key = request.key(builder.platform)
        fresh = self._store.lock(key, run)
        wanted = None if options["refresh"] and fresh is None else sections.get(platform)
        if wanted is not None:
            key = digest(key, *wanted)
            lock = self._store.lock(key)
            if lock is None:
                lock = self._checked(builder.resolve(request, wanted), wanted)
                self._store.keep_lock(key, lock, run)
            return key, lock
        lock = fresh
        if lock is None and not options["refresh"]:
            # What runs stays, also where another controller has resolved it.
            lock = self._of_a_host(key, request)
            lock = self._store.lock(key) if lock is None else lock
        if lock is None:
            lock = builder.resolve(request, [])
        if fresh is None and not (self._task.check_mode and options["refresh"]):
            self._store.keep_lock(key, lock, run)
        if path and not self._task.check_mode:
            lockfile.write(path, sections | {platform: lock})
            key = digest(key, *lock)
            self._store.keep_lock(key, lock, run)
        return key, lock

    def _checked(self, resolved: list[str], wanted: list[str]) -> list[str]:
        """The lock that the user keeps, if it is one of these packages."""
        differing = sorted(set(map(unhashed, resolved)) ^ set(map(unhashed, wanted)))
        if differing:
            raise ArtifactError(
                f"tornado_app_lock: got {json.dumps(self._options['lock'])}, which differs in "
                f"{', '.join(differing)}; -e tornado_app_refresh=true writes it anew"
            )
        return wanted

    def _of_a_host(self, key: str, request: Request) -> list[str] | None:
        """The lock of what runs on a host of this play, if it was the same question."""
        local = {normalized(wheel.name) for wheel in request.wheels}
        others = self._variables["hostvars"]
        for name in self._variables.get("ansible_play_hosts_all", []):
            facts = others[name].get(self._options["facts"]) or {}
            for release in facts.get("releases", {}).values():
                lines = release["lock"].splitlines()
                if release["current"] and f"{REQUEST}{key}" in lines:
                    return [
                        str(line)
                        for line in lines
                        if not line.startswith("#") and package(line) not in local
                    ]
        return None

    def _call(self, options: Mapping[str, Any], parcel: bytes) -> dict[str, Any]:
        """Run `build_artifact` on the host."""
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        sent = shell.join_path(shell.tmpdir, "parcel.zip")
        here = Path(constants.DEFAULT_LOCAL_TMP, f"parcel-{self._variables['inventory_hostname']}")
        here.write_bytes(parcel)
        try:
            self._transfer_file(str(here), sent)
        finally:
            here.unlink()
        self._fixup_perms2([shell.tmpdir, sent])
        done: dict[str, Any] = self._execute_module(
            module_name="tornado_drain.deploy.build_artifact",
            module_args={"parcel": sent, **options},
            task_vars=self._variables,
        )
        return done


def package(line: str) -> str:
    """The normalized name of the package of a lock's line."""
    return normalized(line.split(" @ ")[0].split("==")[0])
