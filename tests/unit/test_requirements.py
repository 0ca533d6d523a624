"""Requirements files as people and tools write them, and the credentials in them."""

from pathlib import Path

import pytest

from plugins.plugin_utils.requirements import Requirements, read, without_credentials


def write(folder: Path, **files: str) -> Requirements:
    """Write files, and read the one named `main`."""
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    found = Requirements()
    read(folder / "main.txt", found)
    return found


def test_what_people_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")
    monkeypatch.delenv("UNSET", raising=False)
    (tmp_path / "links").mkdir()
    found = write(
        tmp_path,
        main="""\
# a comment
--index-url https://${TOKEN}@index/simple
tornado>=6.5  # another
shop[web] @ git+https://host/shop.git@1.0#subdirectory=web
-e git+ssh://git@host/other.git#egg=other
${UNSET}==1
--find-links links
-f nowhere
-r more.txt
--constraint=limits.txt
""",
        more="\n\npyyaml ; python_version > '3.8'\n-c limits.txt\n",
        limits="tornado<7\nmarkupsafe==3.0 --hash=sha256:aa\n",
    )
    assert found.lines == [
        "--index-url https://t0ken@index/simple",
        "tornado>=6.5",
        "shop[web] @ git+https://host/shop.git@1.0#subdirectory=web",
        "git+ssh://git@host/other.git#egg=other",
        "${UNSET}==1",
        f"--find-links {tmp_path / 'links'}",
        "-f nowhere",
        "pyyaml ; python_version > '3.8'",
    ]
    assert found.constraints == ["tornado<7", "markupsafe==3.0"] * 2
    assert found.hashed == found.sources == []


def test_what_tools_write(tmp_path: Path) -> None:
    found = write(
        tmp_path,
        main="""\
-e .
tornado==6.5.2 ; python_version >= "3.11" \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via shop
./vendor/thing-1.0-py3-none-any.whl
--editable ../beside[extra] ; sys_platform == "linux"
/srv/absolute
""",
    )
    assert found.hashed == [
        'tornado==6.5.2 ; python_version >= "3.11"      --hash=sha256:aa      --hash=sha256:bb'
    ]
    assert found.sources == [
        str(tmp_path),
        f"{tmp_path}/vendor/thing-1.0-py3-none-any.whl",
        f"{tmp_path}/../beside[extra]",
        "/srv/absolute",
    ]
    assert found.lines == found.constraints == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt"):
        write(tmp_path, main="-r nowhere.txt\n")


def test_credentials() -> None:
    lines, found = without_credentials(
        [
            "--extra-index-url=https://me:p%40ss@index:8443/simple",
            "shop @ git+https://t0ken@git/shop.git",
            "git+ssh://git@git/other.git",
            "https://index/shop-1.0.tar.gz",
            "tornado",
        ]
    )
    assert lines == [
        "--extra-index-url=https://index:8443/simple",
        "shop @ git+https://git/shop.git",
        "git+ssh://git@git/other.git",
        "https://index/shop-1.0.tar.gz",
        "tornado",
    ]
    assert found == [
        {
            "vcs": "",
            "base": "https://index:8443",
            "host": "index",
            "user": "me",
            "password": "p@ss",
        },
        {"vcs": "git", "base": "https://git", "host": "git", "user": "t0ken", "password": ""},
    ]
