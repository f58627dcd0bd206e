"""What a connected socket knows about its peer."""

import socket

_TCP_ESTABLISHED = 1
"""The value of Linux's `tcpi_state`, the first byte of TCP_INFO."""


def has_hung_up(connection: socket.socket) -> bool:
    """Return whether the peer has closed the connection, or its half, and everything it sent was read."""
    if _is_established(connection):
        return False
    timeout = connection.gettimeout()
    connection.settimeout(0.0)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)


def _is_established(connection: socket.socket) -> bool:
    """Return whether both ends are certainly open: half the cost of looking for bytes that are not there."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:  # not TCP, or no longer connected
        return False
