"""What the module `host_facts` says of a host."""

from typing import Any, TypedDict


class Listener(TypedDict):
    """Who listens on a TCP port: the process that began it, and its command line."""

    pid: int | None
    command: str


class CertificateFile(TypedDict):
    """A certificate or a key: whether it is there, and what openssl says of it.

    ``status`` is openssl's exit code: 0 means that ``public_key`` is known, 2 that there is no
    openssl. ``checksum`` is the SHA-256 of the content.
    """

    exists: bool
    status: int
    public_key: str
    checksum: str


class User(TypedDict):
    """An entry of the password database (passwd(5))."""

    uid: int
    gid: int
    comment: str
    shell: str
    home: str


class Release(TypedDict):
    """A release that is installed: its lock, the names of its programs, whether it should run."""

    lock: str
    programs: list[str]
    current: bool


class HostFacts(TypedDict):
    """All that the role needs to know of a host; empty where there is nothing."""

    python: str
    platform: dict[str, str]
    nginx: str
    listening: dict[str, Listener]
    endpoints: list[str]
    home: list[str] | None
    ours: bool
    user: User | None
    foreign_user: bool
    unit: str
    namesakes: list[str]
    sites: list[dict[str, Any]]
    locations: list[str]
    nginx_includes: list[str]
    worker_shutdown_timeout: int
    certificates: list[CertificateFile]
    supervisord: bool
    tools: str
    releases: dict[str, Release]
    program: bool
