"""Requests that two programs might understand differently, as bytes through nginx to the app."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.orders import Customers
from tests.support.process import Connection
from tests.support.programs import faults as app
from tests.support.stack import Stack

BASE_PORT = 9763
VARIABLES = app.VARIABLES

# nginx and Tornado are the same on either listener.
pytestmark = pytest.mark.parametrize("stack", ["port"], indirect=True, scope="module")

# What an attacker would have the app see, as nginx must not.
HIDDEN = b"GET /record/hidden HTTP/1.1\r\nHost: test\r\n\r\n"
# A last request: where both are still in step, it is the last and has an answer of its own.
LAST = b"GET /record/last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


def request(
    *lines: bytes, body: bytes = b"", method: bytes = b"POST", end: bytes = b"\r\n"
) -> bytes:
    """A request with these header lines."""
    start = method + b" /record/first HTTP/1.1"
    return end.join([start, b"Host: test", *lines, b"", b""]) + body


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"

# Refused: nginx answers 4xx or 5xx and closes; the app sees nothing of it, nor of what follows.
REFUSED = {
    "length and chunked": request(
        b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + HIDDEN
    ),
    "chunked and length": request(
        b"Transfer-Encoding: chunked", b"Content-Length: 4", body=b"0\r\n\r\n" + HIDDEN
    ),
    "two encodings": request(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKS + HIDDEN
    ),
    "two encodings in one": request(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "chunked twice": request(b"Transfer-Encoding: chunked, chunked", body=CHUNKS),
    "unknown encoding": request(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "vertical tab before chunked": request(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "space before colon": request(b"Content-Length : 5", body=b"hello"),
    "space before chunked's colon": request(b"Transfer-Encoding : chunked", body=CHUNKS),
    "folded line": request(b"Transfer-Encoding:", b" chunked", body=CHUNKS),
    "folded first line": request(b" X: folded", b"Content-Length: 5", body=b"hello"),
    "two lengths": request(b"Content-Length: 5", b"Content-Length: 0", body=b"hello"),
    "the same length twice": request(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "lengths in one": request(b"Content-Length: 5, 5", body=b"hello"),
    "signed length": request(b"Content-Length: +5", body=b"hello"),
    "negative length": request(b"Content-Length: -5", body=b"hello"),
    "hexadecimal length": request(b"Content-Length: 0x5", body=b"hello"),
    "length with underscore": request(b"Content-Length: 1_0", body=b"hellohello"),
    "length beyond 64 bits": request(b"Content-Length: 18446744073709551621", body=b"hello"),
    "chunk beyond 64 bits": request(
        b"Transfer-Encoding: chunked", body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"
    ),
    "chunk that is no number": request(b"Transfer-Encoding: chunked", body=b"x\r\nhello\r\n"),
    "chunk with sign": request(b"Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than it says": request(
        b"Transfer-Encoding: chunked", body=b"4\r\nhello\r\n0\r\n\r\n"
    ),
    "NUL in a header": request(b"X: a\0b"),
    "NUL in the path": b"GET /record/\0 HTTP/1.1\r\nHost: test\r\n\r\n",
    "control character in a name": request(b"X\x01: a"),
    "space in a name": request(b"X Y: a"),
    "CR alone in the path": b"GET /record/a\rb HTTP/1.1\r\nHost: test\r\n\r\n",
    "huge header": request(b"X: " + b"x" * 40_000),
    "huge path": b"GET /record/" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n",
    "too many headers": request(*[b"X%d: " % n + b"x" * 1000 for n in range(100)]),
    "no host": b"GET /record/first HTTP/1.1\r\n\r\n",
    "two hosts": request(b"Host: other"),
    "host with a path": b"GET /record/first HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "lower-case method": request(method=b"get"),
    "CONNECT": b"CONNECT test:80 HTTP/1.1\r\nHost: test\r\n\r\n",
    "TRACE": request(method=b"TRACE"),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": b"GET /record/first HTTP/3.0\r\nHost: test\r\n\r\n",
    "no slash": b"GET record/first HTTP/1.1\r\nHost: test\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

# Understood: what the app sees of it, method and body.
Seen = tuple[str, str]
UNDERSTOOD: dict[str, tuple[bytes, list[Seen]]] = {
    "length": (request(b"Content-Length: 5", body=b"hello"), [("POST", "hello")]),
    "no length": (request(), [("POST", "")]),
    "no length, a request behind": (request() + HIDDEN, [("POST", ""), ("GET", "")]),
    "a request as a body": (
        request(b"Content-Length: %d" % len(HIDDEN), body=HIDDEN),
        [("POST", HIDDEN.decode())],
    ),
    "GET with a body": (
        request(b"Content-Length: 5", body=b"hello", method=b"GET"),
        [("GET", "hello")],
    ),
    "chunks": (request(b"Transfer-Encoding: chunked", body=CHUNKS), [("POST", "hello")]),
    "CHUNKED": (request(b"Transfer-Encoding: CHUNKED", body=CHUNKS), [("POST", "hello")]),
    "a request as a chunk": (
        request(
            b"Transfer-Encoding: chunked",
            body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
        ),
        [("POST", HIDDEN.decode())],
    ),
    "chunk extensions": (
        request(b"Transfer-Encoding: chunked", body=b'5;a="b;c"\r\nhello\r\n0;x\r\n\r\n'),
        [("POST", "hello")],
    ),
    "trailers": (
        request(
            b"Transfer-Encoding: chunked",
            body=b"5\r\nhello\r\n0\r\nContent-Length: 99\r\nX-Trailer: x\r\n\r\n",
        ),
        [("POST", "hello")],
    ),
    "line feeds alone": (
        request(b"Content-Length: 5", body=b"hello", end=b"\n"),
        [("POST", "hello")],
    ),
    "empty lines before": (b"\r\n\r\n" + request(method=b"GET"), [("GET", "")]),
    "100-continue": (
        request(b"Content-Length: 5", b"Expect: 100-continue", body=b"hello"),
        [("POST", "hello")],
    ),
    "absolute form": (
        b"GET http://test/record/first HTTP/1.1\r\nHost: test\r\n\r\n",
        [("GET", "")],
    ),
    "upgrade to h2c": (
        request(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            method=b"GET",
        )
        + HIDDEN,
        [("GET", ""), ("GET", "")],
    ),
    "upgrade where there is no WebSocket": (
        request(b"Connection: Upgrade", b"Upgrade: websocket", method=b"GET") + HIDDEN,
        [("GET", ""), ("GET", "")],
    ),
    "underscores": (
        request(b"Content_Length: 40", b"Transfer_Encoding: chunked", method=b"GET"),
        [("GET", "")],
    ),
}

# What nginx writes, whatever the client sends.
SPOOFED = {
    "X-Forwarded-For": b"6.6.6.6",
    "X-Real-Ip": b"6.6.6.6",
    "X-Forwarded-Proto": b"https",
    "X-Forwarded-Host": b"evil",
    "X-Request-ID": b"evil",
}

# All of them lead to the drain's own status, were they not refused.
OWN_PATHS = [
    "/-/status",
    "//-/status",
    "/./-/status",
    "/record/../-/status",
    "/record/%2e%2e/-/status",
    "/record/..%2f-/status",
    "/%2d/status",
    "/-%2fstatus",
    "/-/status?x",
    "/-/status%3fx",
    "/-/status%00",
    "/-/status/",
    "/-/../-/status",
    "/-/%2e%2e/record/../-/status",
    "/-/status/../../record/first",
    "/-/status%2f..%2f..%2frecord/first",
    "/-/status#/../../record/first",
    "/-/status%23/../../record/first",
    "/-/status;/../../record/first",
    "/-\\status",
    "http://test/-/status",
    "http://test//-/status",
]


@dataclass
class Exchange:
    """What nginx answered to some bytes, and what the app saw of them."""

    statuses: list[int]
    bodies: list[bytes]
    seen: list[dict[str, Any]]


def journal(stack: Stack) -> list[dict[str, Any]]:
    """All requests that the app has seen under ``/record/``."""
    files = (stack.home / "data").glob("requests-*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def send(stack: Stack, data: bytes) -> Exchange:
    """Send bytes, all at once, and read until nginx closes."""
    before = Counter(map(json.dumps, journal(stack)))
    statuses, bodies = [], []
    with Connection(f"127.0.0.1:{stack.port}", timeout=20) as client:
        client.socket.sendall(data)
        try:
            while client.file.peek(1):
                answer = client.receive()
                if answer.status != 100:
                    statuses.append(answer.status)
                    bodies.append(answer.body)
        except ConnectionResetError:
            assert statuses, "closed with bytes unread, after an answer"
    seen = Counter(map(json.dumps, journal(stack))) - before
    return Exchange(statuses, bodies, [json.loads(record) for record in seen.elements()])


def header(record: dict[str, Any], name: str) -> list[str]:
    """The values of a header that the app saw."""
    return [value for key, value in record["headers"] if key.lower() == name.lower()]


def test_what_is_ambiguous_is_refused(stack: Stack) -> None:
    """May fail: these requests, by nginx, and their connection; the app sees none of them."""
    with Customers(stack) as customers:
        found = {name: send(stack, data + LAST) for name, data in REFUSED.items()}
    wrong = {
        name: exchange
        for name, exchange in found.items()
        if exchange.seen or len(exchange.statuses) != 1 or not 400 <= exchange.statuses[0] < 600
    }
    assert wrong == {}
    assert customers.failed() == []


def test_what_is_understood_is_understood_alike(stack: Stack) -> None:
    """Nothing may fail: as many answers as requests that the app saw, with the same bodies."""
    with Customers(stack) as customers:
        found = {name: send(stack, data + LAST) for name, (data, _) in UNDERSTOOD.items()}
    wrong = {}
    for name, exchange in found.items():
        expected = [*UNDERSTOOD[name][1], ("GET", "")]
        seen = [(record["method"], record["body"]) for record in exchange.seen]
        if Counter(seen) != Counter(expected) or exchange.statuses != [200] * len(expected):
            wrong[name] = exchange
        assert {record["uri"] for record in exchange.seen} <= {
            "/record/first",
            "/record/hidden",
            "/record/last",
        }
    assert wrong == {}
    assert customers.failed() == []
    assert not any(header(r, "X-Trailer") for e in found.values() for r in e.seen)
    ids = [value for record in journal(stack) for value in header(record, "X-Request-ID")]
    passed = [line for line in logged(stack, len(ids)) if line["upstream"]]
    # One line for each, and the same one.
    assert Counter(line["request_id"] for line in passed) == Counter(ids)
    by_id = {line["request_id"]: line for line in passed}
    for record in journal(stack):
        line = by_id[header(record, "X-Request-ID")[0]]
        assert (line["method"], line["status"]) == (record["method"], 200)
        assert line["uri"].removeprefix("http://test") == record["uri"]


def logged(stack: Stack, least: int) -> list[dict[str, Any]]:
    """The access log's lines on ``/record/``, once there are so many that were passed on."""
    while True:
        lines = [
            line
            for line in stack.access_log()
            if line["uri"].removeprefix("http://test").startswith("/record/")
        ]
        if sum(line["upstream"] != "" for line in lines) >= least:
            return lines


def test_nobody_speaks_for_nginx(stack: Stack) -> None:
    """Nothing may fail; of these headers the app sees nginx's own, once, and no look-alike."""
    lines = [name.encode() + b": " + value for name, value in SPOOFED.items()]
    lines += [name.replace("-", "_").encode() + b": " + value for name, value in SPOOFED.items()]
    # A proxy that obeyed this would drop what it has just set (RFC 9110, section 7.6.1).
    lines += [b"Connection: X-Forwarded-For, X-Request-ID, close"]
    exchange = send(stack, request(*lines, method=b"GET"))
    assert exchange.statuses == [200]
    [record] = exchange.seen
    assert header(record, "X-Forwarded-For") == header(record, "X-Real-Ip") == ["127.0.0.1"]
    assert header(record, "X-Forwarded-Proto") == ["http"]
    assert header(record, "X-Forwarded-Host") == header(record, "Host") == ["test"]
    [request_id] = header(record, "X-Request-ID")
    assert len(request_id) == 32
    assert not any("_" in name for name, _ in record["headers"])
    assert "evil" not in json.dumps(record)


def test_the_drains_own_paths_stay_inside(stack: Stack) -> None:
    """May fail: these requests, each of which asks in another way for what nginx keeps back."""
    found = {}
    for path in OWN_PATHS:
        data = f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode()
        exchange = send(stack, data)
        if exchange.statuses not in ([400], [404]) or b"max_wait" in b"".join(exchange.bodies):
            found[path] = exchange
    assert found == {}


@pytest.mark.parametrize(
    ("line", "host", "told"),
    [
        ("/record/first HTTP/1.1", "Test:8080", "Test:8080"),
        ("http://test/record/first HTTP/1.1", "test:8080", "test:8080"),
        ("http://test/record/first HTTP/1.1", "other", "test"),
        ("http://test:81/record/first HTTP/1.1", "test.other", "test"),
        ("/record/first HTTP/1.0", None, "_"),
    ],
)
def test_one_host(stack: Stack, line: str, host: str | None, told: str) -> None:
    """Nothing may fail; the app is told the host by which nginx chose the site."""
    headers = [f"Host: {host}"] if host else []
    exchange = send(
        stack, "\r\n".join([f"GET {line}", *headers, "Connection: close", "", ""]).encode()
    )
    assert exchange.statuses == [200]
    [record] = exchange.seen
    assert header(record, "Host") == header(record, "X-Forwarded-Host") == [told]
