"""What a connected socket says of its other end."""

import socket

_TCP_ESTABLISHED = 1
"""Of Linux's `tcpi_state`, the first byte of TCP_INFO."""


def has_hung_up(connection: socket.socket) -> bool:
    """Return whether the other end has closed the connection, or its half of it, and all that it sent was read."""
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
    """Return whether both ends are surely open: at half of what it costs to look for bytes that are not there."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:  # not one of TCP, or none any more
        return False
