"""Rules for the ports: there are such, each is for one thing, and nobody else has them."""

import os
import re
from collections.abc import Iterator

from ..facts import HostFacts
from ..settings import Settings

# sun_path of unix(7), less the byte that ends it.
SOCKET_PATH_BYTES = 107


def numbers(settings: Settings) -> Iterator[str]:
    """The ports of all processes and of the trial are ports, and not the same."""
    base = settings.integer("tornado_app_base_port")
    if base <= 0 or max(settings.all_ports, default=0) > 65535:
        yield settings.error(
            "tornado_app_base_port",
            f"a port from which all {settings.text('tornado_app_processes')} processes"
            " fit below 65536",
        )
    trial = settings.integer("tornado_app_trial_port")
    if settings.integer("tornado_app_trial") != 0 and (
        not 0 < trial < 65536 or trial in settings.ports
    ):
        yield settings.error("tornado_app_trial_port", "a port that no process has")


def apart(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """Processes have addresses of their own: ports that are free, or sockets."""
    if not settings.on_ports:
        longest = f"{settings.text('__tornado_app_run')}/65535.sock"
        if len(os.fsencode(longest)) > SOCKET_PATH_BYTES:
            yield settings.error(
                "tornado_app_home",
                "a path short enough for the sockets under it (107 bytes, unix(7)),"
                " or tornado_app_listener: port",
            )
        return
    ports = settings.all_ports
    for variable, port in settings.nginx_ports.items():
        if port in ports:
            yield settings.error(
                variable,
                "a port that no process has (tornado_app_base_port, tornado_app_trial_port)",
            )
    own = {int(found[0]) for e in facts["endpoints"] if (found := re.search("[0-9]+$", e))}
    for port in ports:
        listener = facts["listening"].get(str(port))
        if listener is None or port in own or f"{settings.home}/" in listener["command"]:
            continue
        yield settings.error(
            settings.port_variable(port),
            f"ports that are free; {port} is in use by {listener['command'] or 'another program'}",
        )


def nginx_in_use(settings: Settings, facts: HostFacts) -> Iterator[str]:
    """Where nginx is to listen, nobody but nginx does: without root, the app's own."""
    for variable, port in settings.nginx_ports.items():
        listener = facts["listening"].get(str(port))
        if listener is None:
            continue
        command = listener["command"]
        ours = not settings.rootless or f"{settings.home}/" in command
        if not command.startswith("nginx: ") or not ours:
            yield settings.error(
                variable,
                f"a port that is free; it is in use by {command or 'another program'}",
            )
