"""Settings that can't be are refused, by name, with what was given and what would be right."""

from typing import Any

import pytest

from tests.support.role import Role
from tests.support.stack import Stack

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
    ("tornado_app_nginx_path", "shop/", "begins and ends with /"),
    ("tornado_app_nginx_path", "/shop", "begins and ends with /"),
    ("tornado_app_nginx_path", "/a b/", "begins and ends with /"),
    ("tornado_app_nginx_path", "/a//", "begins and ends with /"),
    ("tornado_app_nginx_path", "/a/../", "begins and ends with /"),
    ("tornado_app_nginx_path", "/-/", "begins and ends with /"),
    ("tornado_app_nginx_path_strip", True, "a tornado_app_nginx_path that can be left out"),
    ("tornado_app_nginx_metrics_listen", "metrics", "a port, or address:port"),
    (
        "tornado_app_nginx_metrics_listen",
        "80",
        "another port than that of tornado_app_nginx_listen",
    ),
    ("tornado_app_nginx_metrics_listen", "9001", "a port that no process has"),
    ("tornado_app_nginx_tls_hsts", -1, "at least 0"),
    ("tornado_app_nginx_tls_hsts", 300, "0, or a tornado_app_nginx_tls_certificate"),
    ("tornado_app_nginx_trusted_proxies", ["example.org"], "addresses or networks"),
    ("tornado_app_nginx_upstream_keepalive", -1, "at least 0"),
    ("tornado_app_nginx_workers", 0, "at least 1"),
]


@pytest.mark.parametrize(("variable", "value", "expected"), BAD)
def test_bad_settings_are_named(variable: str, value: Any, expected: str) -> None:
    errors = Role(**{variable: value}).errors()
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in errors), errors


PAIR = {
    "tornado_app_nginx_tls_certificate": "/etc/shop.pem",
    "tornado_app_nginx_tls_key": "/etc/shop.key",
}
BAD_TLS: list[tuple[str, dict[str, Any], str]] = [
    ("tornado_app_nginx_tls_key", {"tornado_app_nginx_tls_key": ""}, "the key of"),
    ("tornado_app_nginx_tls_key", {"tornado_app_nginx_tls_key": "a.key"}, "on the same machine"),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": ""},
        "the certificate of tornado_app_nginx_tls_key",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "self-signed"},
        "the certificate of tornado_app_nginx_tls_key",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "/a b"},
        "without spaces",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "a.pem", "tornado_app_nginx_tls_key": "a.key"},
        "a file on the controller, from /srv/kit",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"__tornado_app_tls_found": {"results": [{"stat": {"exists": False}}] * 2}},
        "a file on the host",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"__tornado_app_tls_public": {"results": [{"rc": 1}, {"rc": 0, "stdout": "a"}]}},
        "a certificate (PEM)",
    ),
    (
        "tornado_app_nginx_tls_key",
        {"__tornado_app_tls_public": {"results": [{"rc": 0, "stdout": "a"}, {"rc": 1}]}},
        "without a passphrase",
    ),
    (
        "tornado_app_nginx_tls_key",
        {"__tornado_app_tls_public": {"results": [{"rc": 0, "stdout": c} for c in "ab"]}},
        "the key of /etc/shop.pem, which has another public key",
    ),
    ("tornado_app_nginx_tls_listen", {"tornado_app_nginx_tls_listen": "80"}, "another port than"),
    ("tornado_app_nginx_tls_listen", {"tornado_app_nginx_tls_listen": "9002"}, "that no process"),
    ("tornado_app_nginx_tls_listen", {"tornado_app_nginx_tls_listen": "tls"}, "a port, or"),
    (
        "tornado_app_nginx_tls_listen",
        {"__tornado_app_in_use": {"443": {"pid": 1, "command": "/usr/bin/other"}}},
        "in use by /usr/bin/other",
    ),
]


def test_a_certificate_and_its_key() -> None:
    assert Role(**PAIR).errors() == []
    without_openssl = {"results": [{"rc": 2, "stdout": ""}] * 2}
    assert Role(**PAIR, __tornado_app_tls_public=without_openssl).errors() == []
    assert Role(tornado_app_nginx_tls_certificate="self-signed").errors() == []


@pytest.mark.parametrize(("variable", "values", "expected"), BAD_TLS)
def test_bad_tls_is_named(variable: str, values: dict[str, Any], expected: str) -> None:
    errors = Role(**PAIR | values).errors()
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in errors), errors


@pytest.mark.parametrize(
    ("variable", "values", "expected"),
    [
        (
            "tornado_app_command",
            {"tornado_app_command": "python -m tornado_drain -- bokeh serve"},
            "the program's own command",
        ),
        (
            "tornado_app_drain_package",
            {"tornado_app_drain_package": "/nowhere/app[metrics]"},
            "exists on the controller",
        ),
        ("tornado_app_drain_package", {"tornado_app_drain_package": "--pre"}, "no options"),
    ],
)
def test_bad_wrapping_is_named(variable: str, values: dict[str, Any], expected: str) -> None:
    wrapped = {"tornado_app_wrap": True, "tornado_app_command": "bokeh serve --port {port}"}
    assert Role(**wrapped).errors() == []
    [error] = Role(**wrapped | values).errors()
    assert error.startswith(f"{variable}: got ")
    assert expected in error


OTHER = {
    "tornado_app_name": "other",
    "tornado_app_base_port": 9101,
    "tornado_app_nginx_path": "/other/",
}


def beside(*others: dict[str, Any]) -> dict[str, Any]:
    """What the role finds on a host that has these apps, the last of which was deployed last."""
    told: dict[str, str] = {}
    for role in (Role(**other) for other in others):
        for file in role("{{ __tornado_app_nginx_files }}"):
            lines = role.render(file["src"]).splitlines()
            told[file["dest"]] = "".join(line for line in lines if "# tornado_app: " in line)
    return {
        "__tornado_app_nginx_records_found": {"stdout_lines": [*filter(None, told.values())]},
        "__tornado_app_nginx_locations_found": {
            "files": [{"path": path} for path in told if "/tornado-app/" in path]
        },
    }


def test_several_apps_on_one_nginx() -> None:
    assert Role(**beside(OTHER)).errors() == []
    assert Role(**beside(PAIR | OTHER), **PAIR).errors() == []
    elsewhere = {"tornado_app_nginx_server_name": "other.test"}
    assert Role(**beside(PAIR | OTHER | elsewhere)).errors() == []
    unix = {"tornado_app_listener": "unix"}
    assert Role(**beside(OTHER | unix), tornado_app_base_port=9101, **unix).errors() == []


@pytest.mark.parametrize(
    ("variable", "other", "values", "expected"),
    [
        (
            "tornado_app_nginx_path",
            {},
            {"tornado_app_nginx_path": "/other/"},
            "a path that the app other does not have",
        ),
        ("tornado_app_base_port", {}, {"tornado_app_base_port": 9099}, "9101 is one of other"),
        (
            "tornado_app_trial_port",
            {"tornado_app_processes": 3},
            {"tornado_app_base_port": 9104},
            "9103 is one of other",
        ),
        (
            "tornado_app_nginx_server_name",
            {"tornado_app_nginx_server_name": "a.test b.test"},
            {"tornado_app_nginx_server_name": "b.test"},
            "which are a.test b.test, or none of them",
        ),
        ("tornado_app_nginx_tls_certificate", PAIR, {}, '"/etc/shop.pem", as the other apps'),
        ("tornado_app_nginx_tls_key", PAIR, {}, '"/etc/shop.key", as the other apps'),
        (
            "tornado_app_nginx_tls_certificate",
            {},
            PAIR,
            '"", as the other apps on _ have it: other',
        ),
        (
            "tornado_app_nginx_tls_hsts",
            PAIR | {"tornado_app_nginx_tls_hsts": 300},
            PAIR,
            "300, as the other apps",
        ),
        (
            "tornado_app_nginx_trusted_proxies",
            {"tornado_app_nginx_trusted_proxies": ["10.0.0.1"]},
            {},
            '["10.0.0.1"], as the other apps',
        ),
        ("tornado_app_nginx_backlog", {"tornado_app_nginx_backlog": 9}, {}, "9, as the other apps"),
    ],
)
def test_apps_that_can_not_share(
    variable: str, other: dict[str, Any], values: dict[str, Any], expected: str
) -> None:
    errors = Role(**beside(OTHER | other), **values).errors()
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in errors), errors


def test_one_app_changes_what_is_shared_and_the_others_have_to_follow() -> None:
    before: dict[str, Any] = {"tornado_app_processes": 3}
    after = {"tornado_app_nginx_backlog": 9}
    assert Role(**beside(OTHER, before), **after).errors() == []
    changed = beside(OTHER, before | after)
    [error] = Role(**OTHER, **changed).errors()
    assert error.startswith("tornado_app_nginx_backlog: got 4096; expected 9, as the other apps")
    assert Role(**OTHER | after, **changed).errors() == []


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


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            {
                "__tornado_app_unit_found": {
                    "rc": 0,
                    "stdout": "# /lib/systemd/system/app.service\n",
                }
            },
            "/lib/systemd/system/app.service, not of this role",
        ),
        (
            {"__tornado_app_namesakes": {"files": [{"path": "/var/lib/app"}]}},
            "/var/lib/app is not of this role",
        ),
        (
            {
                "ansible_facts": {
                    "processor_nproc": 2,
                    "getent_passwd": {"app": ["x", 9, 9, "", "/"]},
                }
            },
            "this host has a user app that is not of this role",
        ),
    ],
)
def test_a_name_of_something_else(found: dict[str, Any], expected: str) -> None:
    [error] = Role(**found).errors()
    assert error.startswith('tornado_app_name: got "app"; expected a name that')
    assert expected in error


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
