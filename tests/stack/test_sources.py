"""Where packages come from: private, with credentials, locked, refused; by real programs."""

import base64
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import sources
from tests.support.net import free_ports
from tests.support.paths import BIN
from tests.support.stack import Stack, changed

USER, PASSWORD = "reader", "pass@word/1: secret"
TOKEN = "ghp-token-of-this-test"
NAME = "e2e-sources"

SHOP = """
import asyncio, json
import tornado.web, tornado_drain
import e2e_sources_labels, e2e_sources_prices, e2e_sources_stock, e2e_sources_twice

class Shop(tornado.web.RequestHandler):
    def get(self):
        self.write({
            "labels": e2e_sources_labels.VERSION,
            "prices": e2e_sources_prices.VERSION,
            "stock": e2e_sources_stock.VERSION,
            "twice": e2e_sources_twice.twice(21),
        })

def main():
    asyncio.run(tornado_drain.serve(tornado.web.Application([("/shop", Shop)])))
"""
TWICE = r"""
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *twice(PyObject *self, PyObject *number) {
    return PyNumber_Add(number, number);
}
static PyMethodDef methods[] = {{"twice", twice, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "e2e_sources_twice", NULL, -1, methods};
PyMODINIT_FUNC PyInit_e2e_sources_twice(void) { return PyModule_Create(&module); }
"""
TWICE_SETUP = """
from setuptools import Extension, setup
setup(
    name="e2e-sources-twice",
    version="1.0",
    py_modules=[],
    ext_modules=[Extension("e2e_sources_twice", ["twice.c"])],
)
"""
BOARD = """
import argparse, asyncio, pathlib
import tornado.web
import e2e_sources_labels

class Board(tornado.web.RequestHandler):
    def get(self):
        said = pathlib.Path(__file__).with_name("board.txt").read_text()
        self.write(f"{said} {e2e_sources_labels.VERSION}")

async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    tornado.web.Application([("/board", Board)]).listen(parser.parse_args().port, "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""


def project(name: str, more: str = "") -> str:
    """A pyproject.toml of one module."""
    head = f'[project]\nname = "{name}"\nversion = "1.0"\n'
    return f'{sources.SETUPTOOLS}{head}{more}[tool.setuptools]\npy-modules = ["{module(name)}"]\n'


def module(name: str) -> str:
    """The module of a package."""
    return name.replace("-", "_")


class Recorded(Stack):
    """Keeps all that its playbook says, and gives it variables by a file that only we may read.

    Args:
        folder: for that file.
        own: added to the playbook's environment.
    """

    def __init__(
        self, name: str, base_port: int, folder: Path, own: dict[str, str], **variables: Any
    ) -> None:
        super().__init__(name, base_port, **variables)
        self.file = folder / f"{name}.json"
        self.own = own
        self.said: list[str] = []

    def command(self, *arguments: str, **variables: Any) -> list[str]:
        self.file.touch(0o600)
        self.file.write_text(json.dumps(self.variables | variables))
        playbook = str(BIN / "ansible-playbook")
        start = [playbook, "-i", "inventory/local", "site.yml", "-e", f"@{self.file}", "-vvv"]
        return [*start, *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | self.own

    def playbook(self, *arguments: str, code: int = 0, **variables: Any) -> str:
        said = super().playbook(*arguments, code=code, **variables)
        self.said.append(said)
        return said

    def refused(self, **variables: Any) -> str:
        """Run the playbook, which has to refuse and to leave all as it is; return its message."""
        before = self._files(), self._pids()
        said = self.playbook(code=2, **variables)
        assert (self._files(), self._pids()) == before
        [message] = re.findall(r"^\[ERROR\]: Task failed: (.*)$", said, re.MULTILINE)
        return str(message)

    def _files(self) -> dict[str, int]:
        """When each file was changed, but for those of the processes."""
        found: dict[str, int] = {}
        for folder, folders, names in os.walk(self.home):
            if Path(folder) == self.home:
                folders[:] = [name for name in folders if name not in {"data", "log", "run"}]
            paths = [Path(folder, name) for name in [*names, *folders]]
            found |= {str(path): path.lstat().st_mtime_ns for path in paths}
        return found

    def _pids(self) -> list[int]:
        return [p["pid"] for p in self.status()["processes"]] if self.home.exists() else []


@dataclass
class Places:
    """Where the packages of these tests are.

    Attributes:
        folder: of all that is made here.
        packages: the folder of the index.
        index: its server, until it is stopped.
        arguments: by which pip finds it.
        ssh: of the git server.
        http: the URL of the one that wants a token.
        prices: the hash of the package that a requirements file names.
        lines: the command lines of all processes, since the first run began.
    """

    folder: Path
    packages: Path
    index: ExitStack
    arguments: list[str]
    ssh: sources.Ssh
    http: str
    prices: str
    lines: set[str] = field(default_factory=set)

    @property
    def cache(self) -> Path:
        """Where the playbook keeps what it has built."""
        return self.folder / "cache"

    @property
    def lock(self) -> Path:
        """The lock that the user keeps."""
        return self.folder / "app.lock"

    def label(self, version: str) -> None:
        """Put a version of the package with versions on the index."""
        code = f"VERSION = '{version}'\n"
        sources.make_wheel(self.packages, "e2e-sources-labels", version, code)

    def requirements(self, name: str, digest: str) -> Path:
        """Write a requirements file as pip-compile does, with a hash."""
        file = self.folder / name
        file.write_text(
            f"""\
#
# This file is autogenerated by pip-compile with Python 3.11
# by the following command:
#
#    pip-compile --generate-hashes shop.in
#
e2e-sources-prices==1.0 \\
    --hash=sha256:{"0" * 64} \\
    --hash=sha256:{digest}
    # via -r shop.in
"""
        )
        return file


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """An index, two git servers, and packages in all of them."""
    folder = tmp_path_factory.mktemp("sources")
    [port] = free_ports(1)
    with ExitStack() as stack:
        packages = folder / "index/packages"
        packages.mkdir(parents=True)
        code = "VERSION = '1.0'\n"
        prices = sources.make_wheel(packages, "e2e-sources-prices", "1.0", code)
        files = {"setup.py": TWICE_SETUP, "twice.c": TWICE}
        sources.make_sdist(packages, "e2e-sources-twice", "1.0", files)
        sources.make_repository(
            folder / "git/shop.git",
            {
                "pyproject.toml": project(
                    "e2e-sources-shop",
                    'dependencies = ["tornado", "e2e-sources-labels", "e2e-sources-twice"]\n'
                    '[project.scripts]\ne2e-sources-shop = "e2e_sources_shop:main"\n',
                ),
                "e2e_sources_shop.py": SHOP,
            },
        )
        sources.make_repository(
            folder / "git/stock.git",
            {"pyproject.toml": project("e2e-sources-stock"), "e2e_sources_stock.py": code},
        )
        # Short, for the agent's socket.
        short = stack.enter_context(tempfile.TemporaryDirectory(prefix="sshd-", dir="/tmp"))
        ssh = stack.enter_context(sources.sshd(Path(short)))
        http = stack.enter_context(sources.git_over_http(folder / "git", "x-token", TOKEN))
        index = stack.enter_context(ExitStack())
        index.enter_context(sources.index(folder / "index", port, USER, PASSWORD))
        places = Places(
            folder,
            packages,
            index,
            ["--extra-index-url", f"http://{USER}:{quote(PASSWORD, '')}@127.0.0.1:{port}/simple"],
            ssh,
            f"git+http://x-token:{TOKEN}@127.0.0.1:{http}",
            hashlib.sha256(prices.read_bytes()).hexdigest(),
        )
        places.label("1.0")
        places.lines = stack.enter_context(sources.command_lines())
        yield places


def made(places: Places, name: str, base_port: int, **variables: Any) -> Recorded:
    """A stack whose packages are private."""
    return Recorded(
        name,
        base_port,
        places.folder,
        {"XDG_CACHE_HOME": str(places.cache), **places.ssh.environment},
        tornado_app_pip_arguments=places.arguments,
        tornado_app_processes=2,
        **variables,
    )


@pytest.fixture(scope="module")
def stack(places: Places) -> Iterator[Recorded]:
    """An app from a private repository, with needs from everywhere, and a lock."""
    with made(
        places,
        NAME,
        9343,
        tornado_app_packages=[
            "./app[metrics]",
            f"git+{places.ssh.url}{places.folder}/git/shop.git@main",
            f"e2e-sources-stock @ {places.http}/stock.git@main",
        ],
        tornado_app_requirements=str(places.requirements("requirements.txt", places.prices)),
        tornado_app_lock=str(places.lock),
        tornado_app_command="e2e-sources-shop",
    ).deployed() as stack:
        yield stack


def shop(stack: Stack) -> dict[str, Any]:
    """What the app says of its packages."""
    status, body, _ = stack.get("/shop")
    assert status == 200
    found: dict[str, Any] = json.loads(body)
    return found


def test_an_app_from_private_places(stack: Recorded, places: Places) -> None:
    """Git over ssh with a key in an agent, git over http, an index, an sdist in C, and hashes."""
    assert shop(stack) == {"labels": "1.0", "prices": "1.0", "stock": "1.0", "twice": 42}
    [venv] = stack.home.glob("releases/*/venv")
    assert list(venv.glob("lib/python*/site-packages/e2e_sources_twice.*.so"))
    locked = places.lock.read_text()
    assert f"e2e-sources-shop @ git+{places.ssh.url}{places.folder}/git/shop.git@" in locked
    assert "e2e-sources-labels==1.0" in locked
    assert "e2e-sources-prices==1.0" in locked


def test_a_lock_holds_until_it_is_refreshed(stack: Recorded, places: Places) -> None:
    """Also on another controller, which has nothing but the lock."""
    places.label("1.1")
    locked = places.lock.read_text()
    shutil.rmtree(places.cache / "tornado_drain")
    assert changed(stack.playbook()) == 0
    assert shop(stack)["labels"] == "1.0"
    assert places.lock.read_text() == locked
    assert changed(stack.playbook(tornado_app_refresh=True)) > 0
    assert shop(stack)["labels"] == "1.1"
    assert places.lock.read_text() == locked.replace("labels==1.0", "labels==1.1")


def test_a_lock_that_lacks_a_package_is_refused(stack: Recorded, places: Places) -> None:
    lines = places.lock.read_text().splitlines()
    lacking = places.folder / "lacking.lock"
    lacking.write_text("\n".join(line for line in lines if "labels" not in line))
    message = stack.refused(tornado_app_lock=str(lacking))
    assert f'tornado_app_lock: got "{lacking}"' in message
    assert "e2e-sources-labels==1.1" in message


def refused(stack: Recorded, **variables: Any) -> str:
    """What is said of packages that are asked for without a lock."""
    alone = {"tornado_app_requirements": "", "tornado_app_lock": "", "tornado_app_packages": []}
    return stack.refused(**alone | variables)


def test_a_wrong_password_is_refused(stack: Recorded, places: Places) -> None:
    """On a machine that has nothing of the app yet."""
    fresh = made(
        places,
        f"{NAME}-fresh",
        9363,
        tornado_app_command="e2e-sources-shop",
        tornado_app_packages=["e2e-sources-labels"],
    )
    wrong = [word.replace(":pass", ":wrong-pass") for word in places.arguments]
    message = refused(
        fresh, tornado_app_packages=["e2e-sources-labels"], tornado_app_pip_arguments=wrong
    )
    stack.said += fresh.said
    assert not fresh.home.exists()
    assert 'tornado_app_packages: got ["e2e-sources-labels"]' in message
    assert "/simple/e2e-sources-labels/: 403 Client Error" in message


def test_a_version_that_is_not_there_is_refused(stack: Recorded) -> None:
    message = refused(stack, tornado_app_packages=["e2e-sources-labels==9"])
    assert 'tornado_app_packages: got ["e2e-sources-labels==9"]' in message
    assert "No matching distribution found for e2e-sources-labels==9" in message


def test_a_wrong_hash_is_refused(stack: Recorded, places: Places) -> None:
    file = str(places.requirements("wrong.txt", "1" * 64))
    message = refused(stack, tornado_app_requirements=file)
    assert f'tornado_app_requirements: got "{file}"' in message
    assert "e2e-sources-prices" in message
    assert "DO NOT MATCH THE HASHES" in message


def test_a_repository_that_is_not_there_is_refused(stack: Recorded, places: Places) -> None:
    url = f"git+{places.ssh.url}{places.folder}/git/missing.git"
    message = refused(stack, tornado_app_packages=[url])
    assert f'tornado_app_packages: got ["{url}"]' in message
    assert "missing.git' does not appear to be a git repository" in message


def test_a_wrong_token_is_refused(stack: Recorded, places: Places) -> None:
    """The URL is in the message, the token is not."""
    wrong = places.http.replace(TOKEN, f"wrong-{TOKEN}")
    message = refused(stack, tornado_app_packages=[f"e2e-sources-stock @ {wrong}/stock.git"])
    assert "tornado_app_packages: got" in message
    assert "/stock.git" in message
    assert "could not read Username for" in message


def test_a_folder_of_modules(stack: Recorded, places: Places) -> None:
    """With a file beside them, and needs from an index that its requirements.txt names."""
    folder = places.folder / "board"
    folder.mkdir()
    option, url = places.arguments
    needs = f"{option} {url}\ntornado\ne2e-sources-labels<1.1  # an older one\n"
    (folder / "requirements.txt").write_text(needs)
    (folder / "board.py").write_text(BOARD)
    (folder / "board.txt").write_text("closed on Sundays")
    stack.playbook(
        tornado_app_packages=[str(folder)],
        tornado_app_pip_arguments=[],
        tornado_app_requirements="",
        tornado_app_lock="",
        tornado_app_command="python -m board --port={port}",
        tornado_app_wrap=True,
    )
    assert stack.get("/board")[:2] == (200, "closed on Sundays 1.0")
    stack.ctl("rollback")
    assert shop(stack)["labels"] == "1.1"
    assert not list(stack.home.glob("releases/*/venv/lib/python*/site-packages/requirements.txt"))


def test_without_the_index(stack: Recorded, places: Places) -> None:
    """What was built once is there, on the controller and on the host."""
    places.index.close()
    assert changed(stack.playbook()) == 0
    stack.ctl("rollback")
    assert stack.get("/board")[0] == 200


def test_credentials_are_nowhere(stack: Recorded, places: Places) -> None:
    """Not in what was said with -vvv, in a file, or in a command line."""
    told = [f"{USER}:{PASSWORD}", f"x-token:{TOKEN}"]
    secrets = [PASSWORD, quote(PASSWORD, ""), TOKEN]
    secrets += [base64.b64encode(text.encode()).decode() for text in told]
    for secret in secrets:
        for number, said in enumerate(stack.said):
            assert secret not in said, f"run {number}"
        assert [line for line in places.lines if secret in line] == []
        assert secret not in places.lock.read_text()
        for folder in (stack.home, places.cache):
            for path in folder.rglob("*"):
                if path.is_file():
                    assert secret.encode() not in path.read_bytes(), path
    # They were looked at while they ran.
    for command in (" -m pip ", "git clone ", "git-remote-http", "ssh -F "):
        assert [line for line in places.lines if command in line], command
