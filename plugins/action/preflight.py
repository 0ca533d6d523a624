"""The action `preflight`: looks at a host and refuses settings that can't be."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleFileNotFound
from ansible.plugins.action import ActionBase
from ansible.vars.clean import namespace_facts

from ..plugin_utils.rules import errors
from ..plugin_utils.settings import TLS_FILES, Settings

# What the role's variables are computed from.
NEEDED_FACTS = {"processor_nproc", "user_id"}


class Templated(Mapping[str, Any]):
    """The variables of a task in plain types, each templated when it is first read."""

    def __init__(self, templar: Any, variables: Mapping[str, Any]) -> None:
        self._templar = templar
        self._variables = variables
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            try:
                self._known[name] = plain(self._templar.template(self._variables[name]))
            except AnsibleError as error:
                raise AnsibleActionFail(f"{name}: got a template that fails: {error}") from error
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def plain(value: Any) -> Any:
    """Convert what a template gave to Python's own types.

    Since ansible-core 2.19 values are of subclasses that carry tags; before it, text that
    ansible-vault has encrypted is an object of its own.
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, str) or getattr(value, "__ENCRYPTED__", False):
        return str(value)
    if isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return value


class ActionModule(ActionBase):  # type: ignore[misc]
    """What Ansible looks for."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Look at the host and apply the rules.

        Returns:
            The facts that `host_facts` tells, or the errors as `msg`.
        """
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        variables = dict(task_vars or {})
        facts = dict(variables.get("ansible_facts", {}))
        gathered: dict[str, Any] = {}
        if not facts.keys() >= NEEDED_FACTS:
            setup = self._execute_module(
                "ansible.legacy.setup",
                {"gather_subset": ["min", "hardware"]},
                task_vars=variables,
            )
            if setup.get("failed"):
                return result | setup
            gathered = setup["ansible_facts"]
            variables["ansible_facts"] = facts | namespace_facts(gathered)["ansible_facts"]
        templar = self._templar.copy_with_new_env(available_variables=variables)
        given = Templated(templar, variables)
        playbook_dir = str(given["playbook_dir"])
        host = self._execute_module(
            "tornado_drain.deploy.host_facts",
            self._question(Settings(given), playbook_dir),
            task_vars=variables,
        )
        if host.get("failed"):
            return result | host
        if found := errors(given, host, playbook_dir):
            return result | {"failed": True, "msg": found}
        host.pop("invocation", None)
        return result | host | {"ansible_facts": gathered | host.get("ansible_facts", {})}

    def _question(self, settings: Settings, playbook_dir: str) -> dict[str, Any]:
        """What to ask the host, as options of `host_facts`."""
        question: dict[str, Any] = {
            "name": settings.name,
            "home": settings.home,
            "run": settings.text("__tornado_app_run"),
            "python": settings.text("tornado_app_python"),
            "program": (settings.text("tornado_app_command").split() or [""])[0],
            "user": "" if settings.rootless else settings.text("tornado_app_user"),
            "user_comment": settings.text("__tornado_app_user_comment"),
            "rootless": settings.rootless,
        }
        certificate, key = (settings.text(variable) for variable in TLS_FILES)
        if settings.certificate_kind == "host":
            question |= {"certificate": certificate, "key": key}
        elif settings.certificate_kind == "controller":
            question["certificate_content"] = self._read(Path(playbook_dir, certificate))
            question["key_content"] = self._read(Path(playbook_dir, key))
        return question

    def _read(self, path: Path) -> str:
        """Read a file of the controller, also one that ansible-vault has encrypted.

        Returns:
            Its text, empty where there is no such file or no password for it.
        """
        try:
            real = self._loader.get_real_file(str(path))
        except AnsibleFileNotFound:
            return ""
        except AnsibleError as error:
            self._display.warning(f"{path}: {error}")
            return ""
        try:
            return Path(real).read_text(errors="replace")
        finally:
            self._loader.cleanup_tmp_file(real)
