"""Several apps on one nginx: one server, a path each, and each comes and goes on its own."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado_drain.listener import Listener

from tests.support.home import Home
from tests.support.net import free_ports
from tests.support.nginx import unprivileged
from tests.support.role import BARE, Role


class Nginx:
    """A real nginx that has the files of some apps where the role puts them, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        (folder / "conf.d").mkdir()
        (folder / "nginx").mkdir()
        self._main = folder / "nginx.conf"
        include = [str(folder / "conf.d/*.conf")]
        main = self.role(__tornado_app_nginx_includes=include).render("nginx.conf.j2")
        self._main.write_text(unprivileged(main, folder))

    def role(self, **variables: Any) -> Role:
        """The role, as it finds this host."""
        locations = (self.folder / "tornado-app").glob("*/*.conf")
        return Role(
            tornado_app_home=str(self.folder),
            tornado_app_nginx_listen=f"127.0.0.1:{self.port}",
            __tornado_app_nginx_log=str(self.folder),
            __tornado_app_nginx_sites=str(self.folder / "tornado-app"),
            __tornado_app_host=BARE | {"locations": [str(path) for path in locations]},
            **variables,
        )

    def here(self, path: str) -> Path:
        """Where a file is in place of /etc/nginx."""
        return Path(path.replace("/etc/nginx", str(self.folder)))

    def check(self) -> None:
        """Let nginx judge what there is."""
        command = ["nginx", "-t", "-q", "-c", str(self._main)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "[warn]" not in done.stderr

    def remove(self, role: Role, *more: str) -> None:
        """Remove what the role removes; after each step nginx must still accept what is left."""
        for path in [*role("{{ __tornado_app_nginx.gone }}"), *more]:
            gone = self.here(path)
            shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
            self.check()

    def put(self, **variables: Any) -> None:
        """Put an app's files in their places as the role does, and likewise check each step."""
        role = self.role(**variables)
        files = role("{{ __tornado_app_nginx }}")
        candidate = role.render("nginx_site.conf.j2")
        assert all(path in candidate for path in files["neighbours"])
        Path(files["folder"]).mkdir(parents=True, exist_ok=True)
        templates = ("nginx_server.conf.j2", "nginx_app.conf.j2", "nginx_locations.conf.j2")
        for path, template in zip(("server", "http", "locations"), templates, strict=True):
            self.here(files[path]).write_text(role.render(template))
            self.check()
        self.remove(role)

    def drop(self, **variables: Any) -> None:
        """Remove an app."""
        role = self.role(tornado_app_state="absent", **variables)
        self.remove(role, role("{{ __tornado_app_nginx.http }}"))

    def start(self) -> subprocess.Popen[bytes]:
        """Start it."""
        daemon = ["nginx", "-c", str(self._main), "-g", "daemon off; master_process off;"]
        return subprocess.Popen(daemon)

    def ask(self, path: str, host: str = "localhost", data: bytes | None = None) -> tuple[int, str]:
        """Ask it, as it is configured now; returns status and body."""
        server = self.start()
        try:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
            request.add_header("Host", host)
            while True:
                try:
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        return answer.status, answer.read().decode()
                except urllib.error.HTTPError as error:
                    return error.code, ""
                except OSError:
                    assert server.poll() is None
                    time.sleep(0.05)
        finally:
            server.terminate()
            server.wait()


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    """An nginx without any app."""
    tmp_path.chmod(0o755)
    return Nginx(tmp_path)


def app(home: Home, name: str, path: str, **variables: Any) -> dict[str, Any]:
    """The variables of an app whose processes are those of a home."""
    return {
        "tornado_app_name": name,
        "tornado_app_nginx_path": path,
        "tornado_app_nginx_path_strip": path != "/",
        "__tornado_app_nginx_endpoints": [home.listen(port) for port in home.ports],
    } | variables


@pytest.mark.parametrize("sticky", ["", "cookie", "address"])
def test_each_comes_and_goes_on_its_own(
    make_home: Callable[..., Home], nginx: Nginx, sticky: str
) -> None:
    home, other = make_home(processes=2), make_home(processes=2)
    home.ctl("rollout", home.add("one"))
    other.ctl("rollout", other.add("two"))
    one = app(home, "one", "/", tornado_app_nginx_sticky=sticky)
    two = app(other, "two", "/two/")
    nginx.put(**two)
    assert nginx.ask("/")[0] == 404
    nginx.put(**one)
    assert nginx.ask("/")[1].startswith("one ")
    assert nginx.ask("/two/")[1].startswith("two ")
    assert nginx.ask("/two/-/ready")[0] == 404
    # To another path and to a server of its own, and back.
    nginx.put(**two | {"tornado_app_nginx_path": "/second/"})
    assert nginx.ask("/second/")[1].startswith("two ")
    assert nginx.ask("/two/")[0] == 404  # of `one`, which has no such page
    nginx.put(**two | {"tornado_app_nginx_server_name": "two.test"})
    assert nginx.ask("/two/", "two.test")[1].startswith("two ")
    assert nginx.ask("/", "two.test")[0] == 404
    nginx.put(**two)
    assert len([*nginx.folder.glob("conf.d/*")]) == 3
    nginx.drop(**one)
    assert nginx.ask("/")[0] == 404
    assert nginx.ask("/two/")[1].startswith("two ")
    nginx.drop(**two)
    assert [*nginx.folder.glob("conf.d/*"), *nginx.folder.glob("tornado-app/*")] == []


@contextlib.contextmanager
def slow_to_refuse() -> Iterator[str]:
    """The address of a process amid its drain: who connects now is refused a second later."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        listener = Listener(sock, lambda connection, address: connection.close())
        listener.hold_off()
        closes = threading.Timer(1.5, listener.accept_rest, [lambda connection, address: None])
        closes.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        closes.join()


@contextlib.contextmanager
def cuts(listen: str) -> Iterator[str]:
    """The address of a process that dies while it has a request: on a port, or below a folder."""
    path = Path(listen, "cuts.sock")
    with socket.socket(socket.AF_INET if listen == "port" else socket.AF_UNIX) as sock:
        sock.bind(("127.0.0.1", 0) if listen == "port" else str(path))
        sock.listen()
        address = f"127.0.0.1:{sock.getsockname()[1]}" if listen == "port" else f"unix:{path}"

        def cut() -> None:
            connection, _ = sock.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        yield address
        thread.join()


@pytest.mark.parametrize(
    ("listener", "path", "cut", "expected"),
    [
        ("unix", "/shop/", "", 200),
        ("port", "/", "", 200),
        ("unix", "/", "port", 502),
        ("port", "/", "unix", 502),
    ],
)
def test_a_post_amid_a_change_of_listener(
    make_home: Callable[..., Home],
    nginx: Nginx,
    listener: str,
    path: str,
    cut: str,
    expected: int,
) -> None:
    """It is asked again where no process was sent it, whatever nginx thinks; else never."""
    home = make_home(processes=1, listener=listener)
    home.ctl("rollout", home.add("one"))
    variables = app(home, "one", path, tornado_app_nginx_connect_timeout_ms=5000)
    first = [f"127.0.0.1:{free_ports(1)[0]}", f"unix:{home.path}/missing.sock"]
    with contextlib.ExitStack() as stack:
        if cut != "port":
            first.append(stack.enter_context(slow_to_refuse()))
        if cut:
            first.append(stack.enter_context(cuts(cut if cut == "port" else str(home.path))))
        variables["__tornado_app_nginx_endpoints"][:0] = first
        nginx.put(**variables)
        assert nginx.ask(path, data=b"x")[0] == expected
