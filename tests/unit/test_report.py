"""The demo's report on what its clients saw."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench import report


def test_percentiles() -> None:
    assert report.percentile([], 0.5) is None
    assert report.percentile([3, 1, 2], 0.5) == 2
    assert report.percentile(range(1, 101), 0.99) == 99
    assert report.percentile([7], 0.99) == 7


def test_the_report_counts(tmp_path: Path) -> None:
    def request(at: float, kind: str, ms: float, **more: Any) -> dict[str, Any]:
        return {"time": at, "kind": kind, "ms": ms} | more

    requests = [
        request(100, "GET /hello", 1),
        request(101, "POST /orders", 2, id="kept"),
        request(102, "POST /orders", 3, id="lost"),
        request(103, "POST /orders", 4, id="unknown", error="status 502"),
        request(111, "GET /hello", 50),
        request(112, "GET /slow", 2000),
        request(130, "POST /orders", 5, id="doubled"),
        request(135, "GET /hello", 99),
    ]
    events = [
        {"time": 110, "event": "rollout"},
        {"time": 110, "event": "drain", "process": "demo-9001"},
        {"time": 111, "event": "drained", "process": "demo-9001"},
        {"time": 111, "event": "start", "process": "demo-9001"},
        {"time": 112, "event": "ready", "process": "demo-9001"},
        {"time": 113, "event": "done"},
    ]
    orders = ["kept", "doubled", "doubled"]
    for name, records in (("load", requests), ("rolling_restart", events)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in records))
    result = report.write(tmp_path, orders, deploying=[(134, 136)], reverted=True)
    assert json.loads((tmp_path / "report.json").read_text()) == result
    assert (result["requests"], result["failed"], result["rolls"]) == (8, 1, 1)
    assert result["posts_acknowledged"] == 3
    assert (result["posts_lost"], result["posts_twice"]) == (1, 1)
    assert (result["p50_ms_steady"], result["p99_ms_steady"]) == (3, 5)
    assert (result["p50_ms_rolling"], result["p99_ms_rolling"]) == (50, 50)
    assert result["failures"] == {"POST /orders: status 502": 1}
    page = (tmp_path / "report.html").read_text()
    assert "demo-9001: drain, 1.00 s, at 10.0 s" in page
    assert "demo-9001: start, 1.00 s, at 11.0 s" in page
    assert "1 of 8 requests failed" in page
    assert "http://" not in page
    assert "https://" not in page
    text = report.table(result)
    assert "orders lost  " in text
    assert "p99 steady / rolling     5.0 / 50.0 ms" in text


def test_a_start_that_fails_is_shown_as_such() -> None:
    events = [
        {"time": 100, "event": "start", "process": "demo-trial"},
        {"time": 104, "event": "drain", "process": "demo-trial"},
        {"time": 105, "event": "drained", "process": "demo-trial"},
        {"time": 106, "event": "start", "process": "demo-9001"},
        {"time": 106, "event": "start", "process": "demo-9002"},
        {"time": 107, "event": "ready", "process": "demo-9001"},
        {"time": 109, "event": "failed"},
    ]
    assert report.spans(events, 100) == [
        report.Span("demo-trial", "unready", 0, 4),
        report.Span("demo-trial", "drain", 4, 5),
        report.Span("demo-9001", "start", 6, 7),
        report.Span("demo-9002", "unready", 6, 9),
    ]


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [
        (11.0, 49.0, [10, 20, 50]),
        (10.0, 10.0, [10, 20]),
        (0.3, 1.1, [0.2, 0.5, 1, 2]),
        (0.0, 0.0, [0.01, 0.02]),
        (1e9, 1e9, [200_000, 500_000]),
    ],
)
def test_lines_hold_what_is_drawn(lowest: float, highest: float, expected: list[float]) -> None:
    assert report.lines(lowest, highest) == expected


def test_percentiles_are_those_of_a_second() -> None:
    """Two clients in turn, one of them always slow, are no zigzag; nor is a second cut short."""
    requests = [
        {"time": 100 + n / 10, "kind": "GET /hello", "ms": 10 if n % 2 else 50} for n in range(33)
    ]
    chart = report.chart(requests, [])
    y_of = {text: y for y, text in chart["grid"]}
    for name, ms in (("p50", 10), ("p99", 50)):
        points = [point.split(",") for point in chart["percentiles"][name].split()]
        assert len(points) == 3
        assert {float(y) for _, y in points} == {y_of[f"{ms} ms"]}


@pytest.mark.parametrize("seconds", [0, 1, 9, 60, 130, 240, 900])
def test_labels_of_the_time_axis_do_not_overlap(seconds: int) -> None:
    requests = [{"time": 100 + s, "kind": "GET /slow", "ms": 1} for s in (0, seconds)]
    ticks = report.chart(requests, [])["ticks"]
    places = [x for x, _ in ticks]
    assert ticks[0] == (report.LEFT, "0 s")
    # A label of five characters at 15 px is some 45 wide.
    assert all(right - left > 60 for left, right in pairwise(places))


def test_rolls_are_called_what_they_were() -> None:
    requests = [{"time": 100 + s, "kind": "GET /hello", "ms": 10} for s in range(60)]
    events = [
        {"time": time, "event": event}
        for start, end in ((110, "done"), (120, "done"), (140, "reverted"))
        for time, event in ((start, "rollout"), (start + 5, end))
    ]
    chart = report.chart(requests, events, [(90, 95), (105, 116), (135, 150)])
    assert [roll["name"] for roll in chart["rolls"]] == ["rollout", "restart", "reverted"]
    assert chart["lanes"][0][1] == "playbook"
    assert len(chart["spans"]) == 2, "not the one before the load"
