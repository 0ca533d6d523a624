"""Asks a Python what it is.

Runs on the controller and on hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import subprocess

ABOUT = """
import json, platform, sys, sysconfig
print(json.dumps({
    "path": sys.executable,
    "implementation": sys.implementation.name,
    "version": "%d.%d" % sys.version_info[:2],
    "machine": sysconfig.get_platform(),
    "libc": " ".join(platform.libc_ver()).strip(),
}))
"""


def about(python: str) -> dict[str, str]:
    """Ask a Python what wheels are for it.

    Args:
        python: its path, or a program in the PATH.

    Returns:
        ``path``, ``implementation`` (such as cpython), ``version`` (3.11), ``machine``
        (linux-x86_64) and ``libc`` (glibc 2.36, empty where it is another one); nothing where there
        is no such Python.
    """
    try:
        done = subprocess.run([python, "-c", ABOUT], capture_output=True, text=True, check=False)
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError):
        return {}
    return found


def title(platform: dict[str, str]) -> str:
    """Name a platform, for people and for what is kept by it."""
    return f"{platform['implementation']} {platform['version']}, {platform['machine']}"


def fits(builder: dict[str, str], host: dict[str, str]) -> bool:
    """Tell whether wheels that one platform has built run on another.

    A libc runs what was linked with an older one (https://peps.python.org/pep-0600/).

    Args:
        builder: of the Python that builds, as `about` tells; maybe nothing.
        host: of the host's Python.
    """
    if not builder or title(builder) != title(host):
        return False
    (builder_libc, builder_version), (libc, version) = map(_libc, (builder, host))
    return builder_libc == libc and builder_version <= version


def _libc(platform: dict[str, str]) -> tuple[str, list[int]]:
    name, _, version = platform["libc"].partition(" ")
    return name, [int(part) for part in version.split(".") if part.isdigit()]
