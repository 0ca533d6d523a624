"""Filters that read what the conductor reports, and make the table of a fleet."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils.text import aligned, event_line

COLUMNS = ("host", "before", "after", "replaced", "drain s", "total s", "result")


def events(output: str) -> list[dict[str, Any]]:
    """Read the events that ``<app>-ctl --json`` has printed, a line each."""
    found = []
    for line in output.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in found if isinstance(event, dict) and "event" in event]


def rollout_lines(output: str) -> list[str]:
    """Show them to a person."""
    return [event_line(event) for event in events(output)]


def fleet_table(hosts: Iterable[Mapping[str, Any]]) -> str:
    """Make the table that a run ends with.

    Args:
        hosts: the variables of each host that was prepared.

    Returns:
        A line for each host, below one with the names of the columns. It is one text, since Ansible
        folds the items of a list.
    """
    return aligned([COLUMNS, *(_row(host) for host in hosts)])


def _row(host: Mapping[str, Any]) -> tuple[str, ...]:
    facts = host.get("__tornado_app_host") or {}
    releases = facts.get("releases") or {}
    before = next((name for name, each in releases.items() if each["current"]), "-")
    rolled = _registered(host, "__tornado_app_rolled")
    back = _registered(host, "__tornado_app_taken_back")
    ready = {e["process"] for e in rolled if e["event"] == "ready"}
    after, result = before, "unchanged"
    if host.get("__tornado_app_failure"):
        result = "failed"
        if any(event["event"] == "reverted" for event in rolled):
            result = "failed, reverted"
    elif host.get("tornado_app_state") == "absent":
        after, result = "-", "removed"
    elif any(event["event"] == "done" for event in back):
        result = "taken back"
    elif back:
        after, result = "?", "failed to be taken back"
    elif done := [event for event in rolled if event["event"] == "done"]:
        after, result = done[-1]["release"], "rolled out"
    seconds = [e["seconds"] for e in rolled + back if e["event"] == "drained"]
    both = [of[-1]["time"] - of[0]["time"] for of in (rolled, back) if of]
    return (
        str(host["inventory_hostname"]),
        before,
        after,
        str(len(ready)),
        f"{sum(seconds):.1f}",
        f"{sum(both):.1f}",
        result,
    )


def _registered(host: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return events(str((host.get(name) or {}).get("stdout", "")))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"rollout_lines": rollout_lines, "fleet_table": fleet_table}
