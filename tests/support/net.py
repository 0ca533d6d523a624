"""Free ports and certificates."""

import socket
import subprocess
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on, in order."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = sorted(s.getsockname()[1] for s in sockets)
    for s in sockets:
        s.close()
    return ports


def make_certificate(certificate: Path, key: Path, name: str = "localhost") -> None:
    """Write a self-signed certificate for `name` and its key, as PEM."""
    certificate.parent.mkdir(parents=True, exist_ok=True)
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
