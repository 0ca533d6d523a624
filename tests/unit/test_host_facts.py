"""What the module `host_facts` sees: real files, sockets, certificates and programs."""

import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils import host
from plugins.module_utils.interpreter import about
from plugins.modules.host_facts import RETURN
from plugins.plugin_utils.facts import HostFacts
from tests.support.net import make_certificate


def look(home: Path, **options: Any) -> dict[str, Any]:
    """The facts of this machine, as a rootless app in `home` has them unless told otherwise."""
    known: dict[str, Any] = {
        "name": "shop",
        "home": str(home),
        "run": str(home / "run"),
        "python": sys.executable,
        "program": "",
        "user": "",
        "user_comment": "made by a test",
        "rootless": True,
        "certificate": "",
        "certificate_content": None,
        "key": "",
        "key_content": None,
    }
    return host.host_facts(known | options)


def test_nothing_is_there(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(short_path))
    monkeypatch.setattr(host, "NGINX", short_path / "nginx")
    monkeypatch.setattr(host, "SHARED_FOLDERS", [str(short_path / "nowhere")])
    facts = look(short_path / "home", python="python3", rootless=False, user="nobody-of-this-name")
    del facts["listening"]
    assert facts == {
        "python": "",
        "platform": {},
        "nginx": "",
        "endpoints": [],
        "home": None,
        "ours": False,
        "user": None,
        "foreign_user": False,
        "unit": "",
        "namesakes": [],
        "sites": [],
        "locations": [],
        "nginx_includes": [],
        "worker_shutdown_timeout": 0,
        "certificates": [],
        "supervisord": False,
        "tools": "",
        "releases": {},
        "program": False,
    }
    assert not (short_path / "home").exists()


def test_its_keys_are_those_it_documents(short_path: Path) -> None:
    assert look(short_path).keys() == HostFacts.__annotations__.keys()
    assert look(short_path).keys() == yaml.safe_load(RETURN).keys()


def test_a_home_that_is_deployed(short_path: Path) -> None:
    for file in (
        "configurations/1.conf",
        "tools/lib/python3.11/site-packages/supervisor-4.3.0.dist-info/METADATA",
        "releases/0123/venv/bin/activate",
        "releases/0123/venv/bin/shop",
        "releases/4567/venv/bin/shop",
        "bin/shop-ctl",
        ".hidden",
    ):
        (short_path / file).parent.mkdir(parents=True, exist_ok=True)
        (short_path / file).touch()
    ctl = short_path / "bin/shop-ctl"
    ctl.write_text("""#!/bin/sh\n[ "$*" = endpoints ] && echo '["127.0.0.1:9001"]'\n""")
    ctl.chmod(0o755)
    shop = short_path / "releases/0123/venv/bin/shop"
    shop.chmod(0o755)
    (short_path / "releases/0123/requirements.txt").write_text("shop==1\n")
    (short_path / "releases/89ab").mkdir()
    (short_path / "releases/89ab/requirements.txt").write_text("")
    (short_path / "configurations/1.conf").write_text(f"command={shop} --port=1\n")
    (short_path / "current").symlink_to("configurations/1.conf")
    (short_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "run/supervisor.sock"))
        assert not look(short_path)["supervisord"]
        server.listen()
        facts = look(short_path, program=str(shop))
    assert facts["supervisord"]
    assert facts["python"] == facts["platform"]["path"] == sys.executable
    assert facts["platform"] == about(sys.executable)
    assert facts["ours"]
    there = [".hidden", "bin", "configurations", "current", "releases", "run", "tools"]
    assert facts["home"] == there
    assert facts["endpoints"] == ["127.0.0.1:9001"]
    assert facts["tools"] == "4.3.0"
    assert facts["releases"] == {
        "0123": {"lock": "shop==1\n", "programs": ["shop"], "current": True},
        "89ab": {"lock": "", "programs": [], "current": False},
    }
    assert facts["program"]
    assert not look(short_path, program="shop")["program"]
    assert not look(short_path, program=f"{shop}s")["program"]


@pytest.mark.parametrize("script", ["exit 1", "echo error >&2; echo '['", "echo '[]'"])
def test_a_ctl_that_has_nothing_to_say(short_path: Path, script: str) -> None:
    (short_path / "bin").mkdir()
    ctl = short_path / "bin/shop-ctl"
    ctl.write_text(f"#!/bin/sh\n{script}\n")
    ctl.chmod(0o755)
    facts = look(short_path)
    assert facts["endpoints"] == []
    assert facts["home"] == ["bin"]
    assert not facts["ours"]


def test_who_listens(short_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = look(short_path)["listening"][str(server.getsockname()[1])]
    assert listening["pid"] == os.getpid()
    assert "python" in listening["command"]
    json.dumps(listening)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("nginx version: nginx/1.22.1", "1.22.1"),
        ("nginx version: nginx/1.24.0 (Ubuntu)", "1.24.0"),
        ("nginx version: one of my own", "0"),
    ],
)
def test_the_version_of_nginx(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, version: str
) -> None:
    nginx = short_path / "nginx"
    nginx.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    nginx.chmod(0o755)
    monkeypatch.setenv("PATH", f"{short_path}:{os.environ['PATH']}")
    assert look(short_path)["nginx"] == version


def test_a_certificate_and_its_key(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = short_path / "shop.pem", short_path / "shop.key"
    make_certificate(certificate, key)
    paths = {"certificate": str(certificate), "key": str(key)}
    first, second = look(short_path, **paths)["certificates"]
    assert first["exists"]
    assert second["exists"]
    assert (first["status"], second["status"]) == (0, 0)
    assert "BEGIN PUBLIC KEY" in first["public_key"]
    assert first["public_key"] == second["public_key"]
    sums = subprocess.check_output(["sha256sum", certificate, key], text=True).split()
    assert [first["checksum"], second["checksum"]] == sums[::2]
    # A link is looked through: its target may be replaced by another certificate.
    link = short_path / "link.pem"
    link.symlink_to(certificate)
    assert look(short_path, **paths | {"certificate": str(link)})["certificates"][0] == first
    contents = {
        "certificate_content": certificate.read_text(),
        "key_content": key.read_text(),
    }
    assert look(short_path, **contents)["certificates"] == [first, second]
    monkeypatch.setenv("PATH", str(short_path))
    without_openssl = look(short_path, **paths)["certificates"]
    assert [(file["exists"], file["status"]) for file in without_openssl] == [(True, 2)] * 2


def test_files_that_are_no_certificate_and_no_key(short_path: Path) -> None:
    key, locked = short_path / "shop.key", short_path / "locked.key"
    make_certificate(short_path / "shop.pem", key)
    command = ["openssl", "pkey", "-aes256", "-passout", "pass:secret"]
    subprocess.run([*command, "-in", str(key), "-out", str(locked)], check=True)
    first, second = look(short_path, certificate=str(key), key=str(locked))["certificates"]
    assert (first["exists"], second["exists"]) == (True, True)
    assert 0 not in (first["status"], second["status"])
    assert 2 not in (first["status"], second["status"])
    assert first["public_key"] == second["public_key"] == ""
    absent = look(short_path, certificate=str(short_path / "absent"))["certificates"]
    assert [file["exists"] for file in absent] == [False, False]


@pytest.fixture
def nginx(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /etc/nginx."""
    monkeypatch.setattr(host, "NGINX", short_path)
    for folder in ("conf.d", "sites-enabled", "modules-enabled", "tornado-app/site_1"):
        (short_path / folder).mkdir(parents=True)
    return short_path


def test_what_nginx_serves(nginx: Path) -> None:
    record = {"tornado_app_name": "other", "ports": [1]}
    (nginx / "conf.d/other.conf").write_text(
        f"# For the role:\n# tornado_app: {json.dumps(record)}\nupstream app_other {{\n}}\n"
    )
    (nginx / "conf.d/site_1.conf").write_text('# tornado_app: {"broken\n# tornado_app: {"a": 1}\n')
    (nginx / "conf.d/.hidden.conf").touch()
    (nginx / "conf.d/other.conf.bak").touch()
    (nginx / "sites-enabled/default").touch()
    (nginx / "sites-enabled/theirs").symlink_to(nginx / "nowhere")
    (nginx / "tornado-app/site_1/other.conf").touch()
    (nginx / "tornado-app/site_1/certificates").mkdir()
    (nginx / "tornado-app/site_1/certificates/0.pem").touch()
    (nginx / "modules-enabled/tornado-app.conf").write_text("worker_shutdown_timeout 40s;\n")
    facts = look(nginx, rootless=False)
    assert facts["sites"] == [record, {"a": 1}]
    assert facts["locations"] == [str(nginx / "tornado-app/site_1/other.conf")]
    assert facts["nginx_includes"] == [
        str(nginx / "conf.d/other.conf"),
        str(nginx / "conf.d/site_1.conf"),
        str(nginx / "sites-enabled/theirs"),
    ]
    assert facts["worker_shutdown_timeout"] == 40
    rootless = look(nginx)
    assert rootless["sites"] == rootless["locations"] == rootless["nginx_includes"] == []
    assert rootless["worker_shutdown_timeout"] == 0


def test_what_goes_by_its_name(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "SHARED_FOLDERS", [str(short_path)])
    for name in ("shop", "shop.conf", "shop-ctl", "shop2", "a-shop"):
        (short_path / name).touch()
    named = [str(short_path / name) for name in ("shop", "shop-ctl", "shop.conf")]
    assert look(short_path, rootless=False)["namesakes"] == named
    assert look(short_path)["namesakes"] == []


def test_the_user(short_path: Path) -> None:
    me = pwd.getpwuid(os.getuid())
    facts = look(short_path, rootless=False, user=me.pw_name)
    assert facts["user"] == {
        "uid": me.pw_uid,
        "gid": me.pw_gid,
        "comment": me.pw_gecos,
        "shell": me.pw_shell,
        "home": me.pw_dir,
    }
    assert facts["foreign_user"]
    made = look(short_path, rootless=False, user=me.pw_name, user_comment=me.pw_gecos)
    assert made["user"] == facts["user"]
    assert not made["foreign_user"]
    assert look(short_path, user=me.pw_name)["user"] is None
