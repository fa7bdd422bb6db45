"""`/.well-known/jwks.json`: the public keys by which other services check access tokens (RFC 7517, RFC 8615)."""

from __future__ import annotations

import orjson

from ..auth.accounts import Accounts
from ..http.messages import JSON_TYPE, Request, Response

PATH = b"/.well-known/jwks.json"
#: Keys change rarely, and one that is new signs at once.
_MAX_AGE_S = 300


class Jwks:
    """Answers with the keys that this process knows."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def answer(self, request: Request) -> Response:
        """The key set."""
        await self._accounts.revocations.look(request.context)
        body = orjson.dumps({"keys": await self._accounts.keys.public(request.context)})
        return Response(200, body, [JSON_TYPE, (b"cache-control", b"public, max-age=%d" % _MAX_AGE_S)])
