"""Releases, installed by the real pip from wheels that are made here."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from plugins.module_utils.release import ReleaseError, build, complete, is_program, programs
from tests.support.wheel import make_wheel


def pack(folder: Path, version: str) -> tuple[Path, dict[str, str]]:
    """An archive with a wheel, and its hash by its name."""
    wheel = make_wheel(folder, version)
    with tarfile.open(folder / "wheels.tar", "w") as archive:
        archive.add(wheel, wheel.name)
    return folder / "wheels.tar", {wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()}


def test_a_release_is_built_from_wheels(tmp_path: Path) -> None:
    archive, wheels = pack(tmp_path, "1.0")
    release = tmp_path / "releases/0a1b"
    (release / "venv/bin").mkdir(parents=True)
    (release / "venv/bin/python").write_text("of a build that was interrupted")
    build(release, sys.executable, [sys.executable], archive, wheels)
    shop = release / "venv/bin/shop"
    assert subprocess.run([shop], capture_output=True, text=True, check=True).stdout == "1.0\n"
    assert is_program("shop", release)
    assert is_program("python", release)
    assert is_program(str(shop), release)
    assert not is_program("shops", release)
    assert not is_program("activate", release), "it is read, not run"
    assert not is_program("", release)
    assert not is_program(str(tmp_path), release)
    assert {"python", "shop"} <= set(programs(release))
    assert "activate" not in programs(release)
    complete(release, "shop==1.0\n", lambda path: None)
    assert (release / "requirements.txt").read_text() == "shop==1.0\n"
    assert (release / "requirements.txt").stat().st_mode & 0o777 == 0o640
    assert {path.name for path in release.iterdir()} == {"venv", "requirements.txt"}


def test_nothing_is_installed_that_was_not_locked(tmp_path: Path) -> None:
    _, wheels = pack(tmp_path, "1.0")
    archive, _ = pack(tmp_path / "other", "1.0")
    with (tmp_path / "other/shop-1.0-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"more")
    with tarfile.open(archive, "w") as tar:
        tar.add(wheel.name, Path(wheel.name).name)
    with pytest.raises(ReleaseError, match="DO NOT MATCH THE HASHES"):
        build(tmp_path / "release", sys.executable, [sys.executable], archive, wheels)
    assert not (tmp_path / "release/requirements.txt").exists()


def test_no_index_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the host's own settings say."""
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    make_wheel(tmp_path, "1.0", needs="nowhere-to-be-found")
    archive, wheels = tmp_path / "wheels.tar", {}
    for wheel in tmp_path.glob("*.whl"):
        wheels[wheel.name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with tarfile.open(archive, "w") as tar:
            tar.add(wheel, wheel.name)
    pip = [sys.executable, "--no-compile"]
    build(tmp_path / "release", sys.executable, pip, archive, wheels)
    assert is_program("shop", tmp_path / "release")
    assert not [*(tmp_path / "release").glob("**/shop.*.pyc")]
    shutil.rmtree(tmp_path / "release")
    with pytest.raises(ReleaseError, match=f"{tmp_path}/python: No such file"):
        build(tmp_path / "release", str(tmp_path / "python"), [sys.executable], archive, wheels)
