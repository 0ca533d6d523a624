"""Three hosts, here three homes on this machine: prepared at once, rolled in series."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from tests.support.paths import BIN, ROOT
from tests.support.stack import LIGHT, Load, Stack, run

NAMES = ("one", "two", "three")
Playbook = Callable[..., str]


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Stack]]:
    """A stack for each host; nothing is deployed yet."""
    stacks = [
        Stack(f"fleet-{name}", 9423 + 10 * number, tornado_app_processes=2)
        for number, name in enumerate(NAMES)
    ]
    yield stacks
    for stack in stacks:
        if stack.home.exists():
            stack.playbook(tornado_app_state="absent")


@pytest.fixture(scope="module")
def playbook(hosts: list[Stack], tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    """Run site.yml on all of them, with variables for all and variables for one."""
    inventory = tmp_path_factory.mktemp("inventory") / "hosts.json"
    local = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "tornado_app_rootless": True,
        "tornado_app_wrap": False,
    }

    def play(*arguments: str, code: int = 0, of: dict[str, Any] | None = None, **all_: Any) -> str:
        known = {
            name: local | group() | stack.variables | (of or {}).get(name, {})
            for name, stack in zip(NAMES, hosts, strict=True)
        }
        more = {name: (of or {})[name] for name in (of or {}) if name not in known}
        groups = {"app": {"hosts": known | more}, "load_balancer": {}}
        inventory.write_text(json.dumps({"all": {"children": groups}}))
        command = [str(BIN / "ansible-playbook"), "-i", str(inventory), "site.yml", *arguments]
        return run([*command, "-e", json.dumps(all_)], hosts[0].environment, code)

    return play


def group() -> dict[str, Any]:
    """What the inventory of the local stack says of the demo app."""
    found: dict[str, Any] = yaml.safe_load(
        (ROOT / "inventory/local/group_vars/app.yml").read_text()
    )
    return found


@pytest.fixture(scope="module")
def deployed(hosts: list[Stack], playbook: Playbook) -> str:
    """What the first run printed."""
    for stack in hosts:
        stack.share_tools()
    return playbook(of={name: {"tornado_app_serial": [1, "100%"]} for name in NAMES})


@pytest.fixture
def load(hosts: list[Stack], deployed: str) -> Iterator[list[Load]]:
    """Clients of every host; when they end, none of their requests has failed."""
    with ExitStack() as clients:
        found = [clients.enter_context(stack.load(LIGHT, clients=20)) for stack in hosts]
        yield found
    for each in found:
        assert each.requests > 0
        assert each.failed == 0, each.output


def releases(hosts: list[Stack]) -> list[str]:
    """What runs on each host."""
    return [stack.status()["release"] for stack in hosts]


def pids(hosts: list[Stack]) -> list[list[int]]:
    """The processes of each host."""
    return [[process["pid"] for process in stack.status()["processes"]] for stack in hosts]


def table(output: str) -> dict[str, list[str]]:
    """The rows of the table at the end of a run, without the name of the host."""
    rows = re.findall(rf"^ *({'|'.join(NAMES)})  +(\S+  .*)$", output, re.MULTILINE)
    return {name: re.split("  +", row) for name, row in rows}


def test_a_run_that_changes_nothing(hosts: list[Stack], playbook: Playbook, deployed: str) -> None:
    assert deployed.count("PLAY [Roll through") == 2, "one, and then all others"
    assert {row[-1] for row in table(deployed).values()} == {"rolled out"}
    assert len(set(releases(hosts))) == 1
    before = pids(hosts)
    output = playbook()
    assert re.findall(r"changed=(\d+)", output) == ["0"] * 3
    assert {row[-1] for row in table(output).values()} == {"unchanged"}
    assert pids(hosts) == before
    series = output.split("PLAY [Roll through the hosts in series]", 1)[1]
    assert "Rollout |" not in series


def test_rolled_in_series(hosts: list[Stack], playbook: Playbook, load: list[Load]) -> None:
    """All are prepared before the first rolls, and each rolls when the one before has."""
    since = time.time()
    output = playbook(tornado_app_environment={"DEMO_COLOR": "green"})
    assert {row[-1] for row in table(output).values()} == {"rolled out"}
    assert output.count("PLAY [Roll through") == 3
    assert output.index("Roll through the hosts") > output.rindex("Prepare |")
    done = [when(stack, "done", since) for stack in hosts]
    began = [when(stack, "rollout", since) for stack in hosts]
    assert began[0] < done[0] < began[1] < done[1] < began[2] < done[2]
    for play in re.split(r"^PLAY \[", output, flags=re.MULTILINE):
        if play.startswith("Roll through"):
            tasks = re.findall(r"^(?:ok|changed): ", play, re.MULTILINE)
            assert len(tasks) <= 8, play


def when(stack: Stack, event: str, since: float) -> float:
    """When the last event of a kind was, by the journal."""
    journal = (stack.home / "log/rolling_restart.jsonl").read_text().splitlines()
    times = [e["time"] for e in map(json.loads, journal) if e["event"] == event]
    assert times[-1] > since
    return float(times[-1])


def test_one_fails_and_those_before_it_go_back(
    hosts: list[Stack], playbook: Playbook, load: list[Load]
) -> None:
    before, current = releases(hosts), [stack.current() for stack in hosts]
    untouched = pids(hosts)[2]
    broken = {"two": {"tornado_app_environment": {"DEMO_BREAK": "exit"}}}
    output = playbook(
        code=2,
        of=broken | {n: {"tornado_app_environment": {"A": "1"}} for n in ("one", "three")},
    )
    assert "reverted: fleet-two-trial ended before it was ready" in output
    assert releases(hosts) == before
    assert [stack.current() for stack in hosts] == current
    assert pids(hosts)[2] == untouched
    rows = table(output)
    assert rows["one"][-1] == "taken back"
    assert rows["two"][-1] == "failed, reverted"
    assert rows["three"][-1] == "unchanged"
    assert re.search(r"^two +: .*failed=1", output, re.MULTILINE)


def test_what_was_rolled_out_may_stay(hosts: list[Stack], playbook: Playbook) -> None:
    before = [stack.current() for stack in hosts]
    output = playbook(
        code=2,
        tornado_app_fleet_revert=False,
        of={
            "one": {"tornado_app_environment": {"B": "1"}},
            "two": {"tornado_app_environment": {"DEMO_BREAK": "exit"}},
        },
    )
    after = [stack.current() for stack in hosts]
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert table(output)["one"][-1] == "rolled out"


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (
            {"three": {"tornado_app_python": "/nowhere/python"}},
            'tornado_app_python: got "/nowhere/python"; expected a Python on this host',
        ),
        (
            {"four": {"ansible_host": "127.0.0.1", "ansible_port": 1}},
            "four cannot be reached",
        ),
        (
            {"three": {"tornado_app_nginx_extra": "nothing;"}},
            'unknown directive "nothing"',
        ),
    ],
    ids=["refused", "unreachable", "nginx"],
)
def test_where_one_cannot_be_prepared_none_is_rolled(
    hosts: list[Stack], playbook: Playbook, deployed: str, of: dict[str, Any], says: str
) -> None:
    before, current = pids(hosts), [stack.current() for stack in hosts]
    output = playbook(code=2, of=of, tornado_app_environment={"C": "1"})
    assert says in " ".join(output.split())
    assert "Roll through the hosts" not in output
    assert pids(hosts) == before
    assert [stack.current() for stack in hosts] == current
    if "four" in of:
        assert "--limit 'all:!four'" in output
