"""What runs before a commit is what `make lint` runs."""

import re

import yaml

from tests.support.paths import ROOT


def test_pre_commit_has_the_linters_of_make_lint() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    [repository] = config["repos"]
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}, "no network"
    entries = [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert entries == [line.strip() for line in recipe[1].splitlines()]
