"""Releases, built by the real pip from wheels that are made here."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.release import (
    ReleaseError,
    build,
    complete,
    identify,
    is_program,
    lock,
    resolve,
)

PYTHON = {"python_full_version": "3.11.2"}
NEW = {"hash": "sha256=aa", "hashes": {"sha256": "aa"}}


def item(name: str, version: str, **source: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "version": version}, "download_info": source}


def test_lock_names_every_version_and_hash() -> None:
    old = {"hashes": {"sha256": "bb"}}
    path = "file:///opt/shop/wheels/0/shop-1.whl"
    shop = item("Shop", "1", url=path, archive_info=NEW) | {"is_direct": True}
    report = {
        "environment": PYTHON,
        "install": [
            item("tornado", "6.5", url="https://a/tornado.whl", archive_info=old),
            shop,
        ],
    }
    assert lock(report) == (
        f"# Python 3.11.2\nShop @ {path} --hash=sha256:aa\ntornado==6.5 --hash=sha256:bb\n"
    )


def test_lock_with_a_repository_has_no_hashes() -> None:
    vcs = {"vcs": "git", "commit_id": "0a1b"}
    report = {
        "environment": PYTHON,
        "install": [
            item("shop", "1", url="https://a/shop.git", vcs_info=vcs, subdirectory="web"),
            item("tornado", "6.5", url="https://a/tornado.whl", archive_info=NEW),
        ],
    }
    assert lock(report) == (
        "# Python 3.11.2\nshop @ git+https://a/shop.git@0a1b#subdirectory=web\ntornado==6.5\n"
    )


def wheel(folder: Path, version: str) -> Path:
    """A wheel of a package that installs the program `shop`, and needs nothing."""
    path = folder / f"shop-{version}-py3-none-any.whl"
    information = f"shop-{version}.dist-info"
    files = {
        "shop.py": f"def main():\n    print({version!r})\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: shop\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": "[console_scripts]\nshop = shop:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{information}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (files | {f"{information}/RECORD": record}).items():
            archive.writestr(name, content)
    return path


def test_a_release_is_built_from_what_was_resolved(tmp_path: Path) -> None:
    how = (sys.executable, sys.executable, ["--no-index", "--find-links", str(tmp_path)])
    wheel(tmp_path, "1.0")
    locked = resolve(*how, ["shop"])
    assert "\nshop==1.0 --hash=sha256:" in locked
    wheel(tmp_path, "1.1")  # which comes too late
    release = tmp_path / "releases" / identify(locked)
    (release / "venv/bin").mkdir(parents=True)
    (release / "venv/bin/python").write_text("of a build that was interrupted")
    build(release, *how, locked)
    shop = release / "venv/bin/shop"
    assert subprocess.run([shop], capture_output=True, text=True, check=True).stdout == "1.0\n"
    assert is_program("shop", release)
    assert is_program("python", release)
    assert is_program(str(shop), release)
    assert not is_program("shops", release)
    assert not is_program("activate", release), "it is read, not run"
    assert not is_program("", release)
    assert not is_program(str(tmp_path), release)
    complete(release, locked, lambda path: None)
    assert (release / "requirements.txt").read_text() == locked
    assert (release / "requirements.txt").stat().st_mode & 0o777 == 0o640
    # Nothing is installed that was not locked.
    shutil.rmtree(release)
    wheel(tmp_path, "1.0").write_bytes(wheel(tmp_path, "1.1").read_bytes())
    with pytest.raises(ReleaseError, match=r"DO NOT MATCH THE HASHES"):
        build(release, *how, locked)


def test_pip_says_what_it_cannot_find(tmp_path: Path) -> None:
    how = (sys.executable, sys.executable, ["--no-index"])
    with pytest.raises(ReleaseError, match="No matching distribution found for shop"):
        resolve(*how, ["shop"])
    with pytest.raises(ReleaseError, match=f"{tmp_path}/python: No such file"):
        resolve(str(tmp_path / "python"), *how[1:], ["shop"])
