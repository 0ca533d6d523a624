"""The demo's report: what the clients saw and what the conductor did, on one axis of time."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

# Quick by themselves: in their times a roll would show.
QUICK = ("GET /hello", "POST /orders")

# Of the chart, in its own units.
WIDTH, HEIGHT, LANE, LEFT = 1000, 300, 22, 90
BUCKET = 0.25  # seconds


@dataclass(frozen=True)
class Span:
    """A time on one process's lane, seconds since the load began."""

    process: str
    kind: str
    start: float
    end: float


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; a last one that is not whole is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def rolls(events: list[dict[str, Any]]) -> list[tuple[float, float, str]]:
    """When each roll began and ended, and how: ``done`` or ``reverted``."""
    found, began = [], None
    for event in events:
        if event["event"] in ("rollout", "start", "drain") and began is None:
            began = event["time"]
        elif event["event"] in ("done", "reverted") and began is not None:
            found.append((began, event["time"], event["event"]))
            began = None
    return found


def spans(events: list[dict[str, Any]], origin: float) -> list[Span]:
    """Each process's drains and starts."""
    found: list[Span] = []
    begun: dict[tuple[str, str], float] = {}
    ends = {"drained": "drain", "ready": "start", "failed": "start"}
    for event in events:
        name, kind, time = event.get("process", ""), event["event"], event["time"] - origin
        if kind in ("drain", "start"):
            begun[name, kind] = time
        elif (start := begun.pop((name, ends.get(kind, "")), None)) is not None:
            found.append(Span(name, ends[kind], start, time))
    return found


def evaluate(
    requests: list[dict[str, Any]],
    events: list[dict[str, Any]],
    orders: list[str],
    *,
    deploying: Sequence[tuple[float, float]] = (),
    reverted: bool,
) -> dict[str, Any]:
    """Count and compare.

    Args:
        requests: the lines of the load's log.
        events: the lines of the conductor's journal.
        orders: the ids of the orders that were executed.
        deploying: when a playbook ran, which takes its share of the machine: not steady either.
        reverted: whether the broken release left the one before serving.

    Returns:
        What ``report.json`` holds; times in milliseconds.
    """
    first = min(r["time"] for r in requests)
    rolling = [(a, b) for a, b, _ in rolls(events) if b > first]

    def during(request: dict[str, Any], times: Sequence[tuple[float, float]]) -> bool:
        end = request["time"] + request["ms"] / 1000
        return any(request["time"] <= b and end >= a for a, b in times)

    quick = [r for r in requests if r["kind"] in QUICK]
    steady = [r["ms"] for r in quick if not during(r, [*rolling, *deploying])]
    rolled = [r["ms"] for r in quick if during(r, rolling)]
    acknowledged = [r["id"] for r in requests if r["kind"] == QUICK[1] and "error" not in r]
    executed = Counter(orders)
    failures = Counter(f"{r['kind']}: {r['error']}" for r in requests if "error" in r)
    return {
        "requests": len(requests),
        "failed": failures.total(),
        "posts_acknowledged": len(acknowledged),
        "posts_lost": sum(executed[order] == 0 for order in acknowledged),
        "posts_twice": sum(times > 1 for times in executed.values()),
        "rolls": len(rolling),
        "reverted": reverted,
        "p50_ms_steady": percentile(steady, 0.5),
        "p99_ms_steady": percentile(steady, 0.99),
        "p50_ms_rolling": percentile(rolled, 0.5),
        "p99_ms_rolling": percentile(rolled, 0.99),
        "requests_rolling": sum(during(r, rolling) for r in requests),
        "seconds": round(max(r["time"] + r["ms"] / 1000 for r in requests) - first, 1),
        "by_kind": dict(sorted(Counter(r["kind"] for r in requests).items())),
        "failures": dict(failures.most_common(20)),
    }


def table(result: dict[str, Any]) -> str:
    """The result for a terminal."""
    rows = [
        ("requests", f"{result['requests']:,}"),
        ("failed", result["failed"]),
        ("orders acknowledged", f"{result['posts_acknowledged']:,}"),
        ("orders lost", result["posts_lost"]),
        ("orders executed twice", result["posts_twice"]),
        ("rolls under load", result["rolls"]),
        ("broken release reverted", "yes" if result["reverted"] else "NO"),
        *(
            (f"{name} steady / rolling", " / ".join(f"{value:.1f} ms" for value in values if value))
            for name in ("p50", "p99")
            for values in [[result[f"{name}_ms_steady"], result[f"{name}_ms_rolling"]]]
        ),
        *((f"  {kind}", f"{count:,}") for kind, count in result["by_kind"].items()),
        *(("failure", f"{count} x {text}") for text, count in result["failures"].items()),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n" + "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def write(
    folder: Path,
    orders: list[str],
    *,
    deploying: Sequence[tuple[float, float]] = (),
    reverted: bool,
) -> dict[str, Any]:
    """Make ``report.json`` and ``report.html`` of the logs in `folder`; returns the former."""
    requests = read(folder / "load.jsonl")
    events = read(folder / "rolling_restart.jsonl")
    result = evaluate(requests, events, orders, deploying=deploying, reverted=reverted)
    (folder / "report.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("report.html.j2").render(
        result=result, chart=chart(requests, events)
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return result


def chart(requests: list[dict[str, Any]], events: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that the page draws, placed."""
    origin = min(r["time"] for r in requests)
    seconds: float = max(r["time"] for r in requests) - origin
    buckets: dict[int, list[float]] = {}
    for request in requests:
        if request["kind"] in QUICK:
            bucket = int((request["time"] - origin) / BUCKET)
            buckets.setdefault(bucket, []).append(request["ms"])
    lowest = 1.0
    highest: float = 10.0 ** max(1, math.ceil(math.log10(max(map(max, buckets.values())))))

    def x(at: float) -> float:
        share = min(max(at / seconds, 0.0), 1.0)
        return round(LEFT + (WIDTH - LEFT) * share, 1)

    def y(ms: float) -> float:
        share: float = math.log(max(ms, lowest) / lowest) / math.log(highest / lowest)
        return round(HEIGHT * (1 - share), 1)

    def line(of: Callable[[Sequence[float]], float | None]) -> str:
        points = ((b * BUCKET, of(values) or 0) for b, values in sorted(buckets.items()))
        return " ".join(f"{x(at)},{y(ms)}" for at, ms in points)

    shown = [s for s in spans(events, origin) if s.end > 0]
    names = sorted({s.process for s in shown}, key=lambda name: (name.endswith("trial"), name))
    ticks = range(0, int(seconds) + 1, 10)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "total": HEIGHT + 40 + LANE * len(names),
        "left": LEFT,
        "p50": line(lambda values: percentile(values, 0.5)),
        "p99": line(lambda values: percentile(values, 0.99)),
        "grid": [(y(10**n), f"{10**n:g} ms") for n in range(int(math.log10(highest)) + 1)],
        "ticks": [(x(tick), f"{tick} s") for tick in ticks],
        "rolls": [
            (x(a - origin), max(x(b - origin) - x(a - origin), 2), end)
            for a, b, end in rolls(events)
            if b > origin
        ],
        "failures": [
            (x(r["time"] - origin), y(r["ms"]), r["error"]) for r in requests if "error" in r
        ],
        "lanes": [(HEIGHT + 40 + LANE * i, name) for i, name in enumerate(names)],
        "spans": [
            {
                "x": x(s.start),
                "width": max(x(s.end) - x(s.start), 2),
                "y": HEIGHT + 40 + LANE * names.index(s.process),
                "kind": s.kind,
                "title": f"{s.process}: {s.kind}, {s.end - s.start:.2f} s, at {s.start:.1f} s",
            }
            for s in shown
        ],
        "lane": LANE,
    }
