"""The role's own templates and variables, rendered by Ansible's own templar."""

from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

from plugins.plugin_utils.rules import errors
from tests.support.paths import ROLE, ROOT

# A host on which nothing is installed, as the module `host_facts` sees it.
BARE: dict[str, Any] = {
    "python": "/usr/bin/python3",
    "platform": {
        "path": "/usr/bin/python3",
        "implementation": "cpython",
        "version": "3.11",
        "machine": "linux-x86_64",
        "libc": "glibc 2.36",
    },
    "nginx": "1.22.1",
    "listening": {},
    "endpoints": [],
    "home": None,
    "ours": False,
    "user": None,
    "foreign_user": False,
    "unit": "",
    "namesakes": [],
    "sites": [],
    "locations": [],
    "nginx_includes": [],
    "worker_shutdown_timeout": 0,
    "certificates": [
        {"exists": True, "status": 0, "public_key": "a public key", "checksum": "0a1b"},
        {"exists": True, "status": 0, "public_key": "a public key", "checksum": "2c3d"},
    ],
    "supervisord": False,
    "tools": "",
    "releases": {},
    "program": False,
}

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
            "__tornado_app_host": BARE,
        }
        self._templar = Templar(loader=loader, variables=known | variables)

    def render(self, template: str) -> str:
        """What a template becomes."""
        return str(self("{{ lookup('ansible.builtin.template', '" + template + "') }}") or "")

    def errors(self) -> list[str]:
        """What the rules say of the settings."""
        names = [*defaults(), "__tornado_app_run"]
        given = {name: self("{{ " + name + " }}") for name in names}
        return errors(given, self("{{ __tornado_app_host }}"), self("{{ playbook_dir }}"))

    def __call__(self, expression: str) -> Any:
        """What an expression becomes."""
        return self._templar.template(trust_as_template(expression))


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
