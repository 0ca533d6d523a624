"""The demo's report: what the clients saw and what the conductor did, on one axis of time."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

# Quick by themselves, so that a roll would show in their times.
QUICK = ("GET /hello", "POST /orders")

# Of the chart, in its own units: of the plot, of a process's lane, and of what is beside the plot.
WIDTH, HEIGHT, LANE = 1000, 300, 22
LEFT, TOP, AXIS = 110, 22, 40

# Of the axes: the times in ms that get a line, and the seconds between two labels.
SCALE = [digit * 10.0**power for power in range(-2, 6) for digit in (1, 2, 5)]
TICKS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)


@dataclass(frozen=True)
class Span:
    """A time on one lane, seconds since the load began."""

    lane: str
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
    """Each process's drains and starts; a start that does not end with ready is ``unready``."""
    found: list[Span] = []
    begun: dict[tuple[str, str], float] = {}

    def end(name: str, kind: str, time: float, as_kind: str) -> None:
        if (start := begun.pop((name, kind), None)) is not None:
            found.append(Span(name, as_kind, start, time))

    for event in events:
        name, kind, time = event.get("process", ""), event["event"], event["time"] - origin
        if kind == "start":
            begun[name, kind] = time
        elif kind == "drain":
            end(name, "start", time, "unready")
            begun[name, kind] = time
        elif kind == "drained":
            end(name, "drain", time, "drain")
        elif kind == "ready":
            end(name, "start", time, "start")
        elif kind == "failed":
            # It names no process: all that are starting were waited for together.
            for starting in [key for key, what in begun if what == "start"]:
                end(starting, "start", time, "unready")
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


def latency(result: dict[str, Any], name: str) -> str:
    """A percentile, steady and while rolling, such as ``22.1 / 103 ms``."""
    values = (result[f"{name}_ms_{when}"] for when in ("steady", "rolling"))
    texts = ("none" if ms is None else f"{ms:.{1 if ms < 100 else 0}f}" for ms in values)
    return f"{' / '.join(texts)} ms"


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
        *((f"{name} steady / rolling", latency(result, name)) for name in ("p50", "p99")),
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
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        result=result,
        p50=latency(result, "p50"),
        p99=latency(result, "p99"),
        chart=chart(requests, events, deploying),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")
    return result


def lines(lowest: float, highest: float) -> list[float]:
    """The times in ms, at least two, that hold what is from `lowest` to `highest` between them."""
    first = max((ms for ms in SCALE[:-1] if ms <= lowest), default=SCALE[0])
    last = next((ms for ms in SCALE if ms >= highest and ms > first), SCALE[-1])
    return [ms for ms in SCALE if first <= ms <= last]


def chart(
    requests: list[dict[str, Any]],
    events: list[dict[str, Any]],
    deploying: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """Everything that the page draws, placed; the arguments are those of `evaluate`."""
    origin = min(r["time"] for r in requests)
    seconds: float = max(r["time"] for r in requests) - origin
    # A client asks three times a second: in less than one, a few of them would decide.
    quick: defaultdict[int, list[float]] = defaultdict(list)
    for request in requests:
        if request["kind"] in QUICK:
            quick[int(request["time"] - origin)].append(request["ms"])
    if len(quick) > 1:
        quick.pop(int(seconds), None)  # cut short
    percentiles = {
        name: [(second + 0.5, percentile(values, share) or 0) for second, values in quick.items()]
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    failures = [r for r in requests if "error" in r]
    drawn = [ms for points in percentiles.values() for _, ms in points]
    drawn += [r["ms"] for r in failures]
    grid = lines(min(drawn, default=1), max(drawn, default=1))

    def x(at: float) -> float:
        share = min(max(at / seconds, 0.0), 1.0) if seconds else 0.0
        return round(LEFT + (WIDTH - LEFT) * share, 1)

    def y(ms: float) -> float:
        share = math.log(max(ms, grid[0]) / grid[0]) / math.log(grid[-1] / grid[0])
        return round(TOP + HEIGHT * (1 - min(share, 1.0)), 1)

    shown = [Span("playbook", "playbook", a - origin, b - origin) for a, b in deploying]
    shown = [s for s in shown + spans(events, origin) if s.end > 0]
    names = sorted({s.lane for s in shown}, key=lambda n: (n != "playbook", n.endswith("trial"), n))
    top = TOP + HEIGHT + AXIS
    step = next((step for step in TICKS if seconds / step <= 10), 600)
    return {
        "width": WIDTH,
        "left": LEFT,
        "top": TOP,
        "bottom": TOP + HEIGHT,
        "total": top + LANE * len(names),
        "lane": LANE,
        "percentiles": {
            name: " ".join(f"{x(at)},{y(ms)}" for at, ms in sorted(points))
            for name, points in percentiles.items()
        },
        "grid": [(y(ms), f"{ms:,g} ms") for ms in grid],
        "ticks": [(x(tick), f"{tick} s") for tick in range(0, int(seconds) + 1, step)],
        "rolls": [
            {
                "x": x(began - origin),
                "width": max(x(ended - origin) - x(began - origin), 2),
                "name": "reverted"
                if how == "reverted"
                else "rollout"
                if any(a <= began <= b for a, b in deploying)
                else "restart",
            }
            for began, ended, how in rolls(events)
            if ended > origin
        ],
        "failures": [(x(r["time"] - origin), y(r["ms"]), r["error"]) for r in failures],
        "lanes": [(top + LANE * number, name) for number, name in enumerate(names)],
        "spans": [
            {
                "x": x(s.start),
                "width": max(x(s.end) - x(s.start), 2),
                "y": top + LANE * names.index(s.lane),
                "kind": s.kind,
                "title": f"{s.lane}: {s.kind}, {s.end - s.start:.2f} s, at {s.start:.1f} s",
            }
            for s in shown
        ],
    }
