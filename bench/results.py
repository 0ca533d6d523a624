"""What `make bench` found, as a table and a plot."""

import textwrap
from pathlib import Path
from statistics import median
from typing import Any

FOLDER = Path(__file__).parent / "results"

# Figures of which less is better, and of which more; as the table calls them.
LESS = {
    "failed_per_roll": "failed requests per roll",
    "posts_lost": "orders lost",
    "posts_twice": "orders executed twice",
    "p50_ms_steady": "p50 steady",
    "p99_ms_steady": "p99 steady",
    "p50_ms_rolling": "p50 while rolling",
    "p99_ms_rolling": "p99 while rolling",
    "pss": "memory while rolling",
    "roll_seconds": "time of a roll",
}
MORE = {"requests_per_second": "throughput"}

# By how much a figure must be better before it is called so: less is noise.
NOISE = 1.05


def ends(growth: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """The rolls of the fewest and of the most processes."""
    return growth["sizes"][0], growth["sizes"][-1]


def write(found: dict[str, Any], folder: Path) -> str:
    """Write ``README.md`` and ``bench.svg``; returns the text of the former."""
    text = "\n\n".join(
        part for part in (head(found), table(found), words(found), growth(found)) if part
    )
    problems = [f"- {problem}" for problem in found["problems"]] or ["Everything it checks holds."]
    text = wrapped(text + "\n\n## Checked by the run\n\n" + "\n".join(problems)) + "\n"
    (folder / "README.md").write_text(text, encoding="utf-8")
    plot(found["candidates"], folder / "bench.svg")
    return text


def wrapped(text: str) -> str:
    """The text with its paragraphs and lists at 100 characters; tables can't be broken."""
    return "\n".join(
        line
        if line.startswith(("|", "!", "#"))
        else textwrap.fill(
            line,
            100,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in text.splitlines()
    )


def head(found: dict[str, Any]) -> str:
    """What was run, and where."""
    machine, clients = found["machine"], found["machine"]["clients"]
    return (
        f"# Measured by `{found['command']}`\n\n"
        f"{machine['at']}: {found['seconds']:.0f} s on {machine['cores']} cores (load average "
        f"before: {machine['load_before']}), Python {machine['python']}, nginx {machine['nginx']}. "
        "The run wrote this page; all figures are in [bench.json](bench.json).\n\n"
        "Each candidate has three processes behind nginx, configured as the role does it. "
        f"{clients['quick']} clients send requests as fast as they are answered, half of them "
        f"`GET /hello` and half `POST /orders` with an id; {clients['slow']} more ask for "
        "something that takes 0.5 s. They check every body and retry nothing, and the orders that "
        "were acknowledged are compared with those that were executed.\n\n"
        "![Failed, throughput, p99 and memory](bench.svg)"
    )


def table(found: dict[str, Any]) -> str:
    """All candidates."""
    records = found["candidates"]
    base = records[0]["requests_per_second"]
    lines = [
        "| | failed per roll | retried by nginx per roll | orders lost / twice | requests/s "
        f"(÷ {records[0]['name']}) | p50 steady / rolling, ms | p99 steady / rolling, ms | "
        "memory rolling PSS / RSS, MiB | a roll, s |",
        "| --- " + "| ---: " * 8 + "|",
    ]
    lines += [
        f"| **{r['name']}** | {r['failed_per_roll']:.1f} | {r['retried_per_roll']:.0f} "
        f"| {r['posts_lost']} / {r['posts_twice']} "
        f"| {r['requests_per_second']:,.0f} ({r['requests_per_second'] / base:.2f}) "
        f"| {r['p50_ms_steady']:.0f} / {r['p50_ms_rolling']:.0f} "
        f"| {r['p99_ms_steady']:.0f} / {r['p99_ms_rolling']:.0f} "
        f"| {r['pss'] / 2**20:.0f} / {r['rss'] / 2**20:.0f} | {r['roll_seconds']:.1f} |"
        for r in records
    ]
    explained = [
        "",
        "Retried: nginx could not connect to the process it asked first, or that one failed to "
        "answer, and another was asked. Without `proxy_next_upstream` the client would have seen "
        "the failure.",
        "",
        *(f"- {record['name']}: {record['how']}" for record in records),
    ]
    return "\n".join(lines + explained)


def words(found: dict[str, Any]) -> str:
    """Where a peer is better than the kit at its best, and what the limit was, by the figures."""
    records = found["candidates"]
    kits = [r for r in records if r["name"].startswith("kit")]
    if not kits:
        return ""
    lines = ["## Where another is better", ""]
    for record in records:
        better = [
            f"{text} ({record[key]:,.0f} against {best:,.0f})"
            for key, text in MORE.items()
            if record[key] > NOISE * (best := max(kit[key] for kit in kits))
        ]
        for key, text in LESS.items():
            best = min(kit[key] for kit in kits)
            if record not in kits and record[key] * NOISE < best:
                unit = 2**20 if key == "pss" else 1
                better.append(f"{text} ({record[key] / unit:,.1f} against {best / unit:,.1f})")
        if better and record not in kits:
            lines.append(f"- {record['name']}: {', '.join(better)}")
    if len(lines) == 2:
        lines.append("Nowhere in this run.")
    lines += ["", *turns(kits)]
    busy = min(r["cores_busy"] for r in records)
    most = max(r["cores_clients"] for r in records)
    lines += [
        "",
        f"While the load was steady, at least {busy:.1f} of {found['machine']['cores']} cores were "
        f"busy, and the clients took at most {most:.2f} of a core: the servers are the limit, not "
        "the clients."
        if busy > 0.9 * found["machine"]["cores"] and most < 0.5
        else f"While the load was steady, at least {busy:.1f} of {found['machine']['cores']} cores "
        f"were busy, and the clients took up to {most:.2f} of a core: they may be a limit too.",
    ]
    return "\n".join(lines)


def turns(kits: list[dict[str, Any]]) -> list[str]:
    """The kit's throughput beside the recipe's, as the two took turns."""
    return [
        f"When {kit['name']} and the recipe took turns at answering `/hello`, {len(times)} each, "
        f"so that the machine's drift does not decide, {kit['name']} answered {median(times):.2f} "
        f"times as many requests per second (median; {min(times):.2f} to {max(times):.2f})."
        for kit in kits
        if (times := kit["times_recipe"])
    ]


def growth(found: dict[str, Any]) -> str:
    """Rolls of more and more processes."""
    if not (growth := found.get("growth")):
        return ""
    one = growth["slow"]["seconds"] / growth["slow"]["processes"]
    rows = [(size, "1") for size in growth["sizes"]] + [(growth["batched"], "25%")]
    lines = [
        "## More and more processes",
        "",
        "The kit on unix sockets, without load.",
        "",
        "| processes | at a time | a roll, s | per process, s | of which processor time of "
        "conductor and supervisord, s |",
        "| ---: " * 5 + "|",
    ]
    lines += [
        f"| {row['processes']} | {batch} | {row['seconds']:.1f} "
        f"| {row['seconds'] / row['processes']:.2f} "
        f"| {row['own_cpu_seconds'] / row['processes']:.3f} |"
        for row, batch in rows
    ]
    slow = growth["slow_batched"]
    lines += [
        "",
        f"Where an app takes 4 s to become ready, a roll takes {one:.1f} s per process, and "
        f"{slow['seconds']:.1f} s for {slow['processes']} of them, 25% at a time: "
        f"{slow['seconds'] / one:.1f} times as long. Processes that start together share the "
        "cores: where starting is all computing, batches save only the waiting.",
    ]
    return "\n".join(lines)


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Draw the candidates side by side."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams.update({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    panels = [
        ("failed requests per roll", [("failed_per_roll", 1.0)]),
        ("requests per second, steady", [("requests_per_second", 1.0)]),
        ("p99 in ms: steady, rolling", [("p99_ms_steady", 1.0), ("p99_ms_rolling", 1.0)]),
        ("memory while rolling, MiB (PSS)", [("pss", 2.0**20)]),
    ]
    names = [record["name"] for record in records]
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 1.6 + 0.5 * len(records)), sharey=True)
    for panel, (title, columns) in zip(axes.flat, panels, strict=True):
        for number, (key, unit) in enumerate(columns):
            height = 0.8 / len(columns)
            places = [row + number * height for row in range(len(names))]
            values = [record[key] / unit for record in records]
            colours = ["#2a7" if n.startswith("kit") else "#999" for n in names]
            bars = panel.barh(places, values, height, color=colours, alpha=1 - 0.4 * number)
            panel.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        panel.set_title(title, fontsize=10)
        panel.margins(x=0.15)
        panel.set_yticks(range(len(names)), names)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
