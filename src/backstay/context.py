"""Who asks and within which bounds: the Principal and the Context of one request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import Any


class PrincipalKind(Enum):
    """The kinds of principal."""

    ANONYMOUS = "anonymous"
    USER = "user"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `id` is comparable with the key of the users' table.

    Attributes:
        roles: names that `has_role` knows, those of a membership in the tenant included.
        permissions: names that `has_permission` knows.
        scopes: what the credential is good for, as `scores:read`; `None` when it is not limited.
        tenant: the key of the tenant that it acts for.
        credential: what it signed in with, such as `session:7` or `key:3`; empty when nobody keeps it.
        actor: the id of who acts in its name; see impersonation.

    Example:
        >>> Principal(PrincipalKind.USER, id=7, roles=frozenset({"admin"})).is_anonymous
        False
    """

    kind: PrincipalKind = PrincipalKind.ANONYMOUS
    id: Any = None
    roles: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    tenant: Any = None
    credential: str = ""
    actor: Any = None
    is_anonymous: bool = field(init=False)
    #: Who its requests count for: the API key, else the user or service; empty for nobody known.
    counted: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_anonymous", self.kind is PrincipalKind.ANONYMOUS)
        counted = "" if self.is_anonymous else f"{self.kind.value}:{self.id}"
        if self.credential.startswith("key:"):
            counted = self.credential
        object.__setattr__(self, "counted", counted)


ANONYMOUS = Principal()
#: How long work outside a request may take when nobody says.
TIMEOUT_S = 30.0


#: ASGI's: the next message of a request.
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client went away: nobody will read an answer."""


@dataclass(slots=True)
class Claim:
    """What an Idempotency-Key stands for: a request that has its effect once.

    Attributes:
        key: a hash of the key and of who sent it.
        fingerprint: a hash of what the request says.
        placed: the request has written, and its key with that.
        kept: its answer is recorded, too.
        taken: another request with that key was first.
    """

    key: str
    fingerprint: str
    placed: bool = False
    kept: bool = False
    taken: bool = False


class Context:
    """One request's frame: its id, principal, deadline, and what it has cost so far.

    Attributes:
        request_id: as received in `X-Request-Id` when it is well formed, else a new UUIDv7.
        deadline: `time.monotonic()` value after which work for this request stops.
        statements: SQL statements run so far.
        database_s: seconds spent in them, waiting included.
        read_after: a position in the primary's log that what is read has to show; 0 for none.
        wrote: the position after this request's last write; 0 where nobody needs it.
        receive: tells that the client went away, once nobody else reads the request; see `db.departures`.
        gone: whether it did, as far as anybody looked.
        claim: of a request with an Idempotency-Key.
        transaction: the one that its statements are part of; see `db.transaction`.
        ip: the client's address; behind a trusted proxy the one that it names. Empty when nobody knows.
        scheme: `http` or `https`, as the client sees it.
    """

    __slots__ = (
        "claim",
        "database_s",
        "deadline",
        "gone",
        "ip",
        "principal",
        "read_after",
        "receive",
        "request_id",
        "scheme",
        "statements",
        "transaction",
        "wrote",
    )

    def __init__(self, request_id: str, principal: Principal = ANONYMOUS, deadline: float | None = None) -> None:
        self.request_id = request_id
        self.principal = principal
        self.deadline = time.monotonic() + TIMEOUT_S if deadline is None else deadline
        self.statements = 0
        self.database_s = 0.0
        self.read_after = 0
        self.wrote = 0
        self.receive: Receive | None = None
        self.gone = False
        self.claim: Claim | None = None
        self.transaction: Any = None
        self.ip = ""
        self.scheme = "http"

    def attribution(self) -> tuple[str | None, str | None, str | None]:
        """Whose a change is: the actor (none is anonymous), the tenant, and the request's id.

        The actor is `user:7` or `service:3`, or `user:1 as user:7` of who acts in another's name.
        """
        principal = self.principal
        tenant = None if principal.tenant is None else str(principal.tenant)
        if principal.is_anonymous:
            return None, tenant, self.request_id or None
        named = f"{principal.kind.value}:{principal.id}"
        actor = named if principal.actor is None else f"user:{principal.actor} as {named}"
        return actor, tenant, self.request_id or None


@lru_cache(maxsize=1_024)
def network_of(ip: str) -> str:
    """Whom an address stands for: whoever has an IPv6 address has its whole /64.

    Example:
        >>> network_of("2001:db8::1"), network_of("192.0.2.1"), network_of("::ffff:192.0.2.1")
        ('2001:db8::/64', '192.0.2.1', '192.0.2.1')
    """
    try:
        address = IPv6Address(ip)
    except ValueError:
        return ip
    return str(address.ipv4_mapped or IPv6Network((address.packed, 64), strict=False))
