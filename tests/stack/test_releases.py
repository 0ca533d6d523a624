"""The actions `artifact` and `release`, in playbooks that run them on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.interpreter import about, title
from tests.support.paths import BIN, ROOT
from tests.support.wheel import make_wheel

Play = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder that pip finds packages in: `tool`, and `helper`, which needs it."""
    folder = tmp_path / "index"
    make_wheel(folder, "1.0", "tool")
    make_wheel(folder, "1.0", "helper", needs="tool")
    return folder


@pytest.fixture
def play(tmp_path: Path, index: Path) -> Play:
    """Run both actions on this machine, as the role does, from a playbook beside ./shop-1.whl."""
    folder = tmp_path / "playbook"
    make_wheel(folder, "1.0")
    facts: dict[str, Any] = {"platform": about(sys.executable), "releases": {}}
    releases = tmp_path / "home/releases"

    def run(*arguments: str, code: int = 0, **options: Any) -> dict[str, dict[str, Any]]:
        locks = [*releases.glob("*/requirements.txt")]
        newest = max((path.stat().st_mtime_ns for path in locks), default=0)
        facts["releases"] = {
            lock.parent.name: {
                "lock": lock.read_text(),
                "programs": ["shop"],
                "current": lock.stat().st_mtime_ns == newest,
            }
            for lock in locks
        }
        artifact = {
            "packages": ["./shop-1.0-py3-none-any.whl", "helper"],
            "pip_arguments": ["--no-index", "--find-links", str(index)],
            "platform": facts["platform"],
            "installed": facts["releases"],
            "facts": "facts",
        }
        release = {
            "artifact": "{{ artifact }}",
            "installed": facts["releases"],
            "dest": str(releases),
            "python": sys.executable,
            "pip": sys.executable,
            "command": options.pop("command", "shop --port=1"),
        }
        tasks: list[dict[str, Any]] = [
            {"ansible.builtin.set_fact": {"facts": facts}, "check_mode": False},
            {"tornado_drain.deploy.artifact": artifact | options, "register": "artifact"},
            {"tornado_drain.deploy.release": release, "register": "release"},
            {
                "ansible.builtin.copy": {
                    "content": "{{ {'artifact': artifact, 'release': release} | to_json }}",
                    "dest": str(tmp_path / "results.json"),
                },
                "check_mode": False,
            },
        ]
        python = {"ansible_python_interpreter": sys.executable}
        plays = [
            {
                "hosts": "localhost",
                "connection": "local",
                "gather_facts": False,
                "vars": python,
                "tasks": tasks,
            }
        ]
        (folder / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        done = subprocess.run(
            [BIN / "ansible-playbook", *arguments, "play.yml"],
            cwd=folder,
            env=os.environ
            | {
                "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
                "ANSIBLE_NOCOLOR": "1",
                "COLUMNS": "1000",
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
            umask=0o077,
        )
        assert done.returncode == code, done.stdout + done.stderr
        if code:
            return {"failed": {"output": done.stdout + done.stderr}}
        found: dict[str, dict[str, Any]] = json.loads((tmp_path / "results.json").read_text())
        return found

    return run


def program(tmp_path: Path, release: str, name: str) -> str:
    """What a program of a release prints."""
    path = tmp_path / "home/releases" / release / "venv/bin" / name
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout.strip()


def test_resolved_once_and_installed(play: Play, index: Path, tmp_path: Path) -> None:
    predicted = play("--check")
    assert predicted["release"]["changed"]
    assert not predicted["artifact"]["changed"]
    assert not (tmp_path / "home").exists()
    made = play()
    first = made["release"]["id"]
    assert made["release"]["changed"]
    assert predicted["release"]["id"] == first
    assert program(tmp_path, first, "shop") == program(tmp_path, first, "tool") == "1.0"
    lock = (tmp_path / "home/releases" / first / "requirements.txt").read_text().splitlines()
    assert lock[0] == f"# {title(about(sys.executable))}"
    assert [line.split(" ")[0] for line in lock[2:]] == ["helper==1.0", "shop==1.0", "tool==1.0"]
    assert all(" --hash=sha256:" in line for line in lock[2:])
    # What is newer, or gone, does not matter as long as nothing else is asked.
    make_wheel(index, "1.1", "tool")
    (index / "helper-1.0-py3-none-any.whl").rename(tmp_path / "helper-1.0-py3-none-any.whl")
    for again in (play(), play("--check")):
        assert not again["release"]["changed"]
        assert again["release"]["id"] == first
        assert again["artifact"]["wheels"] == {}
    # Another version of the app has the same dependencies.
    wheel = make_wheel(tmp_path / "new", "2.0")
    second = play(packages=[str(wheel), "helper"])["release"]["id"]
    assert program(tmp_path, second, "shop") == "2.0"
    assert program(tmp_path, second, "tool") == "1.0"
    (tmp_path / "helper-1.0-py3-none-any.whl").rename(index / "helper-1.0-py3-none-any.whl")
    third = play(packages=[str(wheel), "helper"], refresh=True)["release"]["id"]
    assert program(tmp_path, third, "tool") == "1.1"
    assert len({first, second, third}) == 3
    # What runs stays, also where another controller has resolved it.
    make_wheel(index, "1.2", "tool")
    (tmp_path / "cache/tornado_drain").rename(tmp_path / "cache/of-another-controller")
    last = play(packages=[str(wheel), "helper"])["release"]
    assert (last["id"], last["changed"]) == (third, False)


def test_built_on_a_host(play: Play, tmp_path: Path) -> None:
    """The same comes of it, here with this machine as the host."""
    there = play(build_on="localhost")["release"]["id"]
    assert program(tmp_path, there, "tool") == "1.0"
    again = play()["release"]
    assert (again["id"], again["changed"]) == (there, False)
    other = about(sys.executable) | {"version": "3.99"}
    output = play(build_on="localhost", platform=other, code=2)["failed"]["output"]
    assert "cpython 3.99" in output
    assert "is needed" in output


def test_refused(play: Play, tmp_path: Path) -> None:
    output = play(packages=["nowhere==1"], code=2)["failed"]["output"]
    message = 'tornado_app_packages: got ["nowhere==1"]; expected what pip can install, but it says'
    assert message in " ".join(output.split())
    assert "No matching distribution found for nowhere==1" in output
    output = play(command="shops", code=2)["failed"]["output"]
    assert "shops is neither" in output
    assert not [*tmp_path.glob("home/releases/*/requirements.txt")]
    made = play()
    assert made["release"]["changed"]
    output = play(command="shops", code=2)["failed"]["output"]
    assert 'tornado_app_command: got "shops"; expected a program that' in output
