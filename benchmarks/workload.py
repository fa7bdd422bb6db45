"""What is asked of every server: sizes, cases, tokens, and the request bytes of the common URL layout.

Nothing here knows how a server is started or measured.
"""

import json
import random
import time
from dataclasses import dataclass
from typing import Literal

from joserfc import jwt
from joserfc.jwk import OctKey

Case = Literal["A", "B", "C", "D", "E"]

CASES: dict[Case, str] = {
    "A": "one game by id",
    "B": "20 top scores of a game, player nested",
    "C": "create a score, token verified, durable",
    "D": "page of 20 games with total",
    "E": "health",
}

USERS = 10_000
GAMES = 100
SCORES = 200_000
PAGE_ROWS = 20
CLIENTS = 64
VALUE_MAX = 1_000_000
CREATES = 1_000  # distinct request bodies of case C; the load generator cycles through them
KEY = "key-000000000000000000"  # what the load generator replaces, by one as long
SECRET = "benchmark-secret-of-more-than-32-bytes"  # signs tokens on loopback only
SEED = 20_260_101

GAME_FIELDS = frozenset({"id", "slug", "name", "created_at", "updated_at", "version"})
SCORE_FIELDS = frozenset({"id", "game_id", "player_id", "value", "created_at", "updated_at", "version"})
PLAYER_FIELDS = frozenset({"id", "username"})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, rendered once and sent many times."""

    method: str
    path: str
    token: str | None = None
    body: dict[str, object] | None = None
    keyed: bool = False  # with an Idempotency-Key, which the load generator makes anew each time

    def render(self) -> bytes:
        """Return the bytes on the wire, headers as a browser-less API client sends them."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
        content = b""
        if self.token is not None:
            lines.append(f"Authorization: Bearer {self.token}")
        if self.body is not None:
            content = json.dumps(self.body).encode()
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
        if self.keyed:
            lines.append(f"Idempotency-Key: {KEY}")
        return "\r\n".join([*lines, "", ""]).encode() + content


def token(user_id: int, lifetime_s: int = 3_600) -> str:
    """Return a signed HS256 token of one user.

    `iat` is a second in the past: a clock read twice must not make a token "not yet valid".
    """
    now = int(time.time())
    claims = {"sub": str(user_id), "iat": now - 1, "exp": now + lifetime_s}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET))


def creates() -> list[tuple[int, int, int]]:
    """Return (game_id, player_id, value) of each distinct create; one player per client."""
    randomizer = random.Random(SEED)
    return [
        (randomizer.randint(1, GAMES), 1 + number % CLIENTS, randomizer.randint(0, VALUE_MAX))
        for number in range(CREATES)
    ]


def game_order() -> list[int]:
    """Return every game id once, shuffled the same way in every run."""
    ids = list(range(1, GAMES + 1))
    random.Random(SEED).shuffle(ids)
    return ids


def rest_requests(list_options: str = "") -> dict[Case, list[Request]]:
    """Return the requests for the URL layout that Backstay and the Python peers share."""
    tokens = {user: token(user) for user in range(1, CLIENTS + 1)}
    return {
        "A": [Request("GET", f"/api/v1/games/{game}") for game in game_order()],
        "B": [
            Request("GET", f"/api/v1/scores?game_id={game}&sort=-value&limit={PAGE_ROWS}{list_options}")
            for game in game_order()
        ],
        "C": [
            Request("POST", "/api/v1/scores", tokens[player], {"game_id": game, "value": value})
            for game, player, value in creates()
        ],
        "D": [
            Request("GET", f"/api/v1/games?page={page}&limit={PAGE_ROWS}")
            for page in range(1, GAMES // PAGE_ROWS + 1)
        ],
        "E": [Request("GET", "/health/live")],
    }
