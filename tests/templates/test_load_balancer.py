"""HAProxy waits at least as long as the apps behind it."""

import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from tests.support.paths import ROLE
from tests.support.role import Role

BALANCER = ROLE.parent / "load_balancer"
SERVERS = ["app1.example.org", "app2.example.org", "elsewhere.example.org"]


class Balancer(Role):
    """The role load_balancer with some variables set, as a host of an inventory would see it."""

    def __init__(self, **variables: Any) -> None:
        loader = DataLoader()
        loader.set_basedir(str(BALANCER))
        known, constants, self._tasks = (
            loader.load_from_file(str(BALANCER / file), trusted_as_template=True)
            for file in ("defaults/main.yml", "vars/main.yml", "tasks/main.yml")
        )
        known |= constants | {
            "ansible_search_path": [str(BALANCER)],
            "hostvars": {name: {} for name in SERVERS[:2]},
            "load_balancer_servers": SERVERS,
        }
        self._templar = Templar(loader=loader, variables=known | variables)

    def timeouts(self) -> dict[str, int]:
        """The timeouts of the configuration that is rendered, seconds."""
        found = re.findall(r"^ +timeout (\S+) (\d+)s$", self.render("haproxy.cfg.j2"), re.MULTILINE)
        return {name: int(seconds) for name, seconds in found}

    def refuses(self) -> str:
        """What the first assertion that fails says, or nothing."""
        for task in self._tasks:
            claim = task.get("ansible.builtin.assert")
            if claim and not self("{{ " + claim["that"] + " }}"):
                return str(self(claim["fail_msg"]))
        return ""


@pytest.mark.parametrize(
    "variables",
    [
        {"tornado_app_max_wait": 120},
        {"hostvars": {SERVERS[0]: {"tornado_app_max_wait": 120}, SERVERS[1]: {}}},
        {"hostvars": {SERVERS[1]: {"tornado_app_max_wait": "120"}}},
        {"load_balancer_max_wait": 120},
    ],
    ids=["for all hosts", "of the first host", "of the second host", "of the balancer"],
)
def test_timeouts_are_above_a_long_max_wait(variables: dict[str, Any]) -> None:
    balancer = Balancer(**variables)
    timeouts = balancer.timeouts()
    assert timeouts["client"] > 120
    assert timeouts["server"] > 120
    assert balancer.refuses() == ""


def test_timeouts_are_as_before_by_default() -> None:
    timeouts = Balancer().timeouts()
    assert timeouts["client"] == timeouts["server"] == 65


def test_a_timeout_below_max_wait_is_refused() -> None:
    at: dict[str, Any] = {"load_balancer_max_wait": 120, "load_balancer_server_timeout": 120}
    assert Balancer(**at).refuses() == ""
    below = at | {"load_balancer_server_timeout": 119}
    assert Balancer(**below).refuses().startswith("load_balancer_server_timeout: got 119;")


def test_a_short_max_wait_of_all_servers_allows_a_short_timeout() -> None:
    short: dict[str, Any] = {
        "hostvars": {name: {"tornado_app_max_wait": 20} for name in SERVERS},
        "load_balancer_server_timeout": 20,
    }
    assert Balancer(**short).refuses() == ""
    short["hostvars"] = {name: {"tornado_app_max_wait": 20} for name in SERVERS[:2]}
    assert Balancer(**short).refuses().startswith("load_balancer_server_timeout: got 20;")
