"""The ceiling: what an expert writes by hand when nothing but these five requests matters.

No framework, no rules, no limits, no logging. Fixed SQL whose JSON is built by SQLite, reads on the
event loop, one writer thread with group commit, a cache of verified tokens.
"""

import asyncio
import os
import queue
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import apsw
import orjson
import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from benchmarks.apps.tokens import Token, Tokens

INTERFACE = Interfaces.ASGINL  # ASGI without the lifespan protocol; the one constant to change with Backstay's server
GROUP_WRITES_MAX = 256
CREATE_PATH = "/api/v1/scores"

Answer = tuple[int, bytes]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Write = tuple[asyncio.Future[bytes], tuple[Any, ...]]

GAME = (
    "json_object('id', id, 'slug', slug, 'name', name, "
    "'created_at', created_at, 'updated_at', updated_at, 'version', version)"
)
SCORE = (
    "'id', s.id, 'game_id', s.game_id, 'player_id', s.player_id, 'value', s.value, "
    "'created_at', s.created_at, 'updated_at', s.updated_at, 'version', s.version"
)
ONE_GAME = f"select cast({GAME} as blob) from games where id = ?"
PAGE_OF_GAMES = (
    f"select cast(json_group_array({GAME}) as blob), (select count(*) from games) "
    "from (select * from games order by id limit ? offset ?)"
)
TOP_SCORES = (
    f"select cast(json_group_array(json_object({SCORE}, "
    "'player', json_object('id', u.id, 'username', u.username))) as blob) "
    "from (select * from scores where game_id = ? order by value desc, id desc limit ?) s "
    "left join users u on u.id = s.player_id"
)
CREATE_SCORE = (
    "insert into scores(game_id, player_id, value, created_at, updated_at, version) "
    f"values (?1, ?2, ?3, ?4, ?4, 1) returning cast(json_object({SCORE.replace('s.', '')}) as blob)"
)


def connect(path: str) -> apsw.Connection:
    """Open the database the way both the reader and the writer use it."""
    connection = apsw.Connection(path, statementcachesize=64)
    connection.set_busy_timeout(5_000)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on", "cache_size = -65536"):
        connection.execute(f"pragma {pragma}")
    return connection


class Writer(threading.Thread):
    """The thread that owns all writes: drains its queue into one transaction, answers after the commit."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.path, self.loop = path, loop
        self.writes: queue.SimpleQueue[Write] = queue.SimpleQueue()

    def insert(self, values: tuple[Any, ...]) -> asyncio.Future[bytes]:
        future = self.loop.create_future()
        self.writes.put((future, values))
        return future

    def run(self) -> None:
        connection = connect(self.path)
        while True:
            group = [self.writes.get()]
            while len(group) < GROUP_WRITES_MAX and not self.writes.empty():
                group.append(self.writes.get())
            answers: list[tuple[asyncio.Future[bytes], bytes | Exception]] = []
            try:
                connection.execute("begin immediate")
                for future, values in group:
                    try:
                        answers.append((future, connection.execute(CREATE_SCORE, values).get))
                    except apsw.ConstraintError as refused:  # undoes its own statement only
                        answers.append((future, refused))
                connection.execute("commit")
            except apsw.Error as failure:
                if connection.in_transaction:
                    connection.execute("rollback")
                answers = [(future, failure) for future, _ in group]
            self.loop.call_soon_threadsafe(settle, answers)


def settle(answers: list[tuple[asyncio.Future[bytes], bytes | Exception]]) -> None:
    for future, answer in answers:
        if future.cancelled():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


class Application:
    """The five requests, and the ASGI and RSGI callables in front of them."""

    def __init__(self, path: str, secret: str, loop: asyncio.AbstractEventLoop) -> None:
        self.read = connect(path).execute
        self.writer = Writer(path, loop)
        self.writer.start()
        self.user_id = Tokens(secret).user_id

    async def asgi(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and scope["path"] == CREATE_PATH:
            token = next((value for name, value in scope["headers"] if name == b"authorization"), None)
            message = await receive()
            content = message["body"]
            while message.get("more_body"):
                message = await receive()
                content += message["body"]
            status, body = await self.create(token, content)
        else:
            status, body = self.get(scope["path"], scope["query_string"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def rsgi(self, scope: Any, protocol: Any) -> None:
        if scope.method == "POST" and scope.path == CREATE_PATH:
            status, body = await self.create(scope.headers.get("authorization"), await protocol())
        else:
            status, body = self.get(scope.path, scope.query_string.encode())
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        protocol.response_bytes(status, headers, body)

    def get(self, path: str, query: bytes) -> Answer:
        if path.startswith("/api/v1/games/"):
            return self.game(path[14:])
        if path == "/api/v1/scores":
            return self.top_scores(parameters(query))
        if path == "/api/v1/games":
            return self.games(parameters(query))
        return (200, b'{"status":"ok"}') if path == "/health/live" else NOT_FOUND

    def game(self, key: str) -> Answer:
        row = self.read(ONE_GAME, (int(key),)).get if key.isdecimal() else None
        return (200, b'{"data":%b}' % row) if row else NOT_FOUND

    def top_scores(self, query: dict[bytes, bytes]) -> Answer:
        limit = min(int(query.get(b"limit", b"20")), 100)
        rows = self.read(TOP_SCORES, (int(query[b"game_id"]), limit)).get
        return 200, b'{"data":%b,"meta":{"page":1,"limit":%d}}' % (rows, limit)

    def games(self, query: dict[bytes, bytes]) -> Answer:
        page, limit = int(query.get(b"page", b"1")), min(int(query.get(b"limit", b"20")), 100)
        rows, total = self.read(PAGE_OF_GAMES, (limit, (page - 1) * limit)).get
        return (
            200,
            b'{"data":%b,"meta":{"page":%d,"limit":%d,"total":%d,"pages":%d,"has_next":%b,"has_prev":%b}}'
            % (
                *(rows, page, limit, total, -(-total // limit)),
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
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            row = await self.writer.insert((game_id, user_id, value, now))
        except (ValueError, KeyError, TypeError, apsw.ConstraintError):
            return INVALID
        return 201, b'{"data":%b}' % row


NOT_FOUND = 404, b'{"title":"Not Found"}'
UNAUTHORIZED = 401, b'{"title":"Unauthorized"}'
INVALID = 400, b'{"title":"Bad Request"}'


def parameters(query: bytes) -> dict[bytes, bytes]:
    """Split a query string whose values need no decoding."""
    return dict([part.split(b"=", 1) for part in query.split(b"&")]) if query else {}


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    path = os.environ["BENCH_DATABASE"].removeprefix("sqlite:///")
    application = Application(path, os.environ["BENCH_SECRET"], loop)
    target = application.rsgi if INTERFACE is Interfaces.RSGI else application.asgi
    server = Server(target, port=port, interface=INTERFACE, log_enabled=False, websockets=False)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
