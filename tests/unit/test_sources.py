"""Where packages come from: what pip and git are told, and what is kept of it."""

import netrc
from pathlib import Path

import pytest

from plugins.module_utils.artifact import accounts, held, private, unanswered
from plugins.plugin_utils.requirements import without_credentials

LOCK = [
    "shop @ git+ssh://me@h:22/a/shop.git@0123#subdirectory=one",
    "lib @ git+https://h/lib@4567",
    "tornado==6.6.1 --hash=sha256:89",
]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "git+ssh://me@h:22/a/shop.git@main#egg=shop&subdirectory=one ; os_name == 'posix'",
            "git+ssh://me@h:22/a/shop.git@0123#egg=shop&subdirectory=one ; os_name == 'posix'",
        ),
        ("git+ssh://me@h:22/a/shop.git@main", "git+ssh://me@h:22/a/shop.git@main"),
        ("lib[x] @ git+https://h/lib", "lib[x] @ git+https://h/lib@4567"),
        ("lib @ git+https://h/lib@release/1.0", "lib @ git+https://h/lib@4567"),
        ("lib @ git+https://h/other@v1", "lib @ git+https://h/other@v1"),
        ("tornado", "tornado"),
    ],
)
def test_git_is_asked_for_what_is_locked(line: str, expected: str) -> None:
    assert held([line], LOCK) == [expected]


def test_accounts_are_those_of_ssh() -> None:
    lines = ["a @ git+ssh://me@h/a.git@v1", "b @ git+https://token@h/b.git", "git+ssh://h/c.git"]
    assert accounts(lines) == {"git+ssh://h/a.git": "me"}


def test_each_is_asked_with_its_own_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git and an index on one host; the user's own netrc counts for all others."""
    own = tmp_path / "netrc"
    own.write_text("machine h login own password own\nmachine other login me password mine\n")
    monkeypatch.setenv("NETRC", str(own))
    lines, credentials = without_credentials(
        ["a @ git+https://token@h/a.git@v1", "--index-url https://reader:p%40ss@h/simple"]
    )
    assert lines == ["a @ git+https://h/a.git@v1", "--index-url https://h/simple"]
    with private(credentials) as (_, environment):
        known = netrc.netrc(environment["NETRC"])
    assert known.authenticators("h") == ("reader", "", "p@ss")
    assert known.authenticators("other") == ("me", "", "mine")
    assert environment["GIT_CONFIG_COUNT"] == "1"
    assert environment["GIT_CONFIG_KEY_0"] == "http.https://h/.extraHeader"
    assert environment["GIT_CONFIG_VALUE_0"] == "Authorization: Basic dG9rZW46"


def test_an_index_that_does_not_answer(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert unanswered(log) == []
    said = "2026-01-01T00:00:00,000 Could not fetch URL http://h/a/: {} - skipping\n"
    log.write_text("".join(map(said.format, ["404 Client Error", *["403 Client Error"] * 2])))
    assert unanswered(log) == ["Could not fetch URL http://h/a/: 403 Client Error"]
