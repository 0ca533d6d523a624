"""Listening sockets that can be closed without resetting a connection."""

import contextlib
import ctypes
import functools
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.netutil import bind_sockets, bind_unix_socket

from tornado_drain.handshakes import Peer, handshakes

# nginx may connect in a burst while the loop is busy; Linux caps this at net.core.somaxconn.
BACKLOG = 4096

# Seconds for a handshake to end: a client that has gone leaves one for a minute.
HANDSHAKE = 1.0

# socket(7); the constants are the same on all architectures but sparc and parisc.
_SO_ATTACH_FILTER = 26
_SO_ATTACH_REUSEPORT_CBPF = 51

# Offset of the IP header for a program whose data begin behind it (linux/filter.h, SKF_NET_OFF).
_IP_HEADER = 0xFFF00000

Handle = Callable[[socket.socket, Any], None]


class Listener:
    """A listening socket, and how new connections are held off from it when the drain begins.

    A unix socket's path is unlinked: connect(2) is synchronous there, so this is exact. On TCP
    (Linux) new SYNs are dropped; the client sends its SYN again and, the listener being closed by
    then, is refused. In both cases it has sent nothing yet. The kernel drops SYNs for a socket
    filter, or, where it lets only CAP_NET_ADMIN attach one, for a `_Sink`.

    Args:
        sock: the socket, which listens.
        handle_early: called with a connection that is accepted while this is made, and with its
            peer's address.

    Attributes:
        why_not: why new connections can't be held off; "" where they can.
    """

    def __init__(self, sock: socket.socket, handle_early: Handle) -> None:
        self.sock = sock
        self.why_not = ""
        self._path: Path | None = None
        self._sink: _Sink | None = None
        if sock.family == socket.AF_UNIX:
            # An abstract one has no path.
            name = sock.getsockname()
            if isinstance(name, str) and name:
                self._path = Path(name).absolute()
            else:
                self.why_not = "the socket has no path"
        elif sys.platform != "linux":
            self.why_not = "only Linux can"
        elif not _may_filter():
            try:
                self._sink = _Sink(sock, handle_early)
            except OSError as error:
                self.why_not = str(error)

    def is_open(self) -> bool:
        """Whether the socket is open: an app may have closed it itself."""
        return self.sock.fileno() != -1

    def hold_off(self) -> None:
        """Let no new connection into the accept queue; for a signal handler, so it logs nothing.

        Raises:
            OSError: the kernel refuses.
        """
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        elif self._sink is not None:
            self._sink.take_all()
        elif not self.why_not:
            _DROP_NEW_SYN.attach(self.sock, _SO_ATTACH_FILTER)

    def is_expecting(self) -> bool:
        """Whether connections that were not held off are not in the accept queue yet.

        A handshake takes a round trip, or, from this host, what a busy core takes for its packets.
        Closing a listener resets those that it has begun, as it does those in its queue.
        """
        if self._path is not None or self.why_not:
            return False
        return bool(_handshakes(self.sock))

    def accept_rest(self, handle: Handle) -> None:
        """Accept all that the kernel has accepted, and listen no more; the socket stays open.

        Closing a listener resets the connections in its queue (net/ipv4/inet_connection_sock.c,
        inet_csk_listen_stop), and the peer may already have sent a request on them.

        Args:
            handle: called with every accepted socket and its peer's address.

        Raises:
            OSError: not all could be accepted, for want of file descriptors, say.
        """
        try:
            _accept_all(self.sock, handle)
        finally:
            _listen_no_more(self.sock)
            if self._sink is not None:
                self._sink.close()


class _Sink:
    """A second listener on a TCP address, whose accept queue is full: its SYNs are dropped.

    The two are a group (SO_REUSEPORT), in which a classic BPF program says who gets a SYN
    (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5, for which no capability is needed): the first one until
    the drain, then the sink. From that instant no SYN reaches the first, while the handshakes that
    have begun there go on there: a segment that is not a SYN finds its connection, not a listener.
    The kernel drops a SYN for a full accept queue (net/ipv4/tcp_input.c, tcp_conn_request), and
    nobody accepts from this one: it holds two dead connections of the process to itself.

    Args:
        first: the listening socket.
        handle_early: called with a connection that came here before the program was attached.

    Raises:
        OSError: the sink can't be made; `first` is then as it was.
    """

    def __init__(self, first: socket.socket, handle_early: Handle) -> None:
        if first.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
            raise OSError("the program shares its port, by SO_REUSEPORT")
        self._first = first
        address = first.getsockname()
        with contextlib.ExitStack() as undo:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            undo.callback(first.setsockopt, socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
            self._sock = undo.enter_context(socket.socket(first.family))
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                self._sock.setsockopt(socket.SOL_SOCKET, option, 1)
            if first.family == socket.AF_INET6:
                only = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
                self._sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            self._sock.bind(address)
            self._sock.setblocking(False)
            with contextlib.ExitStack() as own:
                self._fill(address, handle_early, own)
            undo.pop_all()

    def _fill(
        self, address: tuple[Any, ...], handle_early: Handle, own: contextlib.ExitStack
    ) -> None:
        """Join the group, with connections of our own as the only ones that get here."""
        host, port, *scope = address
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"
        # A queue is full with one more than its backlog.
        fillers = [own.enter_context(socket.socket(self._sock.family)) for _ in range(2)]
        for filler in fillers:
            filler.bind((host, 0, *scope))
            filler.settimeout(HANDSHAKE)
            # Its close is a reset: nothing is left of it but its place in the queue.
            filler.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ports = [filler.getsockname()[1] for filler in fillers]
        own_only = _sink_takes(ports, 20 if self._sock.family == socket.AF_INET else 40)
        self._sock.listen(1)
        own_only.attach(self._first, _SO_ATTACH_REUSEPORT_CBPF)
        deadline = time.monotonic() + HANDSHAKE
        begun = _handshakes(self._sock)
        while begun and time.monotonic() < deadline:
            _accept_all(self._sock, handle_early)
            time.sleep(0.001)
            begun &= _handshakes(self._sock)
        _accept_all(self._sock, handle_early)
        for filler in fillers:
            filler.connect((host, port, *scope))
        deadline = time.monotonic() + HANDSHAKE
        while not _is_full(self._sock):
            if time.monotonic() > deadline:
                raise OSError("the sink's accept queue does not fill")
            time.sleep(0.001)
        _NO_SINK.attach(self._first, _SO_ATTACH_REUSEPORT_CBPF)

    def take_all(self) -> None:
        """Get all SYNs from now on; raises OSError."""
        _SINK.attach(self._first, _SO_ATTACH_REUSEPORT_CBPF)

    def close(self) -> None:
        """Listen no more: new connections are refused."""
        _listen_no_more(self._sock)
        self._sock.close()


class _Filter:
    """A classic BPF program (linux/filter.h) of instructions (code, if true, if false, k)."""

    def __init__(self, *instructions: tuple[int, int, int, int]) -> None:
        code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._fprog = struct.pack("HP", len(instructions), ctypes.addressof(self._code))

    def attach(self, sock: socket.socket, option: int) -> None:
        """Give it to the kernel; raises OSError."""
        sock.setsockopt(socket.SOL_SOCKET, option, self._fprog)


# A filter on a TCP socket sees the segment from its TCP header on (net/ipv4/tcp_ipv4.c,
# tcp_filter); byte 13 holds the flags (RFC 9293, section 3.1).
_DROP_NEW_SYN = _Filter(
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN without ACK?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass whole
)
_PASS = _Filter((0x06, 0, 0, 0xFFFFFFFF))

# What selects from a group returns an index, in the order in which its sockets began to listen.
_NO_SINK = _Filter((0x06, 0, 0, 0))
_SINK = _Filter((0x06, 0, 0, 1))


def _sink_takes(ports: list[int], ip_header: int) -> _Filter:
    """Select the sink for what comes from two ports; `ip_header` is that header's size."""
    return _Filter(
        (0x28, 0, 0, _IP_HEADER + ip_header),  # load the source port, the first of the TCP header
        (0x15, 2, 0, ports[0]),
        (0x15, 1, 0, ports[1]),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 1),
    )


@functools.cache
def _may_filter() -> bool:
    """Whether this process may attach a socket filter; some kernels ask for CAP_NET_ADMIN."""
    with socket.socket() as sock:
        try:
            _PASS.attach(sock, _SO_ATTACH_FILTER)
        except OSError:
            return False
    return True


def _handshakes(sock: socket.socket) -> set[Peer]:
    """`handshakes`; none where the kernel does not tell."""
    try:
        return handshakes(sock)
    except OSError:
        return set()


def _is_full(sock: socket.socket) -> bool:
    """Whether a listener's accept queue is longer than its backlog (linux/tcp.h, tcp_info)."""
    length, backlog = struct.unpack_from(
        "II", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32), 24
    )
    return bool(length > backlog)


def _accept_all(sock: socket.socket, handle: Handle) -> None:
    while True:
        try:
            connection, address = sock.accept()
        except BlockingIOError:
            break
        except ConnectionAbortedError:
            continue
        handle(connection, address)


def _listen_no_more(sock: socket.socket) -> None:
    # A forked worker has this socket too and would keep the port: closing is not enough.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def bind(address: str) -> list[socket.socket]:
    """Listen on `address`.

    Args:
        address: ``host:port``, ``[host]:port``, or ``unix:/path``.

    Returns:
        The sockets; a name may have several addresses.

    Raises:
        ValueError: the address has none of these forms, or its path is not a socket.
        OSError: the address can't be bound.
    """
    if address.startswith("unix:/"):
        # The group is the folder's (setgid), so that nginx may connect and others may not.
        return [bind_unix_socket(address.removeprefix("unix:"), mode=0o660, backlog=BACKLOG)]
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535 or host == "unix":
        raise ValueError(f"TORNADO_DRAIN_LISTEN={address!r}: expected host:port or unix:/path")
    return bind_sockets(int(port), host.strip("[]"), backlog=BACKLOG)
