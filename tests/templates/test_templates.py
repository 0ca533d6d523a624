"""The role's templates, judged by those who read them: nginx, supervisor, systemd, a shell."""

import configparser
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from tests.support.net import make_certificate
from tests.support.nginx import unprivileged
from tests.support.paths import ROOT
from tests.support.role import Role, defaults, options

NGINX: list[dict[str, Any]] = (
    [
        {
            "tornado_app_listener": listener,
            "tornado_app_nginx_upstream_keepalive": keepalive,
            "tornado_app_nginx_trusted_proxies": proxies,
            "tornado_app_nginx_extra": extra,
        }
        for listener, keepalive, proxies, extra in itertools.product(
            ("port", "unix"),
            (0, 32),
            ([], ["10.0.0.0/8", "2001:db8::/32"]),
            ("", "location = /robots.txt {\n    return 204;\n}"),
        )
    ]
    + [
        {
            "tornado_app_name": "my-app-2",
            "tornado_app_nginx_server_name": "a.example *.example.org",
        },
        {"tornado_app_nginx_listen": "127.0.0.1:8080", "tornado_app_nginx_body_limit": "0"},
        {"tornado_app_nginx_listen": "[::1]:8080", "tornado_app_max_wait": 1},
        {"tornado_app_nginx_tls_certificate": "self-signed", "tornado_app_nginx_tls_hsts": 300},
        {"tornado_app_nginx_metrics_listen": "9100"},
        {"tornado_app_nginx_metrics_listen": "[::1]:9100", "tornado_app_listener": "unix"},
        {"tornado_app_max_wait": 3600, "tornado_app_processes": 64},
    ]
    + [
        {
            "tornado_app_listener": listener,
            "tornado_app_nginx_upstream_keepalive": keepalive,
            "tornado_app_nginx_sticky": sticky,
            "tornado_app_nginx_path": path,
            "tornado_app_nginx_path_strip": path != "/",
        }
        for listener, keepalive, sticky, path in itertools.product(
            ("port", "unix"), (0, 32), ("cookie", "address"), ("/", "/shop/v1.2/")
        )
    ]
)


@pytest.mark.parametrize("variables", NGINX)
def test_nginx_accepts_it(short_path: Path, variables: dict[str, Any]) -> None:
    home = short_path / "home"
    (home / "nginx/temporary").mkdir(parents=True)
    (home / "log").mkdir()
    (home / "run").mkdir()
    site = home / "site.conf"
    role = Role(
        tornado_app_home=str(home),
        tornado_app_rootless=True,
        __tornado_app_nginx_includes=[str(site)],
        **variables,
    )
    assert role.errors() == []
    if "tornado_app_nginx_tls_certificate" in variables:
        make_certificate(
            Path(role("{{ __tornado_app_tls_certificate }}")),
            Path(role("{{ __tornado_app_tls_key }}")),
        )
    site.write_text(unprivileged(role.render("nginx_site.conf.j2")))
    (home / "nginx.conf").write_text(unprivileged(role.render("nginx.conf.j2")))
    done = subprocess.run(
        ["nginx", "-t", "-c", home / "nginx.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + site.read_text()
    assert "[warn]" not in done.stderr


def check_sites(folder: Path, *sites: dict[str, Any]) -> None:
    """Let nginx judge the sites of some apps, as the role does on a host with systemd."""
    (folder / "home/nginx").mkdir(parents=True)
    variables = {
        "tornado_app_home": str(folder / "home"),
        "tornado_app_nginx_listen": "8099",
        "__tornado_app_nginx_log": str(folder),
    }
    paths = [folder / f"{number}.conf" for number in range(len(sites))]
    for path, site in zip(paths, sites, strict=True):
        path.write_text(unprivileged(Role(**variables, **site).render("nginx_site.conf.j2")))
    check = Role(**variables, __tornado_app_nginx_includes=[str(path) for path in paths])
    (folder / "check.conf").write_text(unprivileged(check.render("nginx.conf.j2"), folder))
    done = subprocess.run(
        ["nginx", "-t", "-c", folder / "check.conf"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_nginx_accepts_a_candidate_before_the_unit_made_its_run_folder(tmp_path: Path) -> None:
    check_sites(tmp_path, {})


def test_nginx_accepts_two_apps_on_one_port(tmp_path: Path) -> None:
    # The log format `combined` is nginx's own, and so are variables such as $http_connection.
    names = ("combined", "http")
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    make_certificate(certificate, key)
    tls = {
        "tornado_app_nginx_tls_certificate": str(certificate),
        "tornado_app_nginx_tls_key": str(key),
    }
    both = ({"tornado_app_name": n, "tornado_app_nginx_server_name": f"{n}.test"} for n in names)
    check_sites(tmp_path, *(tls | site for site in both))


def test_nginx_never_sends_a_post_twice_and_never_leaves_a_process_out() -> None:
    site = Role().render("nginx_site.conf.j2")
    assert "proxy_next_upstream error timeout;" in site
    assert site.count("server 127.0.0.1:") == site.count("max_fails=0") == 3
    assert "keepalive_min_timeout" not in site
    newer = Role(__tornado_app_nginx_version="1.27.4").render("nginx_site.conf.j2")
    assert "keepalive_min_timeout" in newer


def test_another_certificate_of_the_same_name_is_another_site(tmp_path: Path) -> None:
    sites = set()
    for _ in range(2):
        make_certificate(tmp_path / "a.pem", tmp_path / "a.key")
        role = Role(
            playbook_dir=str(tmp_path),
            tornado_app_nginx_tls_certificate="a.pem",
            tornado_app_nginx_tls_key="a.key",
        )
        assert role.errors() == []
        sites.add(role.render("nginx_site.conf.j2"))
        sites.add(role.render("nginx_site.conf.j2"))
    assert len(sites) == 2


def test_http2_as_each_nginx_spells_it() -> None:
    tls = {"tornado_app_nginx_tls_certificate": "self-signed"}
    older = Role(**tls, __tornado_app_nginx_version="1.25.0").render("nginx_site.conf.j2")
    assert "listen 443 ssl http2 default_server" in older
    newer = Role(**tls, __tornado_app_nginx_version="1.25.1").render("nginx_site.conf.j2")
    assert "listen 443 ssl default_server" in newer
    assert "http2 on;" in newer
    assert "http2 on;" not in older


@pytest.mark.parametrize("rootless", [False, True])
@pytest.mark.parametrize("listener", ["port", "unix"])
@pytest.mark.parametrize(
    "command",
    [
        "python -m app --port={port}",
        "/usr/bin/env -S app {listen} {socket} --name='{name} %d 100%' \"$HOME\" {data} {venv}",
    ],
)
def test_supervisor_reads_it(tmp_path: Path, rootless: bool, listener: str, command: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "log").mkdir()
    (home / "data").mkdir()
    role = Role(
        tornado_app_rootless=rootless,
        tornado_app_home=str(home),
        tornado_app_listener=listener,
        tornado_app_command=command,
        __tornado_app_log=str(home / "log"),
        __tornado_app_data=str(home / "data"),
        __tornado_app_run=str(home),
        ansible_facts={"user_id": "root", "user_gid": 0, "processor_nproc": 3},
        tornado_app_user="root",
    )
    (home / "supervisord.conf").write_text(role.render("supervisord.conf.j2"))
    (home / "current").write_text(role.render("configuration.conf.j2"))
    read = ServerOptions()
    read.realize(["-c", str(home / "supervisord.conf")])
    programs = {g.name: g.process_configs[0] for g in read.process_group_configs}
    processes = {name: p for name, p in programs.items() if name != "nginx"}
    assert ("nginx" in programs) == rootless
    assert list(processes) == ["app-9001", "app-9002", "app-9003", "app-9004"]
    process = processes["app-9002"]
    assert process.stopwaitsecs == 35
    assert not process.stopasgroup
    assert process.killasgroup
    listen = "127.0.0.1:9002" if listener == "port" else f"unix:{home}/9002.sock"
    assert process.environment["TORNADO_DRAIN_LISTEN"] == listen
    assert process.environment["HOME"] == str(home / "data")
    assert "{" not in process.command
    if "%" in command:
        assert "--name='app %d 100%' \"$HOME\"" in process.command


@pytest.mark.parametrize("program", ["bokeh", "/opt/bin/serve", "python -m notes"])
def test_the_drain_is_put_around_a_program(program: str) -> None:
    variables = {
        "tornado_app_command": f"{program} --port {{port}} --prefix {{prefix}}",
        "tornado_app_nginx_path": "/shop/",
        "tornado_app_ready_path": "{prefix}api",
    }
    venv = "/opt/app/releases/0123456789ab/venv/bin"
    own = (
        f"{program if program.startswith('/') else f'{venv}/{program}'} --port 9001 --prefix /shop/"
    )
    for wrap, command in ((False, own), (True, f"{venv}/python -m tornado_drain -- {own}")):
        role = Role(tornado_app_wrap=wrap, **variables)
        assert role.errors() == []
        configuration = configparser.RawConfigParser(inline_comment_prefixes=(";",))
        configuration.read_string(role.render("configuration.conf.j2"))
        assert configuration["tornado_app"]["ready_path"] == "/shop/api"
        assert configuration["program:app-9001"]["command"].endswith(f" {command}")
        packages = role("{{ __tornado_app_packages }}")
        assert packages == ["app", *([f"{ROOT}/app[metrics]"] if wrap else [])]


@pytest.mark.parametrize(
    "value",
    ["", "it's", 'say "no"', "$HOME `id` $(id)", "100% %(x)s", "a;b #c", "é ü", " two  ", "\\n", 5],
)
def test_a_shell_reads_the_environment(tmp_path: Path, value: str | int) -> None:
    role = Role(tornado_app_environment={"VALUE": value, "AFTER": "yes"})
    assert role.errors() == []
    file = tmp_path / "environment"
    file.write_text(role.render("environment.j2"))
    done = subprocess.run(
        ["/bin/sh", "-c", '. "$0"; exec "$@"', file, "printenv", "VALUE", "AFTER"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{value}\nyes\n"


@pytest.mark.parametrize("max_wait", [1, 30, 600])
def test_one_number_moves_every_rung(max_wait: int) -> None:
    role = Role(tornado_app_max_wait=max_wait)
    configuration = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    configuration.read_string(role.render("configuration.conf.j2"))
    process = configuration["program:app-9001"]
    unit = role.render("unit.service.j2")
    site = role.render("nginx_site.conf.j2")
    stop = int(unit.split("TimeoutStopSec=")[1].split()[0])
    step = int(configuration["tornado_app"]["stop_timeout"])
    assert f'TORNADO_DRAIN_MAX_WAIT="{max_wait}"' in process["environment"]
    limit = int(re.findall(r'TORNADO_DRAIN_EXIT_LIMIT="(\d+)"', process["environment"])[0])
    assert max_wait < limit < int(process["stopwaitsecs"]) < stop < step
    assert role("{{ __tornado_app_nginx_worker_shutdown_timeout }}") >= stop
    for timeout in ("proxy_read_timeout", "proxy_send_timeout"):
        assert int(site.split(timeout)[1].split("s;")[0]) > max_wait
    assert int(site.split("keepalive_timeout ")[1].split("ms;")[0]) < max_wait * 1000


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = Role(tornado_app_user="daemon").render("unit.service.j2")
    # The programs it names are not on this machine.
    unit = tmp_path / "app.service"
    unit.write_text(text.replace("/opt/app/tools/bin/python", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assert "app.service" not in done.stderr, done.stderr


@pytest.mark.parametrize("role", ["tornado_app", "load_balancer"])
def test_every_variable_is_specified_and_every_option_has_a_default(role: str) -> None:
    assert list(defaults(role)) != []
    assert set(defaults(role)) == set(options(role))
    for name, option in options(role).items():
        if "default" in option:
            assert option["default"] == defaults(role)[name], name
        else:
            assert "{{" in str(defaults(role)[name]), name
