"""What a run says of a rollout: the conductor's events as lines, a fleet as a table."""

import json
from typing import Any

from plugins.filter.rollout import fleet_table, rollout_lines


def event(kind: str, second: float, **facts: Any) -> str:
    """A line that the conductor prints."""
    return json.dumps({"time": second, "event": kind, "process": None, "text": "text"} | facts)


ROLLED = "\n".join(
    [
        event("rollout", 100.0),
        event("drained", 101.0, process="shop-9001", seconds=0.25),
        event("ready", 102.0, process="shop-9001", seconds=0.5),
        event("drained", 103.0, process="shop-9002", seconds=0.5),
        event("ready", 104.0, process="shop-9002", seconds=0.5),
        event("done", 104.5, release="new"),
    ]
)
REVERTED = "\n".join([event("rollout", 100.0), event("failed", 101.0), event("reverted", 102.0)])
FACTS = {"releases": {"old": {"current": True}, "older": {"current": False}}}


def host(name: str, rolled: str = "", **more: Any) -> dict[str, Any]:
    """The variables of a host after a run."""
    known: dict[str, Any] = {"inventory_hostname": name, "__tornado_app_host": FACTS}
    if rolled:
        known["__tornado_app_rolled"] = {"stdout": rolled, "rc": 0}
    return known | more


def test_lines_are_for_people() -> None:
    [line] = rollout_lines(f"no JSON\n[]\n{event('drain', 0, process='shop-9001')}\n")
    assert line.endswith("shop-9001      drain     text")
    assert rollout_lines("") == []


def test_a_table_for_a_fleet() -> None:
    table = fleet_table(
        [
            host("same.example.org"),
            host("rolled", ROLLED),
            host("back", ROLLED, __tornado_app_taken_back={"stdout": event("done", 1)}),
            host("stuck", ROLLED, __tornado_app_taken_back={"stdout": event("failed", 1)}),
            host("broken", REVERTED, __tornado_app_failure="why"),
            host("gone", __tornado_app_failure="why"),
            {"inventory_hostname": "first", "__tornado_app_rolled": {"stdout": ROLLED}},
            host("removed", tornado_app_state="absent"),
        ]
    )
    assert table.splitlines() == [
        "host              before  after  replaced  drain s  total s  result",
        "same.example.org  old     old    0         0.0      0.0      unchanged",
        "rolled            old     new    2         0.8      4.5      rolled out",
        "back              old     old    2         0.8      4.5      taken back",
        "stuck             old     ?      2         0.8      4.5      failed to be taken back",
        "broken            old     old    0         0.0      2.0      failed, reverted",
        "gone              old     old    0         0.0      0.0      failed",
        "first             -       new    2         0.8      4.5      rolled out",
        "removed           old     -      0         0.0      0.0      removed",
    ]
