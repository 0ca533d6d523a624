"""TCP handshakes that are not done, as the kernel tells them: sock_diag(7)."""

import socket
import struct

_SOCK_DIAG_BY_FAMILY = 20  # linux/sock_diag.h
_REQUEST, _DUMP, _ERROR, _DONE = 0x1, 0x300, 2, 3  # linux/netlink.h
_SYN_RECV = 3  # net/tcp_states.h

# struct nlmsghdr; struct inet_diag_req_v2, up to the port and what follows it.
_HEADER = struct.Struct("=IHHII")
_QUERY = struct.Struct("=BBBxI2s46x")
# struct inet_diag_msg: the peer's port and, behind our own address, the peer's.
_PEER = struct.Struct("6x2s16x16s")

Peer = tuple[bytes, bytes]


def handshakes(sock: socket.socket) -> set[Peer]:
    """The peers whose handshake with a port has begun and is not done.

    Args:
        sock: bound to that port. Another socket's handshakes with it count too.

    Returns:
        Each peer's port and address (16 bytes), as in the packet.

    Raises:
        OSError: the kernel does not tell; not all do, and only Linux does at all.
    """
    if not hasattr(socket, "AF_NETLINK"):
        raise OSError("no netlink")
    port = struct.pack("!H", sock.getsockname()[1])
    query = _QUERY.pack(sock.family, socket.IPPROTO_TCP, 0, 1 << _SYN_RECV, port)
    size = _HEADER.size + len(query)
    peers: set[Peer] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as netlink:  # NETLINK_SOCK_DIAG
        netlink.settimeout(1)
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST | _DUMP, 0, 0) + query)
        while True:
            answer = netlink.recv(65536)
            while answer:
                length, kind, *_ = _HEADER.unpack_from(answer)
                if kind == _DONE:
                    return peers
                if kind == _ERROR:
                    (number,) = struct.unpack_from("=i", answer, _HEADER.size)
                    raise OSError(-number, "sock_diag")
                peers.add(_PEER.unpack_from(answer, _HEADER.size))
                answer = answer[(length + 3) & ~3 :]
