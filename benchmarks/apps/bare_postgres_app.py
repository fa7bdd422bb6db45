"""The ceiling on PostgreSQL: what an expert writes by hand when nothing but these five requests matters.

No framework, no rules, no limits, no logging. Fixed SQL whose JSON is built by PostgreSQL, a last-in-first-out
stack of a few connections with prepared statements (asyncpg gives `json` as it comes), a cache of verified tokens.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import asyncpg
import orjson
import uvloop
from asyncpg.prepared_stmt import PreparedStatement
from granian.constants import Interfaces
from granian.server.embed import Server

from benchmarks.apps.tokens import Token, Tokens

INTERFACE = Interfaces.ASGINL  # as in bare_app
READERS = 4  # more only take turns: ten answer fewer reads per second
WRITERS = 10  # more commits share one flush of the log
LIMIT_MAX = 100
ID_MAX = 2**63 - 1
CREATE_PATH = "/api/v1/scores"

Answer = tuple[int, bytes]
Row = Any  # asyncpg.Record
Prepared = dict[str, PreparedStatement]  # the statements of one connection, by their text
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

ONE_GAME = (
    "select row_to_json(g) from (select id, slug, name, created_at, updated_at, version from games where id = $1) g"
)
# The page size is part of the text: as a parameter it would be planned again on each call.
PAGE_OF_GAMES = (
    "select (select coalesce(json_agg(g), '[]') from "
    "(select id, slug, name, created_at, updated_at, version from games order by id limit {} offset $1) g), "
    "(select count(*) from games)"
)
TOP_SCORES = (
    "select coalesce(json_agg(r), '[]') from "
    "(select s.id, s.game_id, s.player_id, s.value, s.created_at, s.updated_at, s.version, p as player "
    "from scores s left join lateral (select u.id, u.username from users u where u.id = s.player_id) p on true "
    "where s.game_id = $1 order by s.value desc, s.id desc limit {}) r"
)
CREATE_SCORE = "insert into scores (game_id, player_id, value) values ($1, $2, $3) returning row_to_json(scores)"


class Pool:
    """Connections handed out last in, first out; nothing is reset between uses, as nothing sets anything."""

    def __init__(self) -> None:
        self.idle: list[tuple[asyncpg.Connection, Prepared]] = []
        self.waiting: deque[asyncio.Future[tuple[asyncpg.Connection, Prepared]]] = deque()

    async def open(self, url: str, connections: int) -> None:
        for _ in range(connections):
            self.idle.append((await asyncpg.connect(url), {}))

    async def row(self, text: str, *values: object) -> Row | None:
        """Run a statement that returns at most one row."""
        if self.idle:
            used = self.idle.pop()
        else:
            self.waiting.append(future := asyncio.get_running_loop().create_future())
            used = await future
        try:
            connection, statements = used
            statement = statements.get(text)
            if statement is None:  # at most one text per page size, so the dictionary is bounded
                statement = statements[text] = await connection.prepare(text)
            return await statement.fetchrow(*values)
        finally:
            while self.waiting:
                waiter = self.waiting.popleft()
                if not waiter.done():
                    waiter.set_result(used)
                    break
            else:
                self.idle.append(used)


class Application:
    """The five requests, and the ASGI callable in front of them."""

    def __init__(self, readers: Pool, writers: Pool, secret: str) -> None:
        self.row, self.written_row = readers.row, writers.row
        self.user_id = Tokens(secret).user_id

    async def asgi(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] == "POST" and path == CREATE_PATH:
            token = next((value for name, value in scope["headers"] if name == b"authorization"), None)
            message = await receive()
            content = message["body"]
            while message.get("more_body"):
                message = await receive()
                content += message["body"]
            status, body = await self.create(token, content)
        elif path.startswith("/api/v1/games/"):
            status, body = await self.game(path[14:])
        elif path == "/api/v1/scores":
            status, body = await self.top_scores(parameters(scope["query_string"]))
        elif path == "/api/v1/games":
            status, body = await self.games(parameters(scope["query_string"]))
        else:
            status, body = (200, b'{"status":"ok"}') if path == "/health/live" else NOT_FOUND
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def game(self, key: str) -> Answer:
        number = int(key) if key.isdecimal() else ID_MAX + 1
        row = await self.row(ONE_GAME, number) if number <= ID_MAX else None
        return (200, b'{"data":%b}' % row[0].encode()) if row else NOT_FOUND

    async def top_scores(self, query: dict[bytes, bytes]) -> Answer:
        limit = min(int(query.get(b"limit", b"20")), LIMIT_MAX)
        row = await self.row(TOP_SCORES.format(limit), int(query[b"game_id"]))
        assert row is not None, "an aggregate gives one row"
        return 200, b'{"data":%b,"meta":{"page":1,"limit":%d}}' % (row[0].encode(), limit)

    async def games(self, query: dict[bytes, bytes]) -> Answer:
        page, limit = int(query.get(b"page", b"1")), min(int(query.get(b"limit", b"20")), LIMIT_MAX)
        row = await self.row(PAGE_OF_GAMES.format(limit), (page - 1) * limit)
        assert row is not None, "an aggregate gives one row"
        total = row[1]
        return (
            200,
            b'{"data":%b,"meta":{"page":%d,"limit":%d,"total":%d,"pages":%d,"has_next":%b,"has_prev":%b}}'
            % (
                *(row[0].encode(), page, limit, total, -(-total // limit)),
                b"true" if page * limit < total else b"false",
                b"true" if page > 1 else b"false",
            ),
        )

    async def create(self, token: Token | None, content: bytes) -> Answer:
        user_id = self.user_id(token) if token else None
        if user_id is None:
            return UNAUTHORIZED
        try:
            body = orjson.loads(content)
            game_id, value = body["game_id"], body["value"]
            if type(game_id) is not int or type(value) is not int or value < 0:
                return INVALID
            row = await self.written_row(CREATE_SCORE, game_id, user_id, value)
        except (ValueError, KeyError, TypeError, asyncpg.PostgresError, asyncpg.DataError):
            return INVALID
        assert row is not None, "an insert returns its row"
        return 201, b'{"data":%b}' % row[0].encode()


NOT_FOUND = 404, b'{"title":"Not Found"}'
UNAUTHORIZED = 401, b'{"title":"Unauthorized"}'
INVALID = 400, b'{"title":"Bad Request"}'


def parameters(query: bytes) -> dict[bytes, bytes]:
    """Split a query string whose values need no decoding."""
    return dict([part.split(b"=", 1) for part in query.split(b"&")]) if query else {}


async def main(port: int) -> None:
    readers, writers = Pool(), Pool()
    await readers.open(os.environ["BENCH_DATABASE"], READERS)
    await writers.open(os.environ["BENCH_DATABASE"], WRITERS)
    application = Application(readers, writers, os.environ["BENCH_SECRET"])
    server = Server(application.asgi, port=port, interface=INTERFACE, log_enabled=False, websockets=False)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
