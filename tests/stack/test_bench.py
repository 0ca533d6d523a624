"""`make bench` and `make soak`, small: they count, they judge, and they leave nothing running."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import compare, results, soak
from bench.candidates import BASE_PORT, Kit
from bench.clients import Seen
from tests.support.paths import ROOT
from tests.support.stack import run

ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def left() -> str:
    """What runs from the bench's folders."""
    found = subprocess.run(
        ["pgrep", "-fa", f"{ROOT}/.run/bench"], capture_output=True, text=True, check=False
    )
    return found.stdout


def test_bench_in_small(tmp_path: Path) -> None:
    only = ["--only", "recipe,kit-unix", "--seconds", "1", "--rolls", "3", "--sizes"]
    command = [sys.executable, "-m", "bench.compare", *only, "", "--to", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    found = json.loads((tmp_path / "bench.json").read_text())
    recipe, kit = found["candidates"]
    assert recipe["failed"] > 0, "the load sees what the recipe loses"
    assert recipe["posts_lost"] > 0
    assert (kit["failed"], kit["posts_lost"], kit["posts_twice"]) == (0, 0, 0)
    assert kit["posts"] > 100
    assert kit["pss"] > 0
    # How much faster it is says only a run that has the machine for itself.
    assert len(kit["times_recipe"]) > 1
    problems = [p for p in found["problems"] if "times the recipe's" not in p]
    assert problems == [], done.stdout
    assert (tmp_path / "bench.svg").stat().st_size < 100_000
    assert "| **kit-unix** | 0.0 |" in (tmp_path / "README.md").read_text()
    assert left() == ""


def test_the_page_is_what_the_figures_make(tmp_path: Path) -> None:
    results.write(json.loads((results.FOLDER / "bench.json").read_text()), tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert page == (results.FOLDER / "README.md").read_text()
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 100


def test_soak_in_small() -> None:
    command = [sys.executable, "-m", "bench.soak", "--requests", "1000", "--rolls", "2"]
    output = run(command, ENVIRONMENT, 0)
    assert "Nothing was lost or grew." in output
    assert left() == ""


GOOD: dict[str, Any] = {"failed": 0, "posts_lost": 0, "posts_twice": 0, "why": ""}


@pytest.mark.parametrize(
    ("kit", "recipe", "expected"),
    [
        ({}, {}, []),
        ({"failed": 1}, {}, ["kit-unix: failed 1"]),
        ({"posts_lost": 1}, {}, ["kit-unix: posts_lost 1"]),
        ({"posts_twice": 2}, {}, ["kit-unix: posts_twice 2"]),
        ({"times_recipe": [1.1, 1.29, 1.4]}, {}, ["kit-unix: 1.29 times"]),
        ({}, {"failed": 0}, ["recipe: failed 0"]),
        ({}, {"posts_lost": 0}, ["recipe: failed 1, posts_lost 0"]),
    ],
)
def test_bench_judges(kit: dict[str, Any], recipe: dict[str, Any], expected: list[str]) -> None:
    records = [
        GOOD | {"name": "recipe", "failed": 1, "posts_lost": 1} | recipe,
        GOOD | {"name": "kit-unix", "times_recipe": [1.1, 1.3, 1.4]} | kit,
    ]
    problems = compare.judge({"candidates": records})
    assert [p[: len(e)] for p, e in zip(problems, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("one", "most", "batched", "expected"),
    [
        (1.0, 64.0, 6.0, []),
        (1.0, 97.0, 6.0, ["a roll took 1.00 s per process of the fewest, 1.52 s of the most"]),
        (1.0, 64.0, 6.1, ["a roll in batches of 25% took 6.1 times"]),
    ],
)
def test_bench_judges_growth(one: float, most: float, batched: float, expected: list[str]) -> None:
    growth = {
        "sizes": [{"processes": 2, "seconds": 2 * one}, {"processes": 64, "seconds": most}],
        "slow": {"processes": 2, "seconds": 2 * one},
        "slow_batched": {"processes": 64, "seconds": batched},
    }
    problems = compare.judge({"candidates": [], "growth": growth})
    assert [p[: len(e)] for p, e in zip(problems, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("seen", "last", "expected"),
    [
        ({}, 1.0, []),
        ({"failed": 1, "why": "502"}, 1.0, ["failed: 1; expected 0 (502)"]),
        ({"lost": 1}, 1.0, ["lost: 1"]),
        ({"twice": 1}, 1.0, ["twice: 1"]),
        ({}, 1.2, ["supervisord: 24.0 MiB resident at the end, 20.0 at the beginning"]),
    ],
)
def test_soak_judges(seen: dict[str, Any], last: float, expected: list[str]) -> None:
    soaked = soak.Soak("port")
    soaked.resident = {"supervisord": [20 << 20] * 50 + [int(last * 20) << 20] * 50}
    problems = soak.judge(soaked, Seen(Path(), **seen))
    assert [p[: len(e)] for p, e in zip(problems, expected, strict=True)] == expected


def test_the_ports_of_the_bench_are_its_own() -> None:
    assert Kit("port", "").stack.port == BASE_PORT - 2
