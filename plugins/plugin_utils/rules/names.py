"""Rules for the app's name, its user and its home: they belong to this app and nothing else."""

import re
from collections.abc import Iterator

from ..facts import HostFacts
from ..settings import Settings


def name(settings: Settings) -> Iterator[str]:
    """What so much is named by is a plain word."""
    if not re.fullmatch("[a-z][a-z0-9-]{0,30}", settings.name):
        yield settings.error(
            "tornado_app_name",
            "a small letter, then at most 30 small letters, digits and hyphens",
        )


def user(settings: Settings) -> Iterator[str]:
    """The processes run as an unprivileged user."""
    given = settings.text("tornado_app_user")
    if settings.rootless:
        return
    if not re.fullmatch("[a-z_][a-z0-9_-]{0,31}", given) or given == "root":
        yield settings.error("tornado_app_user", "the name of a user of its own, not root")


def namesakes(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """No unit, folder, program or user of that name belongs to something else."""
    if settings.rootless:
        return
    name, user = settings.name, settings.text("tornado_app_user")
    unit = facts["unit"]
    if unit and f"{settings.home}/" not in unit:
        path = re.search("/[^ \n]+", unit)
        yield settings.error(
            "tornado_app_name",
            f"a name that no other service has: {name}.service is {path[0] if path else 'there'},"
            " not of this role",
        )
    for namesake in [] if facts["ours"] else sorted(facts["namesakes"]):
        yield settings.error(
            "tornado_app_name",
            f"a name that nothing else on this host goes by: {namesake} is not of this role",
        )
    if facts["foreign_user"] and user == name:
        yield settings.error(
            "tornado_app_name",
            f"a name that no user has, or tornado_app_user: this host has a user {user}"
            " that is not of this role",
        )


def home(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """The home is a folder that the role may fill, and that every configuration can name."""
    if not facts["ours"] and facts["home"]:
        yield settings.error(
            "tornado_app_home", "a folder that this role made, an empty one, or none yet"
        )
    if not re.fullmatch(r"""/[^\s"';#%{}$]+[^/\s"';#%{}$]""", settings.home):
        yield settings.error(
            "tornado_app_home", "an absolute path without spaces, quotes or any of ; # % { } $"
        )
