"""The lock in the user's repository."""

from pathlib import Path

import pytest

from plugins.module_utils.artifact import ArtifactError
from plugins.plugin_utils import lockfile


def test_a_section_for_each_platform(tmp_path: Path) -> None:
    path = tmp_path / "shop.lock"
    assert lockfile.read(path) == {}
    sections = {"cpython 3.13, linux": ["tornado==6 --hash=sha256:bb"], "cpython 3.11, linux": []}
    lockfile.write(path, sections)
    assert lockfile.read(path) == sections
    sections["cpython 3.11, linux"] = ["pyyaml==6 --hash=sha256:aa", "tornado==6"]
    lockfile.write(path, sections)
    assert lockfile.read(path) == sections
    assert path.read_text().startswith("# ")
    assert [each.name for each in tmp_path.iterdir()] == ["shop.lock"]


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("tornado==6\n")
    with pytest.raises(ArtifactError, match="which the role has not written"):
        lockfile.read(path)
