"""What a connected socket says of its other end."""

import socket


def has_hung_up(connection: socket.socket) -> bool:
    """Return whether the other end has closed the connection, or its half of it, and all that it sent was read."""
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
