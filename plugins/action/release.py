"""The action `release`: the wheels of an artifact become a release on the host."""

import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..plugin_utils.requirements import INSTALLING

OPTIONS = {
    "artifact": {"type": "dict", "required": True},
    "installed": {"type": "dict", "default": {}},
    "dest": {"type": "str"},
    "into": {"type": "str"},
    "python": {"type": "str"},
    "pip": {"type": "str", "required": True},
    "pip_arguments": {"type": "list", "elements": "str", "default": []},
    "command": {"type": "str", "default": ""},
    "program_found": {"type": "bool", "default": False},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Ask the host for nothing that its facts tell."""

    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Install what the host lacks.

        Returns:
            The release's ``id``.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(OPTIONS)
        name = options["artifact"]["id"]
        program = (options["command"].split() or [""])[0]
        installed = options["installed"].get(name)
        if installed is not None:
            lacking = program not in installed["programs"] and not options["program_found"]
        elif self._task.check_mode:
            lacking = False
        else:
            done = self._install(options, program, task_vars or {})
            if done.get("failed"):
                return result | done
            lacking = done.get("lacking", False)
        if lacking:
            raise AnsibleActionFail(
                f"tornado_app_command: got {json.dumps(options['command'])}; expected a program "
                f"that tornado_app_packages install, or an absolute path: {program} is neither"
            )
        return result | {"changed": installed is None, "id": name}

    def _install(
        self, options: dict[str, Any], program: str, task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        wheels = {Path(path): digest for path, digest in options["artifact"]["wheels"].items()}
        shell = self._connection._shell
        self._make_tmp_path()
        try:
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder, "wheels.tar")
                with tarfile.open(archive, "w") as tar:
                    for path in wheels:
                        tar.add(path, path.name)
                sent = self._transfer_file(
                    str(archive), shell.join_path(shell.tmpdir, archive.name)
                )
            self._fixup_perms2([shell.tmpdir, sent])
            done: dict[str, Any] = self._execute_module(
                module_name="tornado_drain.deploy.install_release",
                module_args={
                    "release": options["dest"] and f"{options['dest']}/{options['artifact']['id']}",
                    "into": options["into"],
                    "python": options["python"],
                    "pip": options["pip"],
                    "pip_arguments": [a for a in options["pip_arguments"] if a in INSTALLING],
                    "archive": sent,
                    "wheels": {path.name: digest for path, digest in wheels.items()},
                    "lock": options["artifact"]["lock"],
                    "program": program,
                    "owner": options["owner"],
                    "group": options["group"],
                },
                task_vars=task_vars,
            )
        finally:
            self._remove_tmp_path(shell.tmpdir)
        return done
