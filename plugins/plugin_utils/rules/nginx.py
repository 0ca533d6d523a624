"""Rules for what nginx is told, and for what several apps on one nginx have to agree in."""

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ..facts import HostFacts
from ..nginx import nginx_files
from ..settings import Settings, integer

LISTEN = r"(([0-9.]+|\[[0-9a-fA-F:]+\]|\*):)?[0-9]{1,5}"


def body_limit(settings: Settings) -> Iterator[str]:
    """The largest body has a size that nginx can read."""
    if not re.fullmatch("[0-9]+[kKmMgG]?", settings.text("tornado_app_nginx_body_limit")):
        yield settings.error("tornado_app_nginx_body_limit", "a size such as 10m")


def addresses(settings: Settings) -> Iterator[str]:
    """What nginx listens on are ports, each of them for one thing."""
    ports = settings.nginx_ports
    for variable, port in ports.items():
        if not re.fullmatch(LISTEN, settings.text(variable)) or not 0 < port < 65536:
            yield settings.error(variable, "a port, or address:port")
        if variable == "tornado_app_nginx_listen":
            continue
        for other, same in ports.items():
            if port == same and other != variable:
                yield settings.error(variable, f"another port than that of {other}")


def path(settings: Settings) -> Iterator[str]:
    """The path is one that requests can have, and none of the drain's own."""
    given = settings.text("tornado_app_nginx_path")
    plain = re.fullmatch("/([A-Za-z0-9._~-]+/)*", given)
    if not plain or re.search("/([.]{1,2}|-)/", given):
        yield settings.error(
            "tornado_app_nginx_path",
            "a path that begins and ends with /, of letters, digits and any of . _ ~ - between",
        )
    if settings.boolean("tornado_app_nginx_path_strip") and given == "/":
        yield settings.error(
            "tornado_app_nginx_path_strip",
            "false, or a tornado_app_nginx_path that can be left out",
        )


def other_apps(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """Another app on this host has other host names, or another path, and other ports."""
    listen = settings.text("tornado_app_nginx_listen")
    names = settings.text("tornado_app_nginx_server_name")
    for other in facts["sites"]:
        app = other.get("tornado_app_name", settings.name)
        if app == settings.name:
            continue
        here = other["tornado_app_nginx_listen"] == listen
        its_names = other["tornado_app_nginx_server_name"]
        same_path = other["tornado_app_nginx_path"] == settings.text("tornado_app_nginx_path")
        if here and its_names == names and same_path:
            yield settings.error(
                "tornado_app_nginx_path",
                f"a path that the app {app} does not have: both are {names} on {listen}",
            )
        if here and its_names != names and {*its_names.split()} & {*names.split()}:
            yield settings.error(
                "tornado_app_nginx_server_name",
                f"the same host names as the app {app} has, which are {its_names}, or none of them",
            )
        for port in settings.all_ports if settings.on_ports else []:
            if port in other["ports"]:
                yield settings.error(
                    settings.port_variable(port),
                    f"ports that no other app has; {port} is one of {app}",
                )


def shared_site(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """Apps on one site agree in what makes it.

    One of them may change it, that is differ where it was last like the site; the others are
    refused until they say the same.
    """
    listen = settings.text("tornado_app_nginx_listen")
    names = settings.text("tornado_app_nginx_server_name")
    files = nginx_files(facts["locations"], settings.name, listen, names)
    others = [PurePosixPath(path).stem for path in files["neighbours"]]
    if not others:
        return
    apps = [site for site in facts["sites"] if "tornado_app_name" in site]
    own = next((app for app in apps if app["tornado_app_name"] == settings.name), {})
    for site in facts["sites"]:
        makes_it = (site["tornado_app_nginx_listen"], site["tornado_app_nginx_server_name"])
        if "tornado_app_name" in site or makes_it != (listen, names):
            continue
        for variable, value in site.items():
            if value not in (as_recorded(settings, variable, value), own.get(variable)):
                yield settings.error(
                    variable,
                    f"{json.dumps(value)}, as the other apps on {names} have it:"
                    f" {', '.join(others)}",
                )


def as_recorded(settings: Settings, variable: str, recorded: object) -> Any:
    """Read a variable in the type that a site's record has it in."""
    value = settings.given[variable]
    if isinstance(recorded, int):
        return integer(value)
    return str(value) if isinstance(recorded, str) else value


def hosts(settings: Settings) -> Iterator[str]:
    """Host names and the addresses of proxies are what nginx takes for them."""
    if not re.fullmatch("[A-Za-z0-9_.* -]+", settings.text("tornado_app_nginx_server_name")):
        yield settings.error("tornado_app_nginx_server_name", "host names")
    for network in settings.texts("tornado_app_nginx_trusted_proxies"):
        if not re.fullmatch("[0-9a-fA-F.:]+(/[0-9]{1,3})?", network):
            yield settings.error(
                "tornado_app_nginx_trusted_proxies", "addresses or networks", network
            )
