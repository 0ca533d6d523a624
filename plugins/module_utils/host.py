"""Looks at a host: all that the role needs to know of it. Nothing there is changed.

Runs on the host: standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .interpreter import about
from .proc import listening_ports
from .release import is_program, releases

if TYPE_CHECKING:
    from collections.abc import Iterator

NGINX = Path("/etc/nginx")
SHARED_FOLDERS = ("/etc/nginx/conf.d", "/run", "/usr/local/sbin", "/var/lib", "/var/log")
RECORD = re.compile(r"^# tornado_app: .*?(\{.*\})$", re.MULTILINE)
NOT_THERE = 2


def run(command: list[str], stdin: bytes = b"") -> tuple[int, str, str]:
    """Run a command; returns its exit code (2 where it can't be started), stdout and stderr."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    except OSError:
        return NOT_THERE, "", ""
    return (
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


def names_in(folder: Path) -> list[str] | None:
    """Name what is in a folder, sorted; None if it is not there."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return None


def files_below(folder: Path, suffix: str = "") -> list[Path]:
    """Find the files below a folder, at any depth, sorted."""
    found = []
    for parent, _, names in os.walk(folder):
        found += [Path(parent, name) for name in names if name.endswith(suffix)]
    return sorted(found)


def text_of(path: Path) -> str:
    """Read a file; empty where that can't be."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def nginx_version() -> str:
    """Ask nginx for its version; "0" where it does not say."""
    status, _, text = run(["nginx", "-v"])
    found = re.search(r"/([0-9.]+)", text)
    return (found[1] if found else "0") if status == 0 else ""


def endpoints(home: Path, name: str) -> list[str]:
    """Ask the app's ctl where its processes listen."""
    _, output, _ = run([str(home / "bin" / f"{name}-ctl"), "endpoints"])
    with contextlib.suppress(ValueError):
        return [str(endpoint) for endpoint in json.loads(output)]
    return []


def user(name: str) -> dict[str, Any] | None:
    """Look a user up; None if there is none."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return {
        "uid": found.pw_uid,
        "gid": found.pw_gid,
        "comment": found.pw_gecos,
        "shell": found.pw_shell,
        "home": found.pw_dir,
    }


def unit(name: str) -> str:
    """Read the files of a unit; empty if there is none."""
    status, output, _ = run(["systemctl", "cat", f"{name}.service"])
    return output if status == 0 else ""


def namesakes(name: str) -> list[str]:
    """Find what goes by the app's name where several programs have their files."""
    wanted = {name, f"{name}.conf", f"{name}-ctl"}
    return sorted(
        f"{folder}/{found}"
        for folder in SHARED_FOLDERS
        for found in wanted.intersection(names_in(Path(folder)) or [])
    )


def sites() -> Iterator[dict[str, Any]]:
    """Read what apps have told each other in comments of nginx's files."""
    for file in files_below(NGINX / "conf.d") + files_below(NGINX / "tornado-app"):
        for record in RECORD.findall(text_of(file)):
            with contextlib.suppress(ValueError):
                yield json.loads(record)


def nginx_includes() -> list[str]:
    """Find the files that Debian's nginx.conf includes, but for the default site."""
    found = [*(NGINX / "conf.d").glob("[!.]*.conf"), *(NGINX / "sites-enabled").glob("[!.]*")]
    return sorted(str(path) for path in found if path.name != "default")


def worker_shutdown_timeout() -> int:
    """Read what the role has told nginx of its workers; 0 if nothing."""
    found = re.search("[0-9]+", text_of(NGINX / "modules-enabled/tornado-app.conf"))
    return int(found[0]) if found else 0


def is_file(path: str) -> bool:
    """Tell whether a file is there; no where we may not look."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file() raises there


def pem_file(openssl: list[str], path: str, content: str | None) -> dict[str, Any]:
    """Ask openssl for the public key of a certificate or a key.

    Args:
        openssl: its arguments.
        path: on this host.
        content: of one that is not on this host.
    """
    if content is not None:
        data, exists = content.encode(), content != ""
    else:
        exists = is_file(path)
        data = Path(path).read_bytes() if exists and os.access(path, os.R_OK) else b""
    if not exists:
        return {"exists": False, "status": 1, "public_key": "", "checksum": ""}
    status, public_key, _ = run(["openssl", *openssl], data)
    return {
        "exists": True,
        "status": status,
        "public_key": public_key if status == 0 else "",
        "checksum": hashlib.sha256(data).hexdigest(),
    }


def certificates(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Look at the certificate and its key, wherever they are; nothing where none is asked for."""
    certificate = options["certificate"], options["certificate_content"]
    key = options["key"], options["key_content"]
    if certificate == key == ("", None):
        return []
    return [
        pem_file(["x509", "-noout", "-pubkey"], *certificate),
        pem_file(["pkey", "-pubout", "-passin", "pass:"], *key),
    ]


def accepts(path: Path) -> bool:
    """Tell whether somebody takes connections on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


def tools(home: Path) -> str:
    """Find the version of supervisor in the tools' virtual environment."""
    found = sorted(home.glob("tools/lib/*/site-packages/supervisor-*.dist-info"))
    return found[-1].name[len("supervisor-") : -len(".dist-info")] if found else ""


def system(options: dict[str, Any]) -> dict[str, Any]:
    """Look at what belongs to the system, not to the app alone."""
    if options["rootless"]:
        found = None
        files: dict[str, Any] = {
            "unit": "",
            "namesakes": [],
            "sites": [],
            "locations": [],
            "nginx_includes": [],
            "worker_shutdown_timeout": 0,
        }
    else:
        found = user(options["user"])
        files = {
            "unit": unit(options["name"]),
            "namesakes": namesakes(options["name"]),
            "sites": list(sites()),
            "locations": [str(path) for path in files_below(NGINX / "tornado-app", ".conf")],
            "nginx_includes": nginx_includes(),
            "worker_shutdown_timeout": worker_shutdown_timeout(),
        }
    foreign = found is not None and found["comment"] != options["user_comment"]
    return {"user": found, "foreign_user": foreign, **files}


def host_facts(options: dict[str, Any]) -> dict[str, Any]:
    """Look at the host.

    Args:
        options: the module's, by name.

    Returns:
        The facts, as the module documents them; see also `HostFacts`.
    """
    home = Path(options["home"])
    in_home = names_in(home)
    platform = about(options["python"])
    return {
        "python": platform.get("path", ""),
        "platform": platform,
        "nginx": nginx_version(),
        "listening": listening_ports(),
        "endpoints": endpoints(home, options["name"]),
        "home": in_home,
        "ours": "configurations" in (in_home or []),
        **system(options),
        "certificates": certificates(options),
        "supervisord": accepts(Path(options["run"]) / "supervisor.sock"),
        "tools": tools(home),
        "releases": releases(home),
        "program": options["program"].startswith("/") and is_program(options["program"], home),
    }
