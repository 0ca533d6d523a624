"""What nginx is told: ports, where an app's files are, and which certificate it has."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

# nginx reads these on every distribution that Debian's package is for.
CONF_D = PurePosixPath("/etc/nginx/conf.d")

# One folder below this for each server, with a file for each of its apps.
SITES = PurePosixPath("/etc/nginx/tornado-app")


def port(listen: object) -> int:
    """Return the port of an address such as ``80``, ``127.0.0.1:80`` or ``unix:/run/80.sock``.

    Returns:
        The port, 0 where the address has none.
    """
    name = str(listen).removesuffix(".sock")
    last = name.replace("/", ":").rpartition(":")[2]
    return int(last) if last.isdecimal() else 0


def unmixed(endpoints: Iterable[str]) -> dict[str, list[str]]:
    """Part an upstream's addresses where some are unix sockets and some are not.

    Returns:
        Those of ``sockets`` and those of ``ports``; nothing where all are of one kind.
    """
    kinds: dict[str, list[str]] = {"sockets": [], "ports": []}
    for endpoint in endpoints:
        kinds["sockets" if endpoint.startswith("unix:") else "ports"].append(endpoint)
    return kinds if all(kinds.values()) else {}


def site_id(listen: object, server_name: str) -> str:
    """Name the server that all apps with this address and these host names share."""
    text = json.dumps([str(listen), str(server_name)])
    return f"site_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def nginx_files(
    found: Iterable[str],
    name: str,
    listen: object,
    server_name: str,
    present: bool = True,
    sites: str = str(SITES),
) -> dict[str, Any]:
    """Say which of nginx's files are an app's.

    An app has a file for nginx's http block and one for the server block that it shares with all
    apps of the same ``listen`` and ``server_name``.

    Args:
        found: the paths below `sites` that are on the host, one for each app that is deployed.
        name: the app's.
        listen: where its server listens.
        server_name: its host names.
        present: whether the app is to be there in these files, not to be removed from them.
        sites: the folder of all servers.

    Returns:
        ``site`` and ``app``: how nginx's own names for the server and the app begin.
        ``folder``: the server's. ``server``, ``http``, ``locations``: the server's file, the app's
        for the http block, and the app's for the server block.
        ``neighbours``: the files of other apps on the same server.
        ``gone``: paths that are to be removed, in this order.
    """
    site = site_id(listen, server_name)
    folder = PurePosixPath(sites) / site
    locations = folder / f"{name}.conf"
    paths = [PurePosixPath(path) for path in sorted(found)]
    own = [path for path in paths if path.name == locations.name]
    others = [path for path in paths if path not in own]
    left = [path for path in own if not present or path != locations]
    used = {path.parent for path in others}
    empty = [path.parent for path in left if path.parent not in used]
    servers = [CONF_D / f"{path.name}.conf" for path in empty]
    return {
        "site": site,
        "app": f"app_{name.replace('-', '_')}",
        "folder": str(folder),
        "server": str(CONF_D / f"{site}.conf"),
        "http": str(CONF_D / f"{name}.conf"),
        "locations": str(locations),
        "neighbours": [str(path) for path in others if path.parent == folder],
        "gone": [str(path) for path in [*left, *servers, *empty]],
    }


def certificate_kind(certificate: str) -> str:
    """Say where a certificate comes from: ``none``, ``self-signed``, ``host`` or ``controller``."""
    if not certificate:
        return "none"
    if certificate == "self-signed":
        return "self-signed"
    return "host" if certificate.startswith("/") else "controller"
