"""Settings that can't be are refused, by name, with what was given and what would be right."""

from typing import Any

import pytest

from plugins.plugin_utils.nginx import site_id
from plugins.plugin_utils.rules import errors
from tests.support.paths import ROOT
from tests.support.role import BARE, defaults


def settings(**given: Any) -> dict[str, Any]:
    """The role's variables with some of them given, the others as on a host with two cores."""
    known: dict[str, Any] = {"tornado_app_name": "app", "tornado_app_base_port": 9001} | given
    name = known["tornado_app_name"]
    computed = {
        "tornado_app_processes": 3,
        "tornado_app_trial_port": int(known["tornado_app_base_port"]) - 1,
        "tornado_app_nginx_read_timeout": 60,
        "tornado_app_nginx_send_timeout": 60,
        "tornado_app_nginx_workers": 1,
        "tornado_app_nginx_supervised": False,
        "tornado_app_user": name,
        "tornado_app_home": f"/opt/{name}",
        "tornado_app_drain_package": str(ROOT / "app[metrics]"),
        "tornado_app_packages": ["app"],
        "tornado_app_command": "python -m app --port={port}",
    }
    whole = defaults() | computed | known
    assert "{{" not in str(whole)
    home = whole["tornado_app_home"]
    run = f"{home}/run" if whole["tornado_app_rootless"] else f"/run/{name}"
    return whole | {"__tornado_app_run": run, "groups": {"all": ["localhost"]}}


def wrong(facts: dict[str, Any] | None = None, /, **given: Any) -> list[str]:
    """What the rules say of some settings, on a host with some facts."""
    host: Any = BARE | (facts or {})
    return errors(settings(**given), host, "/srv/kit")


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
    ("tornado_app_serial", 0, "a number of hosts, a percentage"),
    ("tornado_app_serial", "200%", "a number of hosts, a percentage"),
    ("tornado_app_serial", [], "a number of hosts, a percentage"),
    ("tornado_app_serial", [1, "many"], "a number of hosts, a percentage"),
    ("tornado_app_packages", [], "at least one package"),
    ("tornado_app_packages", ["--index-url=x"], "no options"),
    ("tornado_app_packages", ["./not-there"], "exists on the controller"),
    ("tornado_app_requirements", "not-there.txt", "a file that exists on the controller"),
    ("tornado_app_constraints", "/", "a file that exists on the controller"),
    ("tornado_app_lock", "not-there/shop.lock", "a file in a folder that exists"),
    ("tornado_app_lock", "/", "a file in a folder that exists"),
    ("tornado_app_build_on", "elsewhere", "a host of the inventory"),
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
    found = wrong(**{variable: value})
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in found), found


PAIR = {
    "tornado_app_nginx_tls_certificate": "/etc/shop.pem",
    "tornado_app_nginx_tls_key": "/etc/shop.key",
}


def files(**second: Any) -> dict[str, Any]:
    """Facts of a host whose key, or whose both files, openssl says this of."""
    certificate, key = BARE["certificates"]
    return {"certificates": [certificate, key | second]}


def refused_certificate() -> dict[str, Any]:
    """Facts of a host whose certificate openssl refuses."""
    certificate, key = BARE["certificates"]
    return {"certificates": [certificate | {"status": 1, "public_key": ""}, key]}


BAD_TLS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("tornado_app_nginx_tls_key", {"tornado_app_nginx_tls_key": ""}, {}, "the key of"),
    (
        "tornado_app_nginx_tls_key",
        {"tornado_app_nginx_tls_key": "a.key"},
        {},
        "on the same machine",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": ""},
        {},
        "the certificate of tornado_app_nginx_tls_key",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "self-signed"},
        {},
        "the certificate of tornado_app_nginx_tls_key",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "/a b"},
        {},
        "without spaces",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {"tornado_app_nginx_tls_certificate": "a.pem", "tornado_app_nginx_tls_key": "a.key"},
        {},
        "a file on the controller, from /srv/kit",
    ),
    (
        "tornado_app_nginx_tls_certificate",
        {},
        {"certificates": [file | {"exists": False} for file in BARE["certificates"]]},
        "a file on the host",
    ),
    ("tornado_app_nginx_tls_certificate", {}, refused_certificate(), "a certificate (PEM)"),
    (
        "tornado_app_nginx_tls_key",
        {},
        files(status=1, public_key=""),
        "a private key (PEM) without a passphrase",
    ),
    (
        "tornado_app_nginx_tls_key",
        {},
        files(public_key="another"),
        "the key of /etc/shop.pem, which has another public key",
    ),
    (
        "tornado_app_nginx_tls_listen",
        {"tornado_app_nginx_tls_listen": "80"},
        {},
        "another port than",
    ),
    (
        "tornado_app_nginx_tls_listen",
        {"tornado_app_nginx_tls_listen": "9002"},
        {},
        "that no process",
    ),
    ("tornado_app_nginx_tls_listen", {"tornado_app_nginx_tls_listen": "tls"}, {}, "a port, or"),
    (
        "tornado_app_nginx_tls_listen",
        {},
        {"listening": {"443": {"pid": 1, "command": "/usr/bin/other"}}},
        "in use by /usr/bin/other",
    ),
]


def test_a_certificate_and_its_key() -> None:
    assert wrong(**PAIR) == []
    without_openssl = [file | {"status": 2, "public_key": ""} for file in BARE["certificates"]]
    assert wrong({"certificates": without_openssl}, **PAIR) == []
    assert wrong(tornado_app_nginx_tls_certificate="self-signed") == []


@pytest.mark.parametrize(("variable", "values", "facts", "expected"), BAD_TLS)
def test_bad_tls_is_named(
    variable: str, values: dict[str, Any], facts: dict[str, Any], expected: str
) -> None:
    found = wrong(facts, **PAIR | values)
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in found), found


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
    assert wrong(**wrapped) == []
    [error] = wrong(**wrapped | values)
    assert error.startswith(f"{variable}: got ")
    assert expected in error


OTHER = {
    "tornado_app_name": "other",
    "tornado_app_base_port": 9101,
    "tornado_app_nginx_path": "/other/",
}

# What makes a site, in the types that its record has it in.
SITE = {
    "tornado_app_nginx_server_name": str,
    "tornado_app_nginx_listen": str,
    "tornado_app_nginx_backlog": int,
    "tornado_app_nginx_trusted_proxies": list,
    "tornado_app_nginx_tls_certificate": str,
    "tornado_app_nginx_tls_key": str,
    "tornado_app_nginx_tls_listen": str,
    "tornado_app_nginx_tls_hsts": int,
}


def beside(*others: dict[str, Any]) -> dict[str, Any]:
    """The facts of a host that has these apps, the last of which was deployed last."""
    sites: dict[str, dict[str, Any]] = {}
    locations = []
    for other in (settings(**other) for other in others):
        site = {variable: convert(other[variable]) for variable, convert in SITE.items()}
        name = other["tornado_app_name"]
        trial = other["tornado_app_trial_port"]
        ports = range(trial, trial + 1 + other["tornado_app_processes"])
        this = site_id(site["tornado_app_nginx_listen"], site["tornado_app_nginx_server_name"])
        sites[this] = site
        sites[name] = site | {
            "tornado_app_name": name,
            "tornado_app_nginx_path": other["tornado_app_nginx_path"],
            "ports": [*ports] if other["tornado_app_listener"] == "port" else [],
        }
        locations.append(f"/etc/nginx/tornado-app/{this}/{name}.conf")
    return {"sites": [*sites.values()], "locations": locations}


def test_several_apps_on_one_nginx() -> None:
    assert wrong(beside(OTHER)) == []
    assert wrong(beside(PAIR | OTHER), **PAIR) == []
    elsewhere = {"tornado_app_nginx_server_name": "other.test"}
    assert wrong(beside(PAIR | OTHER | elsewhere)) == []
    unix = {"tornado_app_listener": "unix"}
    assert wrong(beside(OTHER | unix), tornado_app_base_port=9101, **unix) == []


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
    found = wrong(beside(OTHER | other), **values)
    assert any(e.startswith(f"{variable}: got ") and expected in e for e in found), found


def test_one_app_changes_what_is_shared_and_the_others_have_to_follow() -> None:
    before: dict[str, Any] = {"tornado_app_processes": 3}
    after = {"tornado_app_nginx_backlog": 9}
    assert wrong(beside(OTHER, before), **after) == []
    changed = beside(OTHER, before | after)
    [error] = wrong(changed, **OTHER)
    assert error.startswith("tornado_app_nginx_backlog: got 4096; expected 9, as the other apps")
    assert wrong(changed, **OTHER | after) == []


def test_a_socket_path_that_is_too_long() -> None:
    home = "/srv/" + "long" * 25
    found = wrong(tornado_app_home=home, tornado_app_rootless=True, tornado_app_listener="unix")
    assert any("107 bytes" in error for error in found)


@pytest.mark.parametrize(
    ("port", "variable"),
    [(9002, "tornado_app_base_port"), (9000, "tornado_app_trial_port")],
)
def test_a_port_that_another_program_uses(port: int, variable: str) -> None:
    listening = {str(port): {"pid": 1, "command": "/usr/bin/other --serve"}}
    [error] = wrong({"listening": listening})
    assert error.startswith(f"{variable}: got ")
    assert f"{port} is in use by /usr/bin/other --serve" in error


def test_a_python_that_is_not_there() -> None:
    [error] = wrong({"python": ""}, tornado_app_python="python9")
    assert error == 'tornado_app_python: got "python9"; expected a Python on this host'


def test_ports_of_the_app_itself_are_free_for_it() -> None:
    command = "/opt/app/releases/0/venv/bin/python -m app"
    listening = {
        "9001": {"pid": 1, "command": command},
        "80": {"pid": 2, "command": "nginx: master"},
    }
    assert wrong({"listening": listening}) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            {"unit": "# /lib/systemd/system/app.service\n"},
            "/lib/systemd/system/app.service, not of this role",
        ),
        ({"namesakes": ["/var/lib/app"]}, "/var/lib/app is not of this role"),
        ({"foreign_user": True}, "this host has a user app that is not of this role"),
    ],
)
def test_a_name_of_something_else(found: dict[str, Any], expected: str) -> None:
    [error] = wrong(found)
    assert error.startswith('tornado_app_name: got "app"; expected a name that')
    assert expected in error


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_folder_of_somebody_else(state: str) -> None:
    [error] = wrong({"home": ["precious"]}, tornado_app_home="/srv/data", tornado_app_state=state)
    assert error.startswith('tornado_app_home: got "/srv/data"; expected a folder that this role')


def test_numbers_and_truths_may_be_text() -> None:
    as_text = {
        variable: str(value) for variable, value in settings().items() if isinstance(value, int)
    }
    assert wrong(**as_text) == []
    [error] = wrong(**as_text | {"tornado_app_trial": "-1"})
    assert error.startswith('tornado_app_trial: got "-1"; expected a whole number, at least 0')


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("tornado_app_packages", "app"),
        ("tornado_app_nginx_trusted_proxies", None),
        ("tornado_app_environment", ["A=secret"]),
    ],
)
def test_a_list_or_dictionary_that_is_none(variable: str, value: Any) -> None:
    [error] = wrong(**{variable: value})
    assert error.startswith(f"{variable}: got ")
    assert "expected a " in error
    assert "secret" not in error


@pytest.mark.parametrize(
    "environment", [{"A B": "secret"}, {None: "secret"}, {"A": ["secret"]}, {1: {"b": "secret"}}]
)
def test_no_value_of_the_environment_is_told(environment: dict[Any, Any]) -> None:
    found = wrong(tornado_app_environment=environment)
    assert all(error.startswith("tornado_app_environment: got ") for error in found)
    assert "secret" not in str(found)


def test_errors_come_in_the_order_of_the_settings() -> None:
    found = wrong(
        {"python": ""},
        tornado_app_user="root",
        tornado_app_max_wait=0,
        tornado_app_nginx_path="shop",
        tornado_app_packages=[],
        tornado_app_batch="0",
    )
    assert [error.partition(":")[0] for error in found] == [
        "tornado_app_user",
        "tornado_app_max_wait",
        "tornado_app_nginx_path",
        "tornado_app_packages",
        "tornado_app_batch",
        "tornado_app_python",
    ]
