"""Where packages come from, real and on this machine: an index, git over ssh and over http."""

import base64
import gzip
import hashlib
import http.server
import io
import os
import pwd
import socket
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.net import free_ports
from tests.support.paths import BIN
from tests.support.wait import until

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


def metadata(name: str, version: str) -> str:
    """What PKG-INFO or METADATA say of a package that needs nothing."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def make_wheel(folder: Path, name: str, version: str, code: str) -> Path:
    """Write a wheel with one module.

    Returns:
        Its path.
    """
    module = name.replace("-", "_")
    information = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": code,
        f"{information}/METADATA": metadata(name, version),
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{n},,\n" for n in [*files, f"{information}/RECORD"])
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for inner, text in files.items():
            archive.writestr(inner, text)
    return wheel


def make_sdist(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """Write a sdist that setuptools builds.

    Returns:
        Its path.
    """
    top = f"{name.replace('-', '_')}-{version}"
    sdist = folder / f"{top}.tar.gz"
    contents = {"PKG-INFO": metadata(name, version), "pyproject.toml": SETUPTOOLS, **files}
    with gzip.open(sdist, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for inner, text in contents.items():
            member = tarfile.TarInfo(f"{top}/{inner}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return sdist


def make_repository(bare: Path, files: Mapping[str, str], branch: str = "main") -> None:
    """Make a bare git repository with one commit."""
    with tempfile.TemporaryDirectory() as folder:
        for inner, text in files.items():
            Path(folder, inner).write_text(text)
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@localhost"]
        for command in (
            ["init", "--quiet", f"--initial-branch={branch}"],
            ["add", "--all"],
            ["commit", "--quiet", "--message", "all"],
            ["clone", "--quiet", "--bare", ".", str(bare)],
        ):
            subprocess.run([*git, *command], cwd=folder, check=True)


@contextmanager
def server(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Within this context a program listens on a port of this machine."""
    with log.open("a") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: listens(port) or process.poll() is not None, tell=log.read_text)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait()


def listens(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def index(folder: Path, port: int, user: str, password: str) -> Iterator[Path]:
    """Within this context an index has what is in a folder, for one user.

    Returns:
        The folder.
    """
    packages = folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    hashed = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    (folder / "htpasswd").write_text(f"{user}:{{SHA}}{hashed}\n")
    command = [str(BIN / "pypi-server"), "run", "--interface", "127.0.0.1", "--port", str(port)]
    # wsgiref, since a server that happens to be installed would be taken else.
    command += ["--server", "wsgiref", "--disable-fallback", "--hash-algo", "sha256"]
    command += ["--passwords", str(folder / "htpasswd"), "--authenticate", "update,download,list"]
    with server([*command, str(packages)], port, folder / "log"):
        yield packages


@dataclass
class Ssh:
    """A server, and what a client needs that may use it.

    Attributes:
        url: of the machine; a path follows.
        environment: of the client.
    """

    url: str
    environment: dict[str, str]


@contextmanager
def sshd(folder: Path) -> Iterator[Ssh]:
    """Within this context a server takes a key that nobody has but an agent.

    Args:
        folder: for its files; its path leaves room for a unix socket.
    """
    for name in ("host", "client"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    [port] = free_ports(1)
    (folder / "client.pub").rename(folder / "authorized_keys")
    known = f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}"
    (folder / "known_hosts").write_text(known)
    (folder / "sshd_config").write_text(
        f"""\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""
    )
    if os.getuid() == 0:
        # Where the distribution's own server has never been started.
        Path("/run/sshd").mkdir(exist_ok=True)
    environment = {
        "SSH_AUTH_SOCK": str(folder / "agent"),
        "GIT_SSH_COMMAND": f"ssh -F /dev/null -o UserKnownHostsFile={folder}/known_hosts "
        "-o IdentitiesOnly=no -o BatchMode=yes",
    }
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    agent = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(folder / "agent")], stdout=subprocess.DEVNULL
    )
    try:
        until((folder / "agent").exists)
        subprocess.run(
            ["ssh-add", "-q", str(folder / "client")], env=os.environ | environment, check=True
        )
        (folder / "client").unlink()
        with server(command, port, folder / "log"):
            user = pwd.getpwuid(os.getuid()).pw_name
            yield Ssh(f"ssh://{user}@127.0.0.1:{port}", environment)
    finally:
        agent.terminate()
        agent.wait()


@contextmanager
def git_over_http(folder: Path, user: str, password: str) -> Iterator[int]:
    """Within this context git's own server has the repositories in a folder, for one user.

    Returns:
        Its port.
    """
    told = base64.b64encode(f"{user}:{password}".encode()).decode()
    own = {"GIT_PROJECT_ROOT": str(folder), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": user}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get_all("Authorization") != [f"Basic {told}"]:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            request = {
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            answer = subprocess.run(
                ["git", "http-backend"],
                input=self.rfile.read(int(self.headers.get("Content-Length", "0"))),
                env=os.environ | own | request,
                stdout=subprocess.PIPE,
                check=False,
            ).stdout
            head, _, body = answer.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield serving.server_address[1]
        finally:
            serving.shutdown()
            thread.join()


@contextmanager
def command_lines() -> Iterator[set[str]]:
    """Within this context the command lines of all processes are written down."""
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    line = (process / "cmdline").read_bytes()
                except OSError:  # it has ended
                    continue
                found.add(line.replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
