"""The action `wheels`: packages that are on the controller become wheels on the host."""

import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..plugin_utils.wheels import BuildError, split_extras, wheel_of

PATHS = {"type": "list", "elements": "str", "required": True}
OPTIONS = {
    "packages": PATHS,
    "existing": PATHS,
    "dest": {"required": True},
    "owner": {},
    "group": {},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Build on the controller, then copy what the host lacks."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(OPTIONS)
        base = Path(task_vars["playbook_dir"])
        try:
            with tempfile.TemporaryDirectory() as spare:
                packages: list[str] = []
                missing: dict[str, Path] = {}
                for number, package in enumerate(options["packages"]):
                    if not re.match(r"\.{0,2}/", package):
                        packages.append(package)
                        continue
                    wheel, extras = self._wheel(package, base, Path(spare, str(number)))
                    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:12]
                    on_host = f"{options['dest']}/{digest}/{wheel.name}"
                    packages.append(on_host + extras)
                    if on_host not in options["existing"]:
                        missing[on_host] = wheel
                if missing:
                    self._copy(missing, options, task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result | {"changed": bool(missing), "packages": packages, "paths": list(missing)}

    def _wheel(self, package: str, base: Path, spare: Path) -> tuple[Path, str]:
        source, extras = split_extras(package)
        try:
            return wheel_of(source, base, spare), extras
        except BuildError as error:
            raise AnsibleActionFail(
                f"tornado_app_packages: got {json.dumps(package)}; "
                f"expected a project that pip can build, but it says: {error}"
            ) from None

    def _copy(
        self, missing: dict[str, Path], options: dict[str, Any], task_vars: dict[str, Any]
    ) -> None:
        shell = self._connection._shell
        files: list[dict[str, str]] = []
        for number, (on_host, wheel) in enumerate(missing.items()):
            folder = str(Path(on_host).parent)
            sent = self._transfer_file(str(wheel), shell.join_path(shell.tmpdir, str(number)))
            files.append({"path": folder, "state": "directory", "mode": "0750"})
            files.append({"path": on_host, "source": sent, "mode": "0640"})
        self._fixup_perms2([shell.tmpdir, *(f["source"] for f in files if "source" in f)])
        made = self._execute_module(
            module_name="tornado_drain.deploy.files",
            module_args={"owner": options["owner"], "group": options["group"], "files": files},
            task_vars=task_vars,
        )
        if made.get("failed"):
            raise AnsibleActionFail(made.get("msg", "failed"), result=made)
