"""The module `files`, run as Ansible runs it, in real folders."""

import io
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.modules import files as module
from tests.support.paths import BIN, ROOT

UMASKS = [0o077, 0o027, 0o000]
Files = Callable[..., dict[str, Any]]


def run_module(arguments: str, output: Path, umask: int, user: int | None) -> None:
    """In a process of its own: read arguments from stdin and write the result to stdout."""
    sys.stdout = output.open("w")
    sys.stdin = io.TextIOWrapper(io.BytesIO(arguments.encode()))
    sys.argv = ["files"]
    os.umask(umask)
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    try:
        module.main()
    finally:
        sys.stdout.close()


@pytest.fixture
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The module, forked, since its imports take most of a second."""
    output = tmp_path_factory.mktemp("output") / "result"

    def run(
        *entries: dict[str, Any],
        check: bool = False,
        umask: int = 0o022,
        failed: bool = False,
        user: int | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        options |= {"files": entries, "_ansible_check_mode": check, "_ansible_diff": True}
        text = json.dumps({"ANSIBLE_MODULE_ARGS": options})
        process = multiprocessing.get_context("fork").Process(
            target=run_module, args=(text, output, umask, user)
        )
        process.start()
        process.join()
        result: dict[str, Any] = json.loads(output.read_text())
        assert (result.get("failed", False), process.exitcode) == (failed, int(failed)), result
        return result

    return run


def file(path: Path, content: str = "new\n", mode: str = "0640", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "content": content, "mode": mode} | more


def folder(path: Path, mode: str = "0750", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "state": "directory", "mode": mode} | more


def link(path: Path, target: str, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "state": "link", "target": target} | more


def absent(path: Path) -> dict[str, Any]:
    return {"path": str(path), "state": "absent"}


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


def tree(path: Path) -> dict[str, tuple[int, str]]:
    """Everything below a folder: mode, and content or target."""
    return {
        str(p.relative_to(path)): (
            mode(p),
            str(p.readlink()) if p.is_symlink() else "" if p.is_dir() else p.read_text(),
        )
        for p in path.rglob("*")
    }


def everything(home: Path) -> list[dict[str, Any]]:
    """Each state, in a home that is not there."""
    return [
        folder(home),
        folder(home / "a/b", "0700"),
        file(home / "a/b/text", "one\ntwo\n"),
        file(home / "a/empty", "", "0444"),
        file(home / "a/program", "#!/bin/sh\n", "755"),
        link(home / "current", "a/b"),
        absent(home / "old"),
    ]


MADE = {
    "a": (0o700, ""),
    "a/b": (0o700, ""),
    "a/b/text": (0o640, "one\ntwo\n"),
    "a/empty": (0o444, ""),
    "a/program": (0o755, "#!/bin/sh\n"),
    "current": (0o777, "a/b"),
}


@pytest.mark.parametrize("umask", UMASKS)
def test_everything_is_made_whatever_the_umask(files: Files, tmp_path: Path, umask: int) -> None:
    home = tmp_path / "home"
    entries = everything(home)
    paths = [str(home / p) for p in ("", "a", *list(MADE)[1:])]

    predicted = files(*entries, check=True, umask=umask)
    assert not home.exists()
    made = files(*entries, umask=umask)
    assert made["changed"]
    assert made["paths"] == paths
    assert (predicted["paths"], predicted["diff"]) == (paths, made["diff"])
    assert mode(home) == 0o750
    assert tree(home) == MADE

    inodes = {p: p.lstat().st_ino for p in home.rglob("*")}
    for check in (True, False):
        again = files(*entries, check=check, umask=umask)
        assert (again["changed"], again["paths"], again["diff"]) == (False, [], [])
    assert {p: p.lstat().st_ino for p in home.rglob("*")} == inodes


@pytest.mark.parametrize("umask", UMASKS)
def test_what_differs_is_changed(files: Files, tmp_path: Path, umask: int) -> None:
    (tmp_path / "folder").mkdir(0o777)
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "same").write_text("new\n")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "old/inner").mkdir(parents=True)
    (tmp_path / "old/inner/file").write_text("old\n")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "kept").mkdir()
    (tmp_path / "to_kept").symlink_to("kept")
    entries = [
        folder(tmp_path / "folder", "0700"),
        file(tmp_path / "file"),
        file(tmp_path / "same", mode="0600"),
        link(tmp_path / "link", "kept"),
        *(absent(tmp_path / name) for name in ("old", "dangling", "to_kept", "never")),
    ]
    before = tree(tmp_path)
    predicted = files(*entries, check=True, umask=umask)
    assert tree(tmp_path) == before
    made = files(*entries, umask=umask)
    assert (made["paths"], made["diff"]) == (predicted["paths"], predicted["diff"])
    assert [p.removeprefix(f"{tmp_path}/") for p in made["paths"]] == [
        *("folder", "file", "same", "link", "old", "dangling", "to_kept"),
    ]
    assert tree(tmp_path) == {
        "folder": (0o700, ""),
        "file": (0o640, "new\n"),
        "same": (0o600, "new\n"),
        "link": (0o777, "kept"),
        "kept": (0o755, ""),
    }


def test_in_the_order_given(files: Files, tmp_path: Path) -> None:
    """Removed and made again: what was in it is gone, in the prediction too."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").write_text("new\n")
    (home / "file").chmod(0o640)
    entries = [
        *(absent(home), folder(home), file(home / "file"), file(home / "other", "1\n")),
        *(file(home / "other", "2\n"), absent(home / "file")),
    ]
    paths = [str(home), str(home), *(f"{home}/{n}" for n in ("file", "other", "other", "file"))]
    assert files(*entries, check=True)["paths"] == paths
    assert files(*entries)["paths"] == paths
    assert tree(home) == {"other": (0o640, "2\n")}


def test_a_link_to_a_folder_is_a_folder(files: Files, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(0o755)
    (tmp_path / "home").symlink_to("disk")
    entries = [folder(tmp_path / "home", "0700"), file(tmp_path / "home/file")]
    files(*entries)
    assert (tmp_path / "home").is_symlink()
    assert mode(tmp_path / "disk") == 0o700
    assert (tmp_path / "disk/file").read_text() == "new\n"
    assert not files(*entries)["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_what_is_in_the_way_is_told_first(files: Files, tmp_path: Path, check: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    before = tree_names(tmp_path)
    result = files(
        file(tmp_path / "first"),
        file(tmp_path / "folder"),
        file(tmp_path / "link"),
        folder(tmp_path / "file"),
        folder(tmp_path / "link"),
        link(tmp_path / "folder", "x"),
        link(tmp_path / "file", "x"),
        file(tmp_path / "pipe"),
        file(tmp_path / "file/below"),
        folder(tmp_path / "file/a/b"),
        file(tmp_path / "first/below"),
        check=check,
        failed=True,
    )
    assert result["msg"].replace(f"{tmp_path}/", "").splitlines() == [
        "files: got a directory at folder; expected a file",
        "files: got a link at link; expected a file",
        "files: got a file at file; expected a directory",
        "files: got a link at link; expected a directory",
        "files: got a directory at folder; expected a link",
        "files: got a file at file; expected a link",
        "files: got a socket, pipe or device at pipe; expected a file",
        "files: got a file at file; expected a directory, for file/below",
        "files: got a file at file; expected a directory, for file/a",
        "files: got a file at first; expected a directory, for first/below",
    ]
    assert tree_names(tmp_path) == before


def tree_names(path: Path) -> list[str]:
    return sorted(p.name for p in path.rglob("*"))


def test_a_parent_that_is_missing(files: Files, tmp_path: Path) -> None:
    """An error, but in check mode, where a task before this one may only have predicted it."""
    path = tmp_path / "home/file"
    result = files(file(path), failed=True)
    expected = f"got nothing at {path.parent}; expected a directory, for {path}"
    assert result["msg"] == f"files: {expected}"
    assert files(file(path), check=True)["paths"] == [str(path)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": "x", "content": "", "mode": "0640"}, "got the path 'x'; expected an absolute"),
        ({"path": "/x/../y", "state": "absent"}, "got the path '/x/../y'; expected an absolute"),
        ({"path": "/x", "mode": "0640"}, "got no text as content of /x; expected some"),
        ({"path": "/x", "mode": "0640", "content": {}}, "got no text as content of /x; expected"),
        (
            {"path": "/x", "content": "", "mode": ""},
            "got '' as mode of /x; expected a string such as",
        ),
        ({"path": "/x", "content": "", "mode": 416}, "got 416 as mode of /x; expected a string"),
        ({"path": "/x", "content": "", "mode": "u=rw"}, "got 'u=rw' as mode of /x; expected a"),
        ({"path": "/x", "state": "directory", "mode": 488}, "got 488 as mode of /x; expected"),
        ({"path": "/x", "state": "link"}, "got no target of the link /x; expected one"),
        ({"path": "/x", "state": "absent", "src": "y"}, "Unsupported parameters"),
        ({"state": "absent"}, "missing required arguments: path"),
        ({"path": "/x", "state": "touch"}, "value of state must be one of"),
    ],
)
def test_an_entry_that_makes_no_sense(files: Files, entry: dict[str, Any], message: str) -> None:
    assert message in files(entry, failed=True)["msg"]


def test_a_secret_is_shown_nowhere(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old-password\n")
    entries = [file(path, "new-password\n", "0600", secret=True), file(tmp_path / "open")]
    results = [files(*entries, check=True), files(*entries)]
    results.append(files(*entries, folder(tmp_path / "open"), failed=True))
    results.append(files(*entries, {"path": "/x", "unknown": "1"}, failed=True))
    assert "password" not in str(results)
    assert [d["after"] for d in results[1]["diff"]] == ["kind: file\nmode: 0640\n", "new\n"]
    assert path.read_text() == "new-password\n"


def test_the_diff(files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    os.chmod(tmp_path / "file", 0o600)  # noqa: PTH101
    os.chmod(tmp_path / "binary", 0o640)  # noqa: PTH101
    (tmp_path / "link").symlink_to("a")
    found = files(
        *(file(tmp_path / "file"), file(tmp_path / "binary"), link(tmp_path / "link", "b")),
    )
    headers = {"before_header": f"{tmp_path}/file", "after_header": f"{tmp_path}/file"}
    assert found["diff"] == [
        headers | {"before": "mode: 0600\n", "after": "mode: 0640\n"},
        headers | {"before": "old\n", "after": "new\n"},
        {"before_header": f"{tmp_path}/link", "after_header": f"{tmp_path}/link"}
        | {"before": "target: a\n", "after": "target: b\n"},
    ]


class Reader:
    """Looks at a path all the time; `seen` is each mode and content, or target, it met."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: set[tuple[int, str]] = set()
        self.errors: list[OSError] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self.path.is_symlink():
                    self.seen.add((0o777, str(self.path.readlink())))
                else:
                    with self.path.open() as file:
                        found = os.fstat(file.fileno()).st_mode & 0o7777
                        self.seen.add((found, file.read()))
            except OSError as error:
                self.errors.append(error)


def test_replaced_at_once(files: Files, tmp_path: Path) -> None:
    """A reader meets the old or the new one, whole, and never a wider mode."""
    old, new = "a" * 200_000, "b" * 200_000
    path = tmp_path / "file"
    files(file(path, old, "0644"))
    with Reader(path) as reader:
        for _ in range(3):
            files(file(path, new, "0600"))
            files(file(path, old, "0644"))
    assert reader.errors == []
    assert reader.seen == {(0o644, old), (0o600, new)}
    assert tree_names(tmp_path) == ["file"]

    current = tmp_path / "current"
    files(link(current, "a"))
    with Reader(current) as reader:
        for _ in range(3):
            files(link(current, "b"))
            files(link(current, "a"))
    assert reader.errors == []
    assert reader.seen == {(0o777, "a"), (0o777, "b")}
    assert tree_names(tmp_path) == ["current", "file"]


def test_a_failure_amid_leaves_no_trace_of_the_file(files: Files, tmp_path: Path) -> None:
    """A name too long for the file system: what came before it is done, and told."""
    first = tmp_path / "first"
    result = files(file(first), file(tmp_path / ("x" * 256)), failed=True)
    assert "got 'File name too long' at " in result["msg"]
    result = files(file(first), file(Path("/proc/self/new")), failed=True)
    assert "at /proc/self/new; expected to change it" in result["msg"]
    assert (result["changed"], result["paths"]) == (True, [str(first)])
    assert tree_names(tmp_path) == ["first"]


def owners(*paths: Path) -> set[tuple[int, int]]:
    return {(p.lstat().st_uid, p.lstat().st_gid) for p in paths}


def test_owner_and_group(files: Files, tmp_path: Path) -> None:
    """By number, by name, for all and for one; only root may give away."""
    entries = [
        folder(tmp_path / "home"),
        file(tmp_path / "home/file"),
        link(tmp_path / "home/link", "file"),
        file(tmp_path / "home/own", owner=str(os.getuid()), group=str(os.getgid())),
    ]
    paths = [Path(entry["path"]) for entry in entries]
    me = (os.getuid(), os.getgid())
    if me[0] != 0:
        result = files(*entries, owner="0", failed=True)
        assert f"got 0 as owner of {paths[0]}; expected {me[0]}: not root" in result["msg"]
        assert not paths[0].exists()
        files(*entries, owner=str(me[0]))
        assert owners(*paths) == {me}
        return
    files(*entries, owner="daemon", group="1")
    assert owners(*paths[:3]) == {(1, 1)}
    assert owners(paths[3]) == {me}
    assert not files(*entries, owner="1", group="daemon")["changed"]
    changed = files(*entries, owner="2", group="1")
    assert changed["paths"] == [str(path) for path in paths[:3]]
    assert changed["diff"][0]["before"] == "owner: 1\n"
    assert owners(*paths[:3]) == {(2, 1)}
    files(*entries[:3], file(tmp_path / "home/file", "x\n"))
    assert owners(*paths[:3]) == {(2, 1)}, "kept where none is named"


def test_without_root(files: Files, short_path: Path) -> None:
    """Files of one's own, nobody else's, and nothing is done where one of them is refused."""
    user = 65534 if os.getuid() == 0 else os.getuid()
    run_as = user if os.getuid() == 0 else None
    short_path.chmod(0o755)
    home = short_path / "home"
    home.mkdir()
    os.chown(home, user, -1)
    result = files(file(home / "a"), file(home / "b", owner="1"), user=run_as, failed=True)
    assert result["msg"] == f"files: got 1 as owner of {home}/b; expected {user}: not root"
    result = files(file(home / "a"), file(home / "b", group="1"), user=run_as, failed=True)
    assert f"files: got 1 as group of {home}/b; expected " in result["msg"]
    assert tree(home) == {}
    files(file(home / "a", owner=str(user)), folder(home / "b"), user=run_as)
    assert tree(home) == {"a": (0o640, "new\n"), "b": (0o750, "")}


def test_an_owner_that_is_not_there(files: Files, tmp_path: Path) -> None:
    """An error, but in check mode, where a task before this one may only have predicted it."""
    path = tmp_path / "file"
    path.write_text("new\n")
    path.chmod(0o640)
    assert files(file(path, owner="nosuch"), check=True)["paths"] == [str(path)]
    result = files(file(path, owner="nosuch", group="nosuch"), failed=True)
    assert result["msg"].splitlines() == [
        f"files: got 'nosuch' as {of} of {path}; expected one that this host knows"
        for of in ("owner", "group")
    ]


def test_through_ansible(tmp_path: Path) -> None:
    """By its full name, packed and sent by Ansible; a secret is in nothing that it prints."""
    entries = [file(tmp_path / "secret", "password\n", secret=True), file(tmp_path / "open")]
    command = [str(BIN / "ansible"), "localhost", "-m", "tornado_drain.deploy.files"]
    options = [
        "-c",
        "local",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        "--diff",
        "-vvv",
    ]
    done = subprocess.run(
        [*command, *options, "-a", json.dumps({"files": entries})],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert tree(tmp_path) == {"secret": (0o640, "password\n"), "open": (0o640, "new\n")}
    assert f"+++ after: {tmp_path}/open" in done.stdout
    assert "+new" in done.stdout
    assert "password" not in done.stdout + done.stderr


def test_directories_first_and_absent_last(files: Files, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old\n")
    entry = {"path": str(new / "a"), "content": "a\n"}
    below = {"path": str(new / "b"), "state": "directory"}
    options = {"directories": [str(new)], "absent": [str(old)]}
    done = files(entry, below, **options)
    assert done["paths"] == [str(new), str(new / "a"), str(new / "b"), str(old)]
    assert oct(new.stat().st_mode)[-3:] == "750"
    assert oct((new / "b").stat().st_mode)[-3:] == "750"
    assert oct((new / "a").stat().st_mode)[-3:] == "640"
    assert not old.exists()
    assert not files(entry, **options)["changed"]


def test_a_directory_holds_only_what_it_may(files: Files, tmp_path: Path) -> None:
    there = tmp_path / "certificates"
    entry = folder(there, only=["a.pem"])
    assert files(entry, check=True)["paths"] == [str(there)]
    assert files(entry)["paths"] == [str(there)]
    for name in ("a.pem", "b.pem"):
        (there / name).write_text(name)
    (there / "old").mkdir()
    (there / "old/key").write_text("")
    gone = [str(there / "b.pem"), str(there / "old")]
    assert files(entry, check=True)["paths"] == gone
    assert files(entry)["paths"] == gone
    assert [path.name for path in there.iterdir()] == ["a.pem"]
    assert not files(entry)["changed"]


def test_content_of_a_file_of_the_host(files: Files, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"\x00\xff")
    entry = {"path": str(tmp_path / "copy"), "source": str(tmp_path / "source"), "mode": "0600"}
    assert files(entry)["paths"] == [entry["path"]]
    assert (tmp_path / "copy").read_bytes() == b"\x00\xff"
    assert not files(entry)["changed"]
    (tmp_path / "source").unlink()
    assert f"{tmp_path}/source" in files(entry, failed=True)["msg"]


def test_validated_before_the_first_change(files: Files, tmp_path: Path) -> None:
    there, candidate, note = tmp_path / "there", tmp_path / "candidate", tmp_path / "note"

    def change(content: str, **more: Any) -> dict[str, Any]:
        return files(
            file(there, content),
            candidates=[file(candidate, content)],
            # Fails where the file itself is changed before it.
            validate=["sh", "-c", f"! grep bad {candidate} && ! grep new {there}"],
            note=str(note),
            **more,
        )

    there.write_text("old\n")
    assert change("new\n", check=True)["paths"] == [str(there)]
    assert not candidate.exists()
    refused = change("bad\n", failed=True)
    assert "sh -c" in refused["msg"]
    assert there.read_text() == "old\n"
    assert not note.exists(), "nothing has been changed"
    assert change("bad\n", failed=True, only_validate=True)
    only = change("new\n", only_validate=True)
    assert (only["changed"], only["needed"], only["paths"]) == (False, True, [str(there)])
    assert candidate.read_text() == "new\n"
    assert there.read_text() == "old\n"
    assert not note.exists()
    assert change("new\n")["paths"] == [str(there)]
    assert there.read_text() == "new\n"
    # Nobody has acted on it yet, so it is still to be told and validated: now in vain.
    assert note.exists()
    again = change("new\n", check=True)
    assert again["changed"]
    assert again["paths"] == []
    assert change("new\n", failed=True)
    note.unlink()
    assert not change("new\n")["changed"], "nothing to do, so nothing is run"
    assert not change("new\n", only_validate=True)["needed"]
