"""The connections that groups of writes go over: the driver's own, with less of the driver around each message.

`Database.command` chooses a server, takes a connection out of its pool and gives it back, takes a session, and tells
the server of sessions and times that a group of writes, which is sent once and waits for a majority, has no use for.
That is a good part of what a message costs the one who sends it (decision 39). Here a connection is kept from one
message to the next. Making it, finding the primary, TLS, logging in, watching the servers, the form of messages, and
what a failure means for the connections to a server stay the driver's.
"""

from collections.abc import Mapping, MutableMapping
from time import monotonic
from typing import Any, NamedTuple

from bson.codec_options import DEFAULT_CODEC_OPTIONS
from pymongo.database import Database
from pymongo.errors import DocumentTooLarge
from pymongo.helpers_shared import _check_command_response
from pymongo.message import _op_msg
from pymongo.synchronous.mongo_client import _ClientCheckout
from pymongo.synchronous.pool import Connection

from chalicelib.store.documents import Document

LOOK_SECONDS = 1.0
"""A connection that was idle for longer is asked whether it still stands, as the driver's pool does."""


class _Line(NamedTuple):
    connection: Connection
    checkout: _ClientCheckout
    idle_since: float


class Lines:
    """Sends commands to the primary, each over a connection that nobody else uses meanwhile.

    There are as many as commands were under way at once. Safe to share between threads.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._client = database.client
        self._name = database.name
        self._idle: list[_Line] = []

    def command(self, command: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """Return what the server says to a command; raises PyMongoError.

        DocumentTooLarge and ServerSelectionTimeoutError, which is raised when no server is known, are raised before
        anything is sent.
        """
        connection, checkout, _ = self._idle_line() or self._new_line()
        try:
            answer = self._exchange(connection, command)
        except BaseException as error:
            checkout.__exit__(type(error), error, error.__traceback__)
            raise
        self._idle.append(_Line(connection, checkout, monotonic()))
        return answer

    def close(self) -> None:
        """Give the connections back that no command is under way on."""
        while self._idle:
            self._idle.pop().checkout.__exit__(None, None, None)

    def _new_line(self) -> _Line:
        checkout = self._client._conn_for_writes(None, "update")  # noqa: SLF001 (the driver's way to the primary)
        return _Line(checkout.__enter__(), checkout, monotonic())

    def _idle_line(self) -> _Line | None:
        """Return the one that was used last, None when there is none that still stands."""
        try:
            line = self._idle.pop()
        except IndexError:
            return None
        connection = line.connection
        is_old = connection.pool_gen.stale(connection.generation, connection.service_id)  # its server is not trusted
        if is_old or (monotonic() - line.idle_since > LOOK_SECONDS and connection.conn_closed()):
            connection.close_conn(None)
            line.checkout.__exit__(None, None, None)
            return None
        return line

    def _exchange(self, connection: Connection, command: MutableMapping[str, Any]) -> Mapping[str, Any]:
        number, message, size, largest = _op_msg(0, command, self._name, None, DEFAULT_CODEC_OPTIONS)
        if size > connection.max_bson_size:  # as the driver has it: a message may be larger, its parts may not
            raise DocumentTooLarge(f"a command of {size} bytes; the server takes {connection.max_bson_size}")
        connection.send_message(message, largest)
        reply = connection.receive_message(number)
        answer: dict[str, Any] = reply.unpack_response(codec_options=DEFAULT_CODEC_OPTIONS)[0]
        _check_command_response(answer, connection.max_wire_version)
        return answer
