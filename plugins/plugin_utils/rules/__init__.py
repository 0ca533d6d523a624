"""The rules: settings and the facts of a host in, what can't be out."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..facts import HostFacts
from ..settings import Settings
from . import ladder, names, nginx, ports, processes, tls


def errors(given: Mapping[str, Any], facts: HostFacts, playbook_dir: str) -> list[str]:
    """Say what is wrong with the settings of an app on a host.

    Of the controller's files only this is read: whether the packages and the certificate that the
    settings name are there.

    Args:
        given: the role's variables, as `Settings` takes them.
        facts: of the host.
        playbook_dir: what relative paths on the controller start from.

    Returns:
        A line for each error: ``variable: got X; expected Y``. No line holds a secret.
    """
    settings = Settings(given)
    # The user, the paths and what is in use go by the name.
    if unnamed := [*names.name(settings)]:
        return unnamed
    found = [
        *names.user(settings),
        *names.namesakes(settings, facts),
        *names.home(settings, facts),
    ]
    if settings.text("tornado_app_state") != "present":
        return found
    if misshapen := [*shapes(settings)]:
        return found + misshapen
    return [
        *found,
        *ladder.numbers(settings),
        *ladder.nginx_timeouts(settings),
        *nginx.body_limit(settings),
        *nginx.addresses(settings),
        *tls.hsts(settings),
        *tls.pair(settings),
        *tls.files(settings, facts, playbook_dir),
        *nginx.path(settings),
        *nginx.other_apps(settings, facts),
        *nginx.shared_site(settings, facts),
        *nginx.hosts(settings),
        *processes.readiness(settings),
        *processes.packages(settings, playbook_dir),
        *processes.files(settings, playbook_dir),
        *processes.command(settings),
        *processes.environment(settings),
        *processes.batch(settings),
        *processes.series(settings),
        *ports.numbers(settings),
        *ports.apart(settings, facts),
        *ports.nginx_in_use(settings, facts),
        *processes.programs(settings, facts),
    ]


def shapes(settings: Settings) -> Iterator[str]:
    """Lists are lists, and dictionaries are."""
    for variable in ("tornado_app_packages", "tornado_app_nginx_trusted_proxies"):
        if not isinstance(settings.given[variable], list):
            yield settings.error(variable, "a list")
    if not isinstance(settings.given["tornado_app_environment"], dict):
        # What it is may hold a secret.
        yield settings.error("tornado_app_environment", "a dictionary", "another type")
