"""From a `postgresql://` URL to a connection. It blocks its thread and nobody else's.

libpq's own `PQconnectdb` holds Python's lock while it waits, so that a server that does not answer would stop every
request of the process; here the waiting is Python's.
"""

from __future__ import annotations

import select
import time
from typing import Any

from ..config import Config
from ..errors import OperatorError
from .engines import DRIVER_HINT

CONNECT_TIMEOUT_S = 5
_FAILED, _READING, _OK = 0, 1, 3  # libpq's PostgresPollingStatusType
_BAD, _STARTED = 1, 2  # libpq's ConnStatusType


def conninfo_of(url: str, config: Config) -> str:
    """A `postgresql://` URL as libpq takes it, with our settings for the session.

    Raises:
        OperatorError: psycopg is not installed, or the URL is malformed.
    """
    try:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError:
        raise OperatorError(f"PostgreSQL needs its driver: {DRIVER_HINT}.") from None
    try:
        found: dict[str, Any] = dict(conninfo_to_dict("postgresql://" + url.partition("://")[2]))
    except Exception:
        # Not what libpq says of it: that may quote the password.
        raise OperatorError("The database URL cannot be read: write postgresql://user@host/database.") from None
    settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "backstay"} | found
    settings["client_encoding"] = "utf8"
    if config.pool_mode == "session":
        timeout_ms = int(config.request_timeout_s * 1000)
        ours = f"-c statement_timeout={timeout_ms} -c timezone=UTC -c jit=off"
        settings["options"] = f"{found.get('options', '')} {ours}".strip()
    return make_conninfo(**settings)


def connect(conninfo: str, *, only_knock: bool = False) -> Any:
    """A connected `psycopg.pq.PGconn`, to the first of its hosts and addresses that takes us.

    Args:
        only_knock: see whether somebody listens, and go away.

    Raises:
        ConnectionRefusedError: nobody listens there.
        ConnectionError: the server does not take us, or does not answer.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_attempts, conninfo_to_dict, make_conninfo, timeout_from_conninfo

    given = conninfo_to_dict(conninfo)
    timeout_s = timeout_from_conninfo(given)
    failure = ConnectionError("no address")
    try:
        # Names are looked up here, because libpq would hold Python's lock meanwhile.
        attempts = conninfo_attempts(given)
    except Error as error:
        raise ConnectionError(str(error)) from None
    for attempt in attempts:
        try:
            return _connected(make_conninfo("", **attempt), time.monotonic() + timeout_s, only_knock=only_knock)
        except ConnectionError as error:
            failure = error
    raise failure


def _connected(conninfo: str, deadline: float, *, only_knock: bool) -> Any:
    from psycopg import pq

    connection: Any = pq.PGconn.connect_start(conninfo.encode())
    status: int = _FAILED if connection.status == _BAD else connection.connect_poll()
    reached = False
    while status not in (_OK, _FAILED):
        reached = reached or connection.status != _STARTED
        if reached and only_knock:
            connection.finish()
            return None
        poll = select.poll()
        poll.register(connection.socket, select.POLLIN if status == _READING else select.POLLOUT)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            connection.finish()
            raise ConnectionError("it does not answer")
        status = connection.connect_poll()
    if status == _FAILED:
        said = " ".join(connection.get_error_message().split())
        connection.finish()
        raise ConnectionError(said) if reached else ConnectionRefusedError(said)
    return connection
