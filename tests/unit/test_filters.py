"""The role's filters, without Ansible's help."""

from pathlib import Path
from typing import Any

import pytest

from plugins.filter.conductor_files import conductor_files
from plugins.filter.processes import processes
from plugins.filter.series import series, series_group
from plugins.plugin_utils.nginx import certificate_kind, nginx_files, port, site_id
from tests.support.paths import ROLE


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("80", 80),
        (80, 80),
        ("127.0.0.1:8080", 8080),
        ("[::1]:443", 443),
        ("*:81", 81),
        ("unix:/run/shop/9001.sock", 9001),
        ("", 0),
        ("unix:/run/nginx.sock", 0),
        ("example.org", 0),
    ],
)
def test_port_of_an_address(listen: object, expected: int) -> None:
    assert port(listen) == expected


def test_processes_are_named_by_port() -> None:
    [process] = processes([9001], "shop", "port", "/run/shop", "/var/log/shop")
    log = "/var/log/shop/shop-9001.log"
    assert process == {"name": "shop-9001", "port": 9001, "listen": "127.0.0.1:9001", "log": log}
    [process] = processes([9001], "shop", "unix", "/run/shop", "/var/log/shop")
    assert process["listen"] == "unix:/run/shop/9001.sock"


SITES = "/etc/nginx/tornado-app"


def files(name: str, *found: str, server_name: str = "a", present: bool = True) -> dict[str, Any]:
    return nginx_files([f"{SITES}/{path}" for path in found], name, "80", server_name, present)


def test_files_of_a_first_app() -> None:
    found = files("my-shop")
    site = site_id("80", "a")
    assert found["app"] == "app_my_shop"
    assert found["site"] == site
    assert found["server"] == f"/etc/nginx/conf.d/{site}.conf"
    assert found["http"] == "/etc/nginx/conf.d/my-shop.conf"
    assert found["locations"] == f"{SITES}/{site}/my-shop.conf"
    assert found["gone"] == []
    assert found["neighbours"] == []


def test_site_does_not_depend_on_the_type_of_its_port() -> None:
    assert site_id(80, "a") == site_id("80", "a") != site_id("80", "b")


def test_files_of_apps_on_one_server() -> None:
    site = site_id("80", "a")
    found = files("shop", f"{site}/shop.conf", f"{site}/blog.conf", "site_other/wiki.conf")
    assert found["neighbours"] == [f"{SITES}/{site}/blog.conf"]
    assert found["gone"] == []


def test_an_app_that_moves_leaves_its_server_to_the_others() -> None:
    found = files("shop", "site_old/shop.conf", "site_old/blog.conf")
    assert found["gone"] == [f"{SITES}/site_old/shop.conf"]


def test_the_last_app_takes_its_server_along() -> None:
    gone = [f"{SITES}/site_old/shop.conf", "/etc/nginx/conf.d/site_old.conf", f"{SITES}/site_old"]
    assert files("shop", "site_old/shop.conf")["gone"] == gone


def test_an_app_that_is_removed_leaves_nothing() -> None:
    site = site_id("80", "a")
    gone = [f"{SITES}/{site}/shop.conf", f"/etc/nginx/conf.d/{site}.conf", f"{SITES}/{site}"]
    assert files("shop", f"{site}/shop.conf", present=False)["gone"] == gone


@pytest.mark.parametrize(
    ("certificate", "kind"),
    [
        ("", "none"),
        ("self-signed", "self-signed"),
        ("/etc/ssl/a.pem", "host"),
        ("a.pem", "controller"),
        ("certificates/a.pem", "controller"),
    ],
)
def test_certificates(certificate: str, kind: str) -> None:
    assert certificate_kind(certificate) == kind


def test_conductor_is_named_by_its_content(tmp_path: Path) -> None:
    entries = conductor_files(str(ROLE / "files/conductor"), "/opt/shop")
    assert entries == conductor_files(str(ROLE / "files/conductor"), "/opt/shop")
    link = entries[-1]
    assert link["path"] == "/opt/shop/conductor"
    assert link["state"] == "link"
    version = f"/opt/shop/{link['target']}"
    names = {entry["path"] for entry in entries if "content" in entry}
    assert f"{version}/conductor/__main__.py" in names
    assert all(name.startswith(f"{version}/conductor/") for name in names)
    (tmp_path / "a.py").write_text("a = 1\n")
    first = conductor_files(str(tmp_path), "/opt/shop")[-1]["target"]
    (tmp_path / "a.py").write_text("a = 2\n")
    assert conductor_files(str(tmp_path), "/opt/shop")[-1]["target"] != first


@pytest.mark.parametrize("serial", [1, 3, "25%", [1, "25%"], [1, 2, "100%"]])
def test_a_series_goes_by_the_name_of_a_group(serial: object) -> None:
    groups = {"all": ["b", "a"], "app": ["a", "b"], "load_balancer": []}
    assert series(groups) == [1]
    groups["tornado_app_serial_7"] = ["b"]
    assert series(groups) == [1]
    groups[series_group(serial)] = ["a"]
    assert series(groups) == (serial if isinstance(serial, list) else [serial])
    assert series({}) == [1]
