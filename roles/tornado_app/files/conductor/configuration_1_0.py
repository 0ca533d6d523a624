"""Configurations that version 1.0 of the kit wrote.

They say of a process only what supervisord needs. A host that was deployed by 1.0 has one, and can
be upgraded from it and go back to it.
"""

import configparser
import re
from pathlib import Path


def upgrade(parser: configparser.RawConfigParser) -> None:
    """Add the keys that 1.0 did not write; does nothing to a configuration that has them.

    Raises:
        KeyError: it is not whole.
    """
    if "log" in parser["tornado_app"]:
        return
    app = parser["tornado_app"]
    programs = {
        section.removeprefix("program:"): parser[section]
        for section in parser.sections()
        if section.startswith("program:")
    }
    if "trial" in parser:
        programs[f"{app['name']}-trial"] = parser["trial"]
    for name, program in programs.items():
        variables = dict(re.findall(r'(\w+)="([^"]*)"', program["environment"]))
        log = program["stdout_logfile"].replace("%%", "%")
        parser[f"process:{name}"] = {
            "port": variables["TORNADO_DRAIN_PORT"],
            "listen": variables["TORNADO_DRAIN_LISTEN"].replace("%%", "%"),
            "log": log,
        }
        app["stopwaitsecs"] = program["stopwaitsecs"]
        app["log"] = str(Path(log).parent)
