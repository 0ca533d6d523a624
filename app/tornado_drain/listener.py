"""Listening sockets that can be closed without resetting a connection."""

import contextlib
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.netutil import bind_sockets, bind_unix_socket

_logger = logging.getLogger("tornado_drain")

# nginx may connect in a burst while the loop is busy; Linux caps this at net.core.somaxconn.
BACKLOG = 4096

# socket(7); the constant is the same on all architectures but sparc and parisc.
_SO_ATTACH_FILTER = 26

# Classic BPF (linux/filter.h). A filter on a TCP socket sees the segment from its TCP header on
# (net/ipv4/tcp_ipv4.c, tcp_filter); byte 13 holds the flags (RFC 9293, section 3.1).
_DROP_NEW_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags
        (0x54, 0, 0, 0x12),  # keep SYN and ACK
        (0x15, 0, 1, 0x02),  # SYN without ACK?
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass whole
    )
)


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


def refuse_new(sock: socket.socket) -> None:
    """Let no new connection into the accept queue; safe to call from a signal handler.

    A unix socket's path is unlinked: connect(2) is synchronous there, so this is exact. On a
    Linux TCP socket new SYNs are dropped; the client sends its SYN again and, the listener
    being closed by then, is refused. In both cases it has sent nothing yet.
    """
    if sock.family == socket.AF_UNIX:
        Path(sock.getsockname()).unlink(missing_ok=True)
    elif sys.platform == "linux":
        program = ctypes.create_string_buffer(_DROP_NEW_SYN, len(_DROP_NEW_SYN))
        fprog = struct.pack("HP", len(_DROP_NEW_SYN) // 8, ctypes.addressof(program))
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)
        except OSError as error:
            _logger.warning("new connections are not held off while draining: %s", error)


def accept_rest(sock: socket.socket, handle: Callable[[socket.socket, Any], None]) -> None:
    """Accept all that the kernel has accepted, and listen no more; whose it is closes the socket.

    Closing a listener resets the connections in its queue (net/ipv4/inet_connection_sock.c,
    inet_csk_listen_stop), and the peer may already have sent a request on them.

    Args:
        sock: the listening socket.
        handle: called with every accepted socket and its peer's address.
    """
    while True:
        try:
            connection, address = sock.accept()
        except BlockingIOError:
            break
        except ConnectionAbortedError:
            continue
        handle(connection, address)
    # A forked worker has this socket too and would keep the port: closing is not enough.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
