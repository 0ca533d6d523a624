"""What is asked of pip, the real one, and what comes of it."""

import netrc
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.artifact import ArtifactError, Pip, hide, lock_lines, private, reason
from tests.support.wheel import make_wheel

NEW = {"hash": "sha256=aa", "hashes": {"sha256": "aa"}}
LOGIN = {"base": "https://index:1", "host": "index", "user": "me", "password": 'a "b\\'}
CREDENTIALS = [{"vcs": "", **LOGIN}, {"vcs": "git", **LOGIN}]


def item(name: str, version: str, **source: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "version": version}, "download_info": source}


def test_a_lock_names_every_version_and_hash() -> None:
    old = {"hashes": {"sha256": "bb"}}
    vcs = {"vcs": "git", "commit_id": "0a1b"}
    direct = {"is_direct": True}
    report = {
        "install": [
            item("Tornado", "6.5", url="https://a/tornado.whl", archive_info=old),
            item("shop", "1", url="file:///wheels/shop-1.whl", archive_info=NEW) | direct,
            item("other", "1", url="file:///elsewhere/other-1.whl", archive_info=NEW) | direct,
            item("web_x", "1", url="https://a/x.git", vcs_info=vcs, subdirectory="web"),
        ],
    }
    assert dict(lock_lines(report, "file:///wheels")) == {
        "tornado": "Tornado==6.5 --hash=sha256:bb",
        "other": "other @ file:///elsewhere/other-1.whl --hash=sha256:aa",
        "web-x": "web_x @ git+https://a/x.git@0a1b#subdirectory=web",
    }


def pip(index: Path, **order: Any) -> Pip:
    """The one that finds packages in a folder."""
    empty = ("requirements", "hashed", "options", "constraints", "wheels", "credentials")
    known: dict[str, Any] = {kind: [] for kind in empty}
    known["arguments"] = ["--no-index", "--find-links", str(index)]
    return Pip([sys.executable, "-m", "pip"], known | order, index.parent / "own")


def test_resolved_and_fetched(tmp_path: Path) -> None:
    index = tmp_path / "index"
    make_wheel(index, "1.0", "tool")
    make_wheel(index, "1.1", "tool")
    make_wheel(index, "2.0", "helper", needs="tool<2")
    own = make_wheel(tmp_path / "own", "3.0", needs="helper")
    wheels = [{"name": "shop", "extras": "", "file": own.name}]
    asked = pip(index, wheels=wheels, constraints=["tool!=1.1"], requirements=["helper>1"])
    lock = asked.resolve()
    helper, tool = lock
    assert helper.startswith("helper==2.0 --hash=sha256:")
    assert tool.startswith("tool==1.0 --hash=sha256:")
    (tmp_path / "made").mkdir()
    asked.wheels(lock, tmp_path / "made")
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {"helper-2.0-py3-none-any.whl", "tool-1.0-py3-none-any.whl"}
    # What is there is not what was locked.
    (index / "tool-1.0-py3-none-any.whl").write_bytes(
        (index / "tool-1.1-py3-none-any.whl").read_bytes()
    )
    with pytest.raises(ArtifactError, match="DO NOT MATCH THE HASHES"):
        asked.wheels(lock, tmp_path / "other")


def test_requirements_with_hashes(tmp_path: Path) -> None:
    """What needs no hash goes beside them; one that is wrong is refused."""
    index = tmp_path / "index"
    make_wheel(index, "1.0", "tool")
    make_wheel(index, "1.1", "tool")
    make_wheel(index, "2.0", "helper")
    [right] = pip(index, requirements=["tool==1.0"]).resolve()
    found = pip(index, requirements=["helper", "tool"], hashed=[right]).resolve()
    assert found[1] == right
    assert len(found) == 2
    wrong = "tool==1.0 --hash=sha256:" + 64 * "0"
    with pytest.raises(ArtifactError, match=r"DO NOT MATCH THE HASHES|tool==1\.0"):
        pip(index, hashed=[wrong]).resolve()


def test_pip_says_what_it_cannot_find(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as refused:
        pip(tmp_path, requirements=["shop==7"]).resolve()
    assert "No matching distribution found for shop==7" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert pip(tmp_path).resolve() == []
    asked = pip(tmp_path, requirements=["shop"])
    asked.command = [str(tmp_path / "python")]
    with pytest.raises(ArtifactError, match=f"{tmp_path}/python: No such file"):
        asked.resolve()


def test_credentials_are_in_files_and_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    (tmp_path / "netrc").write_text("machine other login you password c\n")
    with private(CREDENTIALS) as (folder, environment):
        assert folder.stat().st_mode & 0o777 == 0o700
        found = netrc.netrc(environment["NETRC"])
        assert found.authenticators("index") == ("me", "", 'a "b\\')
        assert found.authenticators("other") == ("you", "", "c")
        assert environment["GIT_CONFIG_COUNT"] == "2"
        assert environment["GIT_CONFIG_KEY_1"] == "http.https://index:1/.extraHeader"
        assert environment["GIT_CONFIG_VALUE_1"].startswith("Authorization: Basic ")
    assert not folder.exists()
    with private([]) as (_, environment):
        assert environment["NETRC"] == os.environ["NETRC"]


def test_what_is_said_hides_them() -> None:
    token = {"vcs": "git", "base": "https://git", "host": "git", "user": "t0ken", "password": ""}
    assert hide('me a "b\\ t0ken', [*CREDENTIALS, token]) == "me **** ****"


def test_the_reason_is_one_line() -> None:
    said = """\
  WARNING: 401 Error, Credentials not correct for http://index/simple/shop/
ERROR: Could not find a version that satisfies the requirement shop (from versions: none)
ERROR: No matching distribution found for shop
ERROR: No matching distribution found for shop
"""
    assert reason(said) == (
        "401 Error, Credentials not correct for http://index/simple/shop/; "
        "Could not find a version that satisfies the requirement shop (from versions: none); "
        "No matching distribution found for shop"
    )
    assert reason("something\nelse") == "else"
    assert reason("") == ""
