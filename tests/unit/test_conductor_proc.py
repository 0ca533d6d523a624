"""What the conductor reads of processes and asks them, on real sockets and processes."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conductor import proc
from conductor.probe import ask

from tests.support.wait import until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with a socket that it inherited."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        child = subprocess.Popen(
            ["sleep", "60"],
            close_fds=False,
            process_group=0,
            env=os.environ | {"PORT": str(server.getsockname()[1])},
        )
    until(lambda: proc.command(child.pid) == "sleep 60")
    yield child
    child.kill()
    child.wait()


def test_a_process_and_its_end(child: subprocess.Popen[bytes]) -> None:
    assert child.pid in proc.all_pids()
    assert proc.alive(child.pid)
    assert proc.parent(child.pid) == os.getpid()
    assert proc.started(child.pid).isdecimal()
    assert int(proc.started(child.pid)) >= int(proc.started(os.getpid()))
    child.kill()
    until(lambda: not proc.alive(child.pid))
    assert proc.started(child.pid) != "", "it has ended, but is not reaped yet"
    child.wait()
    assert not proc.alive(child.pid)
    assert (proc.started(child.pid), proc.parent(child.pid)) == ("", 0)
    for look in (proc.command, proc.environment, proc.socket_inodes):
        with pytest.raises(OSError, match="No such"):
            look(child.pid)


def test_ancestors() -> None:
    ancestors = proc.ancestors()
    assert ancestors[os.getppid()] == proc.started(os.getppid())
    assert os.getpid() not in ancestors


def test_who_listens_on_a_port(child: subprocess.Popen[bytes]) -> None:
    port = proc.environment(child.pid)["PORT"]
    assert proc.listening_ports()[port] == {"pid": child.pid, "command": "sleep 60"}
    assert proc.listens(child.pid, f"127.0.0.1:{port}")
    assert not proc.listens(os.getpid(), f"127.0.0.1:{port}")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = str(server.getsockname()[1])
        assert proc.listening_ports()[port]["pid"] == os.getpid()
        assert proc.listens(os.getpid(), f"[::1]:{port}")
        assert not proc.listens(child.pid, f"[::1]:{port}")
    assert port not in proc.listening_ports()


def test_of_two_processes_the_one_that_began_the_socket_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.set_inheritable(server.fileno(), True)
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        try:
            assert proc.listening_ports()[str(server.getsockname()[1])]["pid"] == os.getpid()
        finally:
            child.kill()
            child.wait()


def test_a_process_listens_where_a_child_of_its_group_does(short_path: Path) -> None:
    path = short_path / "a.sock"
    code = (
        "import os, socket, sys, time\n"
        "if os.fork(): time.sleep(60)\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)"
    )
    leader = subprocess.Popen([sys.executable, "-c", code, path], process_group=0)
    try:
        until(lambda: str(path) in dict(proc.listening_sockets()))
        assert proc.listens(leader.pid, f"unix:{path}")
        assert not proc.listens(os.getpid(), f"unix:{path}")
    finally:
        os.killpg(leader.pid, 9)
        leader.wait()


def serve(server: socket.socket, answer: bytes) -> list[bytes]:
    """Answer the next connection, and close it; returns where its request will be."""
    asked: list[bytes] = []

    def once() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(answer)

    threading.Thread(target=once, daemon=True).start()
    return asked


def test_asking_over_tcp_and_over_a_unix_socket(short_path: Path) -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(short_path / "a.sock"))
    unix.listen()
    for server, listen in (
        (tcp, f"127.0.0.1:{tcp.getsockname()[1]}"),
        (unix, f"unix:{short_path}/a.sock"),
    ):
        asked = serve(server, answer)
        assert asyncio.run(ask(listen, "/-/ready?x=1")) == (503, b"no")
        assert asked[0].startswith(b"GET /-/ready?x=1 HTTP/1.1\r\nHost: localhost\r\n")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"HTTP/1.1 fine\r\n\r\n", b"\0" * 100])
def test_what_is_no_answer(answer: bytes) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    listen = f"127.0.0.1:{server.getsockname()[1]}"
    serve(server, answer)
    assert asyncio.run(ask(listen, "/")) == (0, b"")
    assert asyncio.run(ask(listen, "/")) == (0, b""), "nobody listens any more"


def test_who_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        assert asyncio.run(ask(listen, "/", timeout=0.05)) == (0, b"")
