"""Filters that carry tornado_app_serial to where a play's `serial` can read it.

There only the groups of the inventory are known, no variable of a host.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

PREFIX = "tornado_app_serial_"


def series_group(serial: object) -> str:
    """Name the group of the hosts that roll in such a series.

    Args:
        serial: as Ansible takes it: a number, a percentage, or a list of these.
    """
    steps = serial if isinstance(serial, list | tuple) else [serial]
    return PREFIX + "_".join(str(step).strip().replace("%", "p") for step in steps)


def series(groups: Mapping[str, Sequence[str]]) -> list[Any]:
    """Read the series of the first app host from the groups that it is in.

    Returns:
        What `serial` takes; one by one where nothing is known.
    """
    hosts = groups.get("app") or [""]
    for name, members in groups.items():
        if name.startswith(PREFIX) and hosts[0] in members:
            steps = name[len(PREFIX) :].split("_")
            return [int(step) if step.isdigit() else step.replace("p", "%") for step in steps]
    return [1]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"series": series, "series_group": series_group}
