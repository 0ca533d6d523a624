"""The kit as a collection, installed elsewhere, and a playbook there that deploys the demo app."""

import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import BIN, ROOT
from tests.support.stack import changed

INVENTORY = """\
app:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""
PLAYBOOK = """\
- name: Deploy the demo
  hosts: app
  gather_facts: false
  roles: [tornado_drain.deploy.tornado_app]
  vars:
    kit: "{{ tornado_app_drain_package | dirname }}"
    tornado_app_name: demo
    tornado_app_packages: ["{{ tornado_app_drain_package }}", "{{ kit }}/app/demo_app"]
    tornado_app_command: python -m demo_app
    tornado_app_rootless: true
"""
BOTH_ROLES = """\
- name: Deploy and balance
  hosts: app
  roles: [tornado_drain.deploy.tornado_app, tornado_drain.deploy.load_balancer]
"""
BASE_PORT = 9443
VARIABLES = [
    *("-e", f"tornado_app_base_port={BASE_PORT}", "-e", "tornado_app_processes=2"),
    *("-e", f"tornado_app_nginx_listen=127.0.0.1:{BASE_PORT - 2}"),
]


class Elsewhere:
    """An empty folder that is not in this checkout, with an Ansible of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run one of Ansible's programs, see that it succeeds, return what it printed."""
        own = {
            "ANSIBLE_HOME": str(self.folder / ".ansible"),
            # Nothing is asked of a server.
            "ANSIBLE_GALAXY_SERVER": "http://127.0.0.1:9",
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [BIN / program, *arguments],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")} | own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def collection(self) -> Path:
        """Where the collection has been installed."""
        return self.folder / ".ansible/collections/ansible_collections/tornado_drain/deploy"


def make_elsewhere() -> Iterator[Elsewhere]:
    # Short, for unix sockets.
    folder = Path(tempfile.mkdtemp(prefix="collection-", dir="/tmp"))
    try:
        yield Elsewhere(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    yield from make_elsewhere()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git checkout of what is tracked here, as it is now."""
    folder = tmp_path_factory.mktemp("checkout") / "kit"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost"]
    for command in (["init"], ["add", "--all"], ["commit", "--message", "all"]):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def archive(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ansible-galaxy collection build` makes of it."""
    elsewhere = Elsewhere(tmp_path_factory.mktemp("build"))
    elsewhere.run("ansible-galaxy", "collection", "build", checkout)
    [archive] = elsewhere.folder.glob("tornado_drain-deploy-*.tar.gz")
    return archive


def test_what_is_in_the_archive(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    assert {name.partition("/")[0] for name in names} == {
        *("app", "docs", "meta", "plugins", "roles"),
        *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md"),
        *("FILES.json", "MANIFEST.json"),
    }
    for name in (
        *("app/pyproject.toml", "app/tornado_drain/drain.py", "app/tornado_drain/py.typed"),
        *("app/demo_app/pyproject.toml", "plugins/action/release.py", "plugins/modules/files.py"),
        *("roles/tornado_app/tasks/main.yml", "roles/load_balancer/tasks/main.yml"),
    ):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or "egg-info" in name]


@pytest.mark.parametrize("source", ["archive", "git"])
def test_both_roles_are_there(
    elsewhere: Elsewhere, source: str, archive: Path, checkout: Path
) -> None:
    what = str(archive) if source == "archive" else f"git+{checkout.as_uri()}"
    elsewhere.run("ansible-galaxy", "collection", "install", what)
    listed = elsewhere.run("ansible-doc", "--type", "role", "--list")
    for role in ("tornado_app", "load_balancer"):
        assert f"tornado_drain.deploy.{role}" in listed
    for path in (ROOT / "plugins").rglob("*.py"):
        installed = elsewhere.collection / path.relative_to(ROOT)
        assert installed.read_bytes() == path.read_bytes(), "links are links, or what they link to"
    (elsewhere.folder / "hosts.yml").write_text(INVENTORY)
    (elsewhere.folder / "both.yml").write_text(BOTH_ROLES)
    elsewhere.run("ansible-playbook", "-i", "hosts.yml", "both.yml", "--syntax-check")


@pytest.fixture(scope="module")
def installed(archive: Path) -> Iterator[Elsewhere]:
    """A folder with the collection, an inventory, and a playbook of ten lines."""
    for elsewhere in make_elsewhere():
        elsewhere.run("ansible-galaxy", "collection", "install", str(archive))
        (elsewhere.folder / "hosts.yml").write_text(INVENTORY)
        (elsewhere.folder / "deploy.yml").write_text(PLAYBOOK)
        yield elsewhere


def test_the_playbook_lints(installed: Elsewhere) -> None:
    output = installed.run("ansible-lint", "--offline", "--profile", "production", "deploy.yml")
    assert "Passed: 0 failure(s), 0 warning(s)" in output


def test_a_playbook_deploys_the_demo(installed: Elsewhere) -> None:
    deploy = ("-i", "hosts.yml", "deploy.yml", *VARIABLES)
    home = installed.folder / ".run/demo"
    try:
        installed.run("ansible-playbook", *deploy)
        with urllib.request.urlopen(f"http://127.0.0.1:{BASE_PORT - 2}/hello") as answer:
            assert answer.status == 200
        assert (home / "bin/demo-ctl").exists()
        assert changed(installed.run("ansible-playbook", *deploy)) == 0
    finally:
        installed.run("ansible-playbook", *deploy, "-e", "tornado_app_state=absent")
    assert not home.exists()
    assert str(installed.folder) not in os.popen("ps -eo args").read()
