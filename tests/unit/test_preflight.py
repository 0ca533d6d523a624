"""The action `preflight`, in a playbook that runs it on this machine."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from plugins.plugin_utils.facts import HostFacts
from tests.support.net import make_certificate
from tests.support.paths import BIN, ROLE
from tests.support.stack import run

PASSWORD = b"a password"
SECRET = "not for anybody's eyes"

GIVEN = {
    "tornado_app_name": "shop",
    "tornado_app_rootless": True,
    "tornado_app_listener": "unix",
    "tornado_app_packages": ["shop"],
    "tornado_app_command": "/bin/sh -c true",
    # The others are templates in the role's defaults.
    "tornado_app_max_wait": "{{ 10 + 20 }}",
    "tornado_app_environment": {"SECRET": "{{ secret }}", "NUMBER": 1},
    "tornado_app_nginx_listen": "127.0.0.1:1",
    "tornado_app_nginx_tls_listen": "127.0.0.1:2",
    "tornado_app_nginx_tls_certificate": "shop.pem",
    "tornado_app_nginx_tls_key": "shop.key",
}
TASKS: dict[str, dict[str, Any]] = {
    "fits": {},
    "refused": {
        "tornado_app_processes": 0,
        "tornado_app_batch": "many",
        "tornado_app_environment": {"A B": "{{ secret }}", "C": ["{{ secret }}"]},
        "tornado_app_nginx_tls_key": "other.key",
    },
    "fails": {"tornado_app_command": "{{ nowhere }}", "tornado_app_unused": "{{ nowhere }}"},
    "unread": {
        "tornado_app_unused": "{{ nowhere }}",
        "tornado_app_nginx_tls_certificate": "self-signed",
        "tornado_app_nginx_tls_key": "",
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a playbook, with a certificate, its key and the key of another."""
    path = tmp_path_factory.mktemp("playbook")
    make_certificate(path / "shop.pem", path / "shop.key")
    make_certificate(path / "other.pem", path / "other.key")
    return path


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    """A line of the key, which is encrypted from now on."""
    text = (folder / "shop.key").read_text()
    (folder / "shop.key").write_text(vault(text))
    return text.splitlines()[1]


def vault(text: str) -> str:
    """Encrypt a text as ansible-vault does."""
    encrypted: bytes = VaultLib([("default", VaultSecret(PASSWORD))]).encrypt(text)
    return encrypted.decode()


@pytest.fixture(scope="module")
def output(folder: Path, key: str) -> str:
    """What the playbook printed, as talkative as it can be, in check mode."""
    (folder / "password").write_bytes(PASSWORD)
    lines = vault(SECRET).replace("\n", "\n  ")
    (folder / "secret.yml").write_text(f"secret: !vault |\n  {lines}\n")
    tasks: list[dict[str, Any]] = [
        {
            "tornado_drain.deploy.preflight": {},
            "register": name,
            "ignore_errors": True,
            "vars": GIVEN | {"tornado_app_home": str(folder / "home")} | variables,
        }
        for name, variables in TASKS.items()
    ]
    found = ", ".join(f"'{name}': {name}" for name in TASKS)
    keep = {
        "content": "{{ {" + found + ", 'facts': ansible_facts} | to_json }}",
        "dest": str(folder / "found.json"),
    }
    tasks.append({"ansible.builtin.copy": keep, "check_mode": False, "no_log": True})
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [
            str(folder / "secret.yml"),
            str(ROLE / "defaults/main.yml"),
            str(ROLE / "vars/main.yml"),
        ],
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "ansible_remote_tmp": str(folder / "remote"),
        },
        "tasks": tasks,
    }
    (folder / "site.yml").write_text(yaml.safe_dump([play], sort_keys=False))
    return run(
        [str(BIN / "ansible-playbook"), "-vvv", "--check", str(folder / "site.yml")],
        os.environ
        | {
            "ANSIBLE_HOME": str(folder / "ansible"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "password"),
        },
        code=0,
    )


@pytest.fixture
def results(output: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What each task returned, and the facts of this machine in the end."""
    assert "ignored=2" in output
    found: dict[str, dict[str, Any]] = json.loads((folder / "found.json").read_text())
    return found


def test_settings_that_fit_get_the_facts_of_the_host(results: dict[str, dict[str, Any]]) -> None:
    fits = results["fits"]
    assert not fits["failed"]
    assert not fits["changed"]
    assert HostFacts.__annotations__.keys() <= fits.keys()
    assert "invocation" not in fits
    assert fits["home"] is None
    assert fits["user"] is None
    [certificate, key] = fits["certificates"]
    assert certificate["status"] == key["status"] == 0
    assert certificate["public_key"] == key["public_key"] != ""


def test_facts_that_nobody_gathered_are_gathered(results: dict[str, dict[str, Any]]) -> None:
    assert results["facts"]["processor_nproc"] == len(os.sched_getaffinity(0))
    assert "ansible_processor_nproc" in results["fits"]["ansible_facts"]
    assert "ansible_processor_nproc" not in results["unread"]["ansible_facts"]


def test_all_errors_are_told_at_once(results: dict[str, dict[str, Any]]) -> None:
    refused = results["refused"]
    assert refused["failed"]
    assert refused["msg"] == [
        "tornado_app_processes: got 0; expected a whole number, at least 2"
        " (one serves while another restarts)",
        'tornado_app_nginx_tls_key: got "other.key"; expected the key of shop.pem,'
        " which has another public key",
        'tornado_app_environment: got "A B"; expected names of letters, digits and underscores,'
        " none that begins with TORNADO_DRAIN_",
        'tornado_app_environment: got "a list"; expected text or a number for C',
        'tornado_app_batch: got "many"; expected a number or a percentage that leaves a process'
        " to serve",
    ]
    assert refused.keys() <= {"failed", "changed", "msg", "exception"}


def test_a_template_that_fails_is_named(results: dict[str, dict[str, Any]]) -> None:
    fails = results["fails"]
    assert fails["failed"]
    assert "tornado_app_command: got a template that fails" in fails["msg"]
    assert "nowhere" in fails["msg"]


def test_a_variable_that_is_not_of_the_role_is_not_read(
    results: dict[str, dict[str, Any]],
) -> None:
    assert not results["unread"]["failed"]
    assert results["unread"]["certificates"] == []


def test_no_secret_is_printed(output: str, key: str) -> None:
    assert "tornado_app_environment: got" in output
    assert SECRET not in output
    assert key not in output
