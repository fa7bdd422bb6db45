"""Verified tokens of the two ceilings: each token is verified once, and its expiry every time."""

import time

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

TOKENS_MAX = 10_000
CLAIMS = jwt.JWTClaimsRegistry(sub={"essential": True}, exp={"essential": True})

Token = bytes | str  # the Authorization header as the server's interface gives it


class Tokens:
    def __init__(self, secret: str) -> None:
        self.key = OctKey.import_key(secret)
        self.known: dict[Token, tuple[int, float]] = {}

    def user_id(self, token: Token) -> int | None:
        """Return the user a valid token names."""
        known = self.known.get(token)
        if known is not None:
            if known[1] > time.time():
                return known[0]
            del self.known[token]
        text = token if isinstance(token, str) else token.decode("latin-1")
        try:
            claims = jwt.decode(text.removeprefix("Bearer "), self.key, algorithms=["HS256"]).claims
            CLAIMS.validate(claims)
            user = int(claims["sub"])
        except (JoseError, ValueError):
            return None
        if len(self.known) >= TOKENS_MAX:
            self.known.clear()
        self.known[token] = user, claims["exp"]
        return user
