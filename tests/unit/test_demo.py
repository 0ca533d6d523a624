"""What `make demo` rolls out: releases that differ by their version."""

import tomllib
from pathlib import Path

import pytest

from bench import demo


def test_another_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "OUT", tmp_path)
    drain, app = demo.another_release("9.8.7")
    assert Path(drain.removesuffix("[metrics]"), "pyproject.toml").exists()
    assert tomllib.loads(Path(app, "pyproject.toml").read_text())["project"]["version"] == "9.8.7"
    assert Path(app, "page/page.js").exists()
