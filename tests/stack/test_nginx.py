"""What nginx adds at the edge, by the real playbook: TLS, request ids, JSON logs, metrics."""

import asyncio
import http.client
import json
import re
import socket
import ssl
import stat
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.net import make_certificate
from tests.support.paths import ROOT
from tests.support.stack import Stack, changed

# A client that is trusted to name its requests; all of 127.0.0.0/8 is this machine.
PROXY = "127.0.0.2"

HTTPS = 9411
METRICS = 9412
HSTS = "Strict-Transport-Security"


class Edge(Stack):
    """A stack that speaks TLS, and whose clients come from different addresses."""

    def trust(self) -> ssl.SSLContext:
        """A client that trusts the one certificate that is deployed, and no other."""
        [certificate] = (self.home / "nginx/certificates").glob("*.pem")
        return ssl.create_default_context(cafile=certificate)

    def ask(
        self, path: str, method: str = "GET", client: str = "127.0.0.1", **headers: str
    ) -> http.client.HTTPResponse:
        """Ask through nginx on a connection of its own; the body can still be read."""
        connection = http.client.HTTPSConnection(
            "localhost", HTTPS, timeout=10, source_address=(client, 0), context=self.trust()
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        return connection.getresponse()

    def handshake(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A connection on which nothing is asked yet; raises `ssl.SSLError` or `OSError`."""
        plain = socket.create_connection(("127.0.0.1", HTTPS), 10)
        return context.wrap_socket(plain, server_hostname="localhost")

    def logged(self, request_id: str | None) -> dict[str, Any]:
        """The line of nginx's access log, each of which is JSON, on this request."""
        deadline = time.monotonic() + 5
        while True:
            lines = self.access_log()
            for line in lines:
                if line["request_id"] == request_id:
                    found: dict[str, Any] = line
                    return found
            assert time.monotonic() < deadline, lines
            time.sleep(0.1)

    def pids(self) -> list[int]:
        """Of the processes and of nginx's master."""
        nginx = int((self.home / "run/nginx.pid").read_text())
        return [nginx, *(process["pid"] for process in self.status()["processes"])]


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """A stack with a self-signed certificate."""
    stack = Edge(
        "edge",
        9403,
        tornado_app_nginx_trusted_proxies=[PROXY],
        tornado_app_nginx_tls_certificate="self-signed",
        tornado_app_nginx_tls_listen=f"127.0.0.1:{HTTPS}",
        tornado_app_nginx_tls_hsts=300,
        tornado_app_nginx_metrics_listen=f"127.0.0.1:{METRICS}",
    )
    with stack.deployed():
        yield stack


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls(edge: Edge, version: ssl.TLSVersion) -> None:
    context = edge.trust()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    with edge.handshake(context) as connection:
        assert connection.version() == version.name.replace("_", ".")
        assert connection.selected_alpn_protocol() == "h2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL"),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256:AES256-SHA"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384"),
    ],
)
def test_old_tls_is_refused(edge: Edge, version: ssl.TLSVersion, ciphers: str) -> None:
    context = edge.trust()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        edge.handshake(context)


def test_plain_http_is_redirected(edge: Edge) -> None:
    plain = http.client.HTTPConnection("localhost", edge.port, timeout=10)
    plain.request("POST", "/orders?id=plain", b"x")
    answer = plain.getresponse()
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://localhost:{HTTPS}/orders?id=plain"
    assert HSTS not in answer.headers
    assert edge.logged(answer.headers["X-Request-ID"])["upstream"] == ""


@pytest.mark.parametrize(
    ("path", "status"), [("/hello", 200), ("/nowhere", 404), ("/-/ready", 404)]
)
def test_hsts(edge: Edge, path: str, status: int) -> None:
    answer = edge.ask(path)
    assert (answer.status, answer.headers[HSTS]) == (status, "max-age=300")


def test_websocket(edge: Edge) -> None:
    async def echo() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"wss://localhost:{HTTPS}/ws", ssl=edge.trust()) as websocket,
        ):
            await websocket.receive_json()
            await websocket.send_str("over TLS")
            assert (await websocket.receive_json())["echo"] == "over TLS"

    asyncio.run(echo())


def test_a_request_has_one_id_everywhere(edge: Edge) -> None:
    answer = edge.ask(
        "/orders?id=one", "POST", PROXY, X_Request_ID="abc-1", X_Forwarded_For="9.9.9.9"
    )
    assert (answer.status, answer.headers.get_all("X-Request-ID")) == (201, ["abc-1"])
    port = json.load(answer)["port"]
    [journal] = (edge.home / "data").glob(f"orders-{port}-*.jsonl")
    assert json.loads(journal.read_text())["request_id"] == "abc-1"
    line = edge.logged("abc-1")
    assert line.pop("time").startswith("20")
    assert 0 <= line.pop("request_time") < 5
    assert 0 <= float(line.pop("upstream_time")) < 5
    assert line.pop("bytes") > 20
    assert line == {
        "request_id": "abc-1",
        "client": "9.9.9.9",
        "method": "POST",
        "uri": "/orders?id=one",
        "status": 201,
        "upstream": f"127.0.0.1:{port}",
        "upstream_status": "201",
    }


@pytest.mark.parametrize(
    ("client", "given"),
    [("127.0.0.1", "abc-2"), (PROXY, ""), (PROXY, 'x"y'), (PROXY, "a" * 129)],
)
def test_an_id_that_is_not_believed(edge: Edge, client: str, given: str) -> None:
    request_id = edge.ask("/hello", "GET", client, X_Request_ID=given).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    assert edge.logged(request_id)["uri"] == "/hello"


def test_the_app_logs_the_id(edge: Edge) -> None:
    request_id = edge.ask("/nowhere").headers["X-Request-ID"]
    edge.logged(request_id)
    logs = "".join(log.read_text() for log in (edge.home / "log").glob("edge-9*.log"))
    assert re.search(rf"WARNING {request_id} 404 GET /nowhere", logs)
    assert " - serving on " in logs


@pytest.mark.parametrize(
    "path", ['/"quo\\te"', "/\x7f\x01", "/caf\u00e9".encode().decode("latin-1")]
)
def test_a_line_is_json_whatever_is_asked(edge: Edge, path: str) -> None:
    with edge.handshake(edge.trust()) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode("latin-1"))
        head = client.recv(65536).decode()
    request_id = re.search("X-Request-ID: (.*)\r", head)
    assert request_id, head
    assert edge.logged(request_id[1])["status"] in (400, 404)


def test_prometheus_finds_every_process(edge: Edge) -> None:
    def read(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def answered() -> float:
        found = 0.0
        for target in json.loads(read("/targets")):
            assert target["targets"] == [f"127.0.0.1:{METRICS}"]
            port = target["labels"]["__metrics_path__"].removeprefix("/")
            assert target["labels"]["instance"] == f"127.0.0.1:{port}"
            for family in text_string_to_metric_families(read(f"/{port}")):
                for sample in family.samples:
                    if sample.name == "tornado_drain_info":
                        assert sample.labels == {"port": port, "release": release}
                        ports.append(int(port))
                    if sample.name == "tornado_drain_requests_total":
                        found += sample.value * (sample.labels["status"] == "2xx")
        return found

    ports: list[int] = []
    release = edge.status()["release"]
    before = answered()
    assert ports == [9403, 9404, 9405]
    for _ in range(10):
        edge.ask("/hello")
        edge.ask("/nowhere")
    assert answered() == before + 10
    assert edge.ask("/-/metrics").status == 404


def test_the_certificate_is_replaced_without_a_restart(edge: Edge, tmp_path: Path) -> None:
    # On the controller a path is from the playbook's folder.
    folder = ROOT / ".run/edge-certificates"
    given: dict[str, Any] = {
        "tornado_app_nginx_tls_certificate": str((folder / "a.pem").relative_to(ROOT)),
        "tornado_app_nginx_tls_key": str((folder / "a.key").relative_to(ROOT)),
    }
    before = edge.pids()
    asking = True

    def ask() -> int:
        answers = 0
        while asking:
            context = ssl._create_unverified_context()
            client = http.client.HTTPSConnection("localhost", HTTPS, timeout=10, context=context)
            client.request("POST", "/slow?seconds=0.3", b"x")
            assert client.getresponse().status == 200
            client.close()
            answers += 1
        return answers

    with ThreadPoolExecutor() as threads:
        clients = [threads.submit(ask) for _ in range(3)]
        try:
            make_certificate(folder / "a.pem", folder / "a.key")
            output = edge.playbook("--diff", "-vv", **given)
            assert changed(output) > 0
            assert "PRIVATE KEY" not in output
            served = ssl.get_server_certificate(("127.0.0.1", HTTPS))
            assert served == (folder / "a.pem").read_text()
        finally:
            asking = False
        assert sum(client.result() for client in clients) > 20
    assert edge.pids() == before
    [key] = (edge.home / "nginx/certificates").glob("*.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    make_certificate(tmp_path / "b.pem", folder / "a.key")
    site = (edge.home / "nginx/site.conf").read_bytes()
    output = edge.playbook(code=2, **given)
    assert "tornado_app_nginx_tls_key: got " in output
    assert "which has another public key" in output
    assert "PRIVATE KEY" not in output
    assert (edge.home / "nginx/site.conf").read_bytes() == site
