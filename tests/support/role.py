"""The role's own templates and variables, rendered by Ansible's own templar."""

from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from tests.support.paths import ROLE, ROOT

init_plugin_loader([str(ROOT / "collections")])


class Role:
    """The role with some variables set, as a host would see it."""

    def __init__(self, **variables: Any) -> None:
        loader = DataLoader()
        loader.set_basedir(str(ROLE))
        known = loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True)
        known |= loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True)
        known |= {
            "ansible_search_path": [str(ROLE)],
            "ansible_facts": {"processor_nproc": 2, "user_id": "app", "user_gid": 1000},
            "playbook_dir": "/srv/kit",
            "role_path": str(ROLE),
            "tornado_app_packages": ["app"],
            "tornado_app_command": "python -m app --port={port}",
            "__tornado_app_release_id": "0123456789ab",
            "__tornado_app_nginx_version": "1.22.1",
            "__tornado_app_nginx_endpoints": trust_as_template("{{ __tornado_app_endpoints }}"),
            "__tornado_app_endpoints_now": {"stdout": "[]"},
            "__tornado_app_nginx_v": {"rc": 0},
            "__tornado_app_unit_found": {"rc": 1},
            "__tornado_app_namesakes": {"files": []},
            "__tornado_app_python": {"rc": 0, "stdout": "/usr/bin/python3"},
            "__tornado_app_tls_found": {"results": [{"stat": {"exists": True}}] * 2},
            "__tornado_app_tls_public": {"results": [{"rc": 0, "stdout": "a public key"}] * 2},
            "__tornado_app_in_use": {},
            "__tornado_app_nginx_locations_found": {"files": []},
            "__tornado_app_nginx_records_found": {"stdout_lines": []},
            "__tornado_app_home_found": {"files": []},
        }
        self._templar = Templar(loader=loader, variables=known | variables)

    def render(self, template: str) -> str:
        """What a template becomes."""
        return str(self("{{ lookup('ansible.builtin.template', '" + template + "') }}") or "")

    def __call__(self, expression: str) -> Any:
        """What an expression becomes."""
        return self._templar.template(trust_as_template(expression))

    def errors(self) -> list[str]:
        """What the validation says."""
        return [line for line in self.render("errors.j2").splitlines() if line]


def defaults(role: str = "tornado_app") -> dict[str, Any]:
    """The defaults as they are written."""
    text = (ROLE.parent / role / "defaults/main.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def options(role: str = "tornado_app") -> dict[str, Any]:
    """The options that the argument specification knows."""
    text = (ROLE.parent / role / "meta/argument_specs.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]["options"]
    return found
