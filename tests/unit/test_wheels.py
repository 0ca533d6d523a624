"""Wheels of local sources: what names one, how it is made, and where it is kept."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.plugin_utils import wheels
from plugins.plugin_utils.wheels import (
    KEPT,
    BuildError,
    cache_folder,
    fingerprint,
    split_extras,
    wheel_of,
)

# A backend that needs nothing from an index and writes down that it was asked.
BACKEND = """\
import os, pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(os.environ["BUILDS"], "a") as builds:
        builds.write(os.environ["SOURCE_DATE_EPOCH"] + "\\n")
    code = pathlib.Path("shop.py").read_text()
    assert "broken" not in code, "the shop is broken"
    name = "shop-1.0-py3-none-any.whl"
    info = "shop-1.0.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in {
            "shop.py": code,
            f"{info}/METADATA": "Metadata-Version: 2.1\\nName: shop\\nVersion: 1.0\\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
            f"{info}/RECORD": "",
        }.items():
            wheel.writestr(zipfile.ZipInfo(path), text)
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project named shop, in a folder of its own."""
    folder = tmp_path / "playbook/shop"
    folder.mkdir(parents=True)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "shop.py").write_text("a = 1\n")
    return folder


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; a line for each build with it."""
    log = tmp_path / "builds"
    log.touch()
    monkeypatch.setenv("BUILDS", str(log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return log


@pytest.fixture
def builds(log: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Build with a copy instead of pip, which takes seconds; counts how often that was."""

    def build(source: str, base: Path, folder: Path) -> Path:
        with log.open("a") as lines:
            lines.write(f"{source}\n")
        folder.mkdir()
        wheel = folder / "shop-1.0-py3-none-any.whl"
        wheel.write_bytes((base / source / "shop.py").read_bytes())
        return wheel

    monkeypatch.setattr(wheels, "build", build)
    return lambda: len(log.read_text().splitlines())


def run_git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(project: Path) -> Path:
    """The work tree that the project is in, with a file beside it."""
    (project.parent / "beside").write_text("1\n")
    run_git(project.parent, "init")
    run_git(project.parent, "add", ".")
    run_git(project.parent, "commit", "-m", "first")
    return project.parent


@pytest.mark.parametrize(
    ("source", "path", "extras"),
    [
        ("./app", "./app", ""),
        ("./app[metrics]", "./app", "[metrics]"),
        ("/a/b-1.0-py3-none-any.whl[a,b]", "/a/b-1.0-py3-none-any.whl", "[a,b]"),
    ],
)
def test_extras(source: str, path: str, extras: str) -> None:
    assert split_extras(source) == (path, extras)


def test_the_name_follows_the_sources(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [fingerprint(project)]

    def differs() -> bool:
        seen.append(fingerprint(project))
        return seen[-1] not in seen[:-1]

    (project / "shop.py").write_text("a = 2\n")
    assert differs()
    (project / "inner").mkdir()
    (project / "inner/new.py").touch()
    assert differs()
    (project / "inner/new.py").rename(project / "new.py")
    assert differs()
    (project / "new.py").chmod(0o755)
    assert differs()
    (project / "inner/build").mkdir()
    (project / "inner/build/code.py").touch()
    assert differs(), "only at the top is it made by a tool"
    (project / "linked").symlink_to("inner")
    assert differs()
    (project / "linked").unlink()
    (project / "linked").symlink_to("inner/build")
    assert differs()
    monkeypatch.setenv("SETUPTOOLS_SCM_PRETEND_VERSION", "2.0")
    assert differs()


def test_the_name_ignores_what_tools_make(project: Path, tmp_path: Path) -> None:
    before = fingerprint(project)
    for name in (
        *("__pycache__", "build", "dist", "shop.egg-info", ".venv", ".tox", ".cache"),
        *("node_modules", ".git", "inner/__pycache__"),
    ):
        (project / name).mkdir(parents=True)
        (project / name / "file").write_text(name)
    os.utime(project / "shop.py", (0, 0))
    (project / "shop.py").touch()
    assert fingerprint(project) == before
    shutil.copytree(project, tmp_path / "elsewhere")
    assert fingerprint(tmp_path / "elsewhere") == before


def test_the_name_follows_git(
    project: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version may come from a tag, and a build may read files outside of the project."""
    seen = [fingerprint(project)]
    (repository / "beside").write_text("2\n")
    seen.append(fingerprint(project))
    (repository / "beside").write_text("3\n")
    seen.append(fingerprint(project))
    run_git(repository, "commit", "--all", "-m", "second")
    seen.append(fingerprint(project))
    run_git(repository, "tag", "1.0")
    seen.append(fingerprint(project))
    run_git(repository, "commit", "--allow-empty", "-m", "third")
    seen.append(fingerprint(project))
    assert len(set(seen)) == len(seen)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert fingerprint(project) == seen[-1], "git's hooks set it"


def test_built_once(project: Path, tmp_path: Path, builds: Callable[[], int]) -> None:
    spare = tmp_path / "spare"
    first = wheel_of("./shop", project.parent, spare)
    assert (first.name, builds()) == ("shop-1.0-py3-none-any.whl", 1)
    assert first.is_relative_to(tmp_path / "cache/tornado_drain/wheels")
    assert wheel_of("./shop", project.parent, spare) == first
    assert wheel_of(str(project), Path("/"), spare) == first
    assert builds() == 1
    contents = first.read_bytes()

    (project / "shop.py").write_text("a = 2\n")
    second = wheel_of("./shop", project.parent, spare)
    assert second.read_bytes() != contents
    assert builds() == 2

    (project / "shop.py").write_text("a = 1\n")
    assert wheel_of("./shop", project.parent, spare).read_bytes() == contents
    assert builds() == 2
    assert not spare.exists()


def test_built_once_for_all_hosts(project: Path, tmp_path: Path, builds: Callable[[], int]) -> None:
    fork = multiprocessing.get_context("fork")
    with fork.Pool(5) as pool:
        found = pool.starmap(wheel_of, [("./shop", project.parent, tmp_path)] * 5, chunksize=1)
    assert len(set(found)) == 1
    assert builds() == 1


def test_a_failure_is_not_kept(project: Path, tmp_path: Path, log: Path) -> None:
    (project / "shop.py").write_text("broken\n")
    with pytest.raises(BuildError, match="the shop is broken"):
        wheel_of("./shop", project.parent, tmp_path / "spare")
    assert log.read_text() == "315532800\n"
    assert [path.name for path in (cache_folder() / "wheels").iterdir()] == ["lock"]
    with pytest.raises(BuildError, match="nosuch"):
        wheel_of("./nosuch", project.parent, tmp_path / "spare")


@pytest.mark.parametrize("what", ["cache", "lock", "entry"])
def test_without_a_cache(
    project: Path, tmp_path: Path, builds: Callable[[], int], what: str
) -> None:
    """Something is in its place: built, each time, elsewhere."""
    if what == "cache":
        (tmp_path / "cache").write_text("")
    elif what == "lock":
        (cache_folder() / "wheels/lock").mkdir(parents=True)
    else:
        entry = cache_folder() / "wheels" / fingerprint(project)
        entry.parent.mkdir(parents=True)
        entry.write_text("")
    for number in (1, 2):
        spare = tmp_path / f"spare{number}"
        assert wheel_of("./shop", project.parent, spare).parent == spare
    assert builds() >= 2


def test_the_oldest_are_forgotten(project: Path, tmp_path: Path, builds: Callable[[], int]) -> None:
    wheel = wheel_of("./shop", project.parent, tmp_path / "spare")
    for number in range(KEPT):
        (cache_folder() / "wheels" / str(number)).mkdir()
        os.utime(cache_folder() / "wheels" / str(number), (number, number))
    os.utime(wheel.parent, (0, 0))
    assert wheel_of("./shop", project.parent, tmp_path / "spare") == wheel
    (project / "shop.py").write_text("a = 2\n")
    new = wheel_of("./shop", project.parent, tmp_path / "spare")
    left = {path.name for path in (cache_folder() / "wheels").iterdir()}
    assert left == {"lock", wheel.parent.name, new.parent.name, *map(str, range(2, KEPT))}
    assert builds() == 2


def test_a_wheel_is_taken_as_it_is(
    project: Path, tmp_path: Path, builds: Callable[[], int]
) -> None:
    wheel = wheel_of("./shop", project.parent, tmp_path)
    copied = shutil.copy(wheel, project)
    assert wheel_of(f"./shop/{wheel.name}", project.parent, tmp_path) == Path(copied)
    assert builds() == 1


def test_a_folder_that_pip_cannot_build(tmp_path: Path) -> None:
    """Modules and a requirements.txt: its files are installed as they are, and run."""
    folder = tmp_path / "My app"
    for name, text in {
        "main.py": "import pathlib\nprint(pathlib.Path(__file__).with_name('data').read_text())\n",
        "data": "of the app",
        "requirements.txt": "tornado\n",
        "__pycache__/main.pyc": "",
        "parts/__init__.py": "",
        "build/main.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    wheel = wheel_of("./My app", tmp_path, tmp_path / "spare")
    assert wheel.name == "my_app-0-py3-none-any.whl"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target"]
    subprocess.run([*pip, tmp_path / "installed", wheel], check=True)
    files = {path.name for path in (tmp_path / "installed").iterdir()}
    assert files == {"main.py", "data", "parts", "my_app-0.dist-info"} | ({"__pycache__"} & files)
    main = [sys.executable, "-m", "main"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(main, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "of the app\n"
    (folder / "pyproject.toml").write_text(PYPROJECT)
    with pytest.raises(BuildError):
        wheel_of("./My app", tmp_path, tmp_path / "spare")
