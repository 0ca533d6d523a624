"""Settings that can't be are refused, by name, with what was given and what would be right."""

from typing import Any

import pytest

from tests.stack import Stack
from tests.templates import Role

BAD: list[tuple[str, Any, str]] = [
    ("tornado_app_name", "a b;rm", "small letter"),
    ("tornado_app_name", "../etc", "small letter"),
    ("tornado_app_name", "a" * 32, "at most 30"),
    ("tornado_app_name", "app\n", "small letter"),
    ("tornado_app_user", "root", "not root"),
    ("tornado_app_home", "relative", "absolute path"),
    ("tornado_app_home", "/srv/a b", "without spaces"),
    ("tornado_app_home", "/", "absolute path"),
    ("tornado_app_max_wait", 0, "at least 1"),
    ("tornado_app_max_wait", -1, "at least 1"),
    ("tornado_app_processes", 0, "at least 2"),
    ("tornado_app_processes", 1, "at least 2"),
    ("tornado_app_base_port", 65535, "fit below 65536"),
    ("tornado_app_base_port", 0, "a port"),
    ("tornado_app_trial_port", 9002, "a port that no process has"),
    ("tornado_app_ready_path", "ready", "begins with /"),
    ("tornado_app_ready_path", "/a b", "begins with /"),
    ("tornado_app_ready_status", 99, "an HTTP status"),
    ("tornado_app_ready_timeout", 0, "at least 1"),
    ("tornado_app_keep_releases", 1, "at least 2"),
    ("tornado_app_batch", "100%", "leaves a process"),
    ("tornado_app_batch", "3", "leaves a process"),
    ("tornado_app_batch", "many", "a number or a percentage"),
    ("tornado_app_packages", [], "at least one package"),
    ("tornado_app_packages", ["--index-url=x"], "no options"),
    ("tornado_app_packages", ["./not-there"], "exists on the controller"),
    ("tornado_app_command", "", "a program"),
    ("tornado_app_command", "a\nb", "one line"),
    ("tornado_app_command", "a ; b", "one line"),
    ("tornado_app_command", "a {nope}", "only {port}"),
    ("tornado_app_environment", {"A B": 1}, "letters, digits"),
    ("tornado_app_environment", {"TORNADO_DRAIN_PORT": 1}, "none that begins"),
    ("tornado_app_environment", {"A": {"b": 1}}, "text or a number"),
    ("tornado_app_nginx_read_timeout", 29, "at least tornado_app_max_wait (30)"),
    ("tornado_app_nginx_send_timeout", 1, "at least tornado_app_max_wait (30)"),
    ("tornado_app_nginx_connect_timeout_ms", 30000, "less than tornado_app_max_wait"),
    ("tornado_app_nginx_connect_timeout_ms", 0, "at least 1"),
    ("tornado_app_nginx_body_limit", "10x", "a size such as"),
    ("tornado_app_nginx_listen", "example.org:80", "a port, or address:port"),
    ("tornado_app_nginx_listen", "70000", "a port, or address:port"),
    ("tornado_app_nginx_listen", "9001", "a port that no process has"),
    ("tornado_app_nginx_server_name", "a;b", "host names"),
    ("tornado_app_nginx_trusted_proxies", ["example.org"], "addresses or networks"),
    ("tornado_app_nginx_upstream_keepalive", -1, "at least 0"),
]


@pytest.mark.parametrize(("variable", "value", "expected"), BAD)
def test_bad_settings_are_named(variable: str, value: Any, expected: str) -> None:
    errors = Role(**{variable: value}).errors()
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in errors), errors


def test_a_socket_path_that_is_too_long() -> None:
    home = "/srv/" + "long" * 25
    role = Role(tornado_app_home=home, tornado_app_rootless=True, tornado_app_listener="unix")
    assert any("107 bytes" in error for error in role.errors())


@pytest.mark.parametrize(
    ("port", "variable"),
    [(9002, "tornado_app_base_port"), (9000, "tornado_app_trial_port")],
)
def test_a_port_that_another_program_uses(port: int, variable: str) -> None:
    in_use = {str(port): {"pid": 1, "command": "/usr/bin/other --serve"}}
    [error] = Role(__tornado_app_in_use=in_use).errors()
    assert error.startswith(f"{variable}: got ")
    assert f"{port} is in use by /usr/bin/other --serve" in error


def test_a_python_that_is_not_there() -> None:
    [error] = Role(tornado_app_python="python9", __tornado_app_python={"rc": 2}).errors()
    assert error == 'tornado_app_python: got "python9"; expected a Python on this host'


def test_ports_of_the_app_itself_are_free_for_it() -> None:
    command = "/opt/app/releases/0/venv/bin/python -m app"
    in_use = {"9001": {"pid": 1, "command": command}, "80": {"pid": 2, "command": "nginx: master"}}
    assert Role(__tornado_app_in_use=in_use).errors() == []


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_folder_of_somebody_else(state: str) -> None:
    [error] = Role(
        tornado_app_home="/srv/data",
        tornado_app_state=state,
        __tornado_app_home_found={"files": [{"path": "/srv/data/precious"}]},
    ).errors()
    assert error.startswith('tornado_app_home: got "/srv/data"; expected a folder that this role')


def test_nothing_on_the_host_is_touched() -> None:
    stack = Stack("never", 9263)
    output = stack.playbook(code=2, tornado_app_max_wait="abc")
    assert "tornado_app_max_wait" in output
    assert "int" in output
    output = stack.playbook(code=2, tornado_app_max_wait=0, tornado_app_processes=0)
    assert "tornado_app_max_wait: got 0; expected a whole number, at least 1 (seconds)" in output
    assert "tornado_app_processes: got 0" in output
    assert not stack.home.exists()
