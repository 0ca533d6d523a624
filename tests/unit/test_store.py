"""What the controller keeps of artifacts."""

import os
from pathlib import Path

import pytest

from plugins.plugin_utils.store import KEPT, Store, digest


def test_locks(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.lock("a") is None
    store.keep_lock("a", ["tornado==6"], "first")
    assert store.lock("a") == ["tornado==6"]
    assert store.lock("a", "first") == ["tornado==6"]
    assert store.lock("a", "second") is None
    store.keep_lock("a", [], "second")
    assert store.lock("a", "second") == []
    (tmp_path / "store/locks/a").write_text("{")
    assert store.lock("a") is None


def test_wheels_are_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = []

    def fill(folder: Path) -> None:
        made.append(folder)
        (folder / "shop-1.whl").touch()

    for _ in range(2):
        [wheel] = store.wheels("a", fill)
        assert wheel.name == "shop-1.whl"
        assert wheel.is_file()
    assert len(made) == 1


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def fail(folder: Path) -> None:
        (folder / "half.whl").touch()
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        store.wheels("a", fail)
    assert store.wheels("a", lambda folder: None) == []
    assert {path.name for path in (tmp_path / "store").iterdir()} == set(KEPT)


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for number in range(KEPT["wheelhouses"]):
        store.wheels(str(number), lambda folder: None)
        os.utime(tmp_path / f"store/wheelhouses/{number}", (number, number))
    store.wheels("0", lambda folder: None)  # which counts as used
    store.wheels("new", lambda folder: None)
    left = {path.name for path in (tmp_path / "store/wheelhouses").iterdir()}
    assert left == {"0", "new", *map(str, range(2, KEPT["wheelhouses"]))}


def test_a_name_tells_texts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest()) == 12
