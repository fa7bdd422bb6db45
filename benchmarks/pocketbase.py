"""PocketBase as a peer: collections made through its own API, rows put into its file while it is stopped."""

import json
from pathlib import Path
from typing import Any

import apsw

from benchmarks import data, process
from benchmarks.database import SQLiteFile
from benchmarks.target import BIN, Target
from benchmarks.workload import CLIENTS, GAMES, PAGE_ROWS, SECRET, Case, Request, creates, game_order

BINARY = BIN / "pocketbase"
ADMIN = "bench@example.com"
AUTODATES = [
    {"name": "created_at", "type": "autodate", "onCreate": True},
    {"name": "updated_at", "type": "autodate", "onCreate": True, "onUpdate": True},
    {"name": "version", "type": "number", "onlyInt": True},
]
SCORE_COLUMNS = "id,game,player,value,created_at,updated_at,version"


def record_id(kind: str, number: int) -> str:
    """Return a PocketBase id: 15 characters."""
    return f"{kind}{number:014d}"


def pocketbase(directory: Path, *, name: str, request_log: bool) -> Target:
    """Make PocketBase's data directory and return the target."""
    home = directory / name
    home.mkdir()

    def command(port: int) -> list[str]:
        return [
            str(BINARY),
            "serve",
            "--http",
            f"127.0.0.1:{port}",
            "--dir",
            str(home),
            "--automigrate=false",
        ]

    server = process.start(
        name,
        command(port := process.free_port()),
        port=port,
        env={},
        cwd=home,
        log=home / "setup.log",
        cpus=None,
    )
    try:
        process.wait_until_answers(server, *[Request("GET", "/api/health").render()] * 2)
        admin = _admin_token(port, home, directory / "setup.log")
        _make_collections(port, admin, request_log=request_log)
    finally:
        server.stop()
    _import_rows(home / "data.db")
    tokens = _user_tokens(name, command, home)
    return Target(
        name=name,
        title="PocketBase" if request_log else "PocketBase, request log off",
        database=SQLiteFile(home / "data.db"),
        command=command,
        requests=_requests(tokens),
        pocketbase=True,
    )


def _call(port: int, method: str, path: str, *, token: str | None, body: dict[str, Any] | None = None) -> Any:
    status, _, content = process.exchange(port, Request(method, path, token, body).render())
    if not 200 <= status < 300:
        raise process.ServerError(f"pocketbase answered {status} to {method} {path}: {content[:500]!r}")
    return json.loads(content) if content else None


def _admin_token(port: int, home: Path, log: Path) -> str:
    """Make a superuser with PocketBase's own command and sign in."""
    making = process.start(
        "pocketbase superuser",
        [str(BINARY), "superuser", "upsert", ADMIN, SECRET, "--dir", str(home)],
        port=0,
        env={},
        cwd=home,
        log=log,
        cpus=None,
    )
    if making.process.wait(30) != 0:
        raise process.ServerError(f"pocketbase made no superuser:\n{making.log_tail()}")
    return _sign_in(port)


def _sign_in(port: int) -> str:
    path = "/api/collections/_superusers/auth-with-password"
    return _call(port, "POST", path, token=None, body={"identity": ADMIN, "password": SECRET})["token"]


def _make_collections(port: int, admin: str, *, request_log: bool) -> None:
    users = _call(port, "GET", "/api/collections/users", token=admin)
    username = {"name": "username", "type": "text", "required": True}
    rules = {"listRule": "", "viewRule": ""}
    changed = {**rules, "fields": [*users["fields"], username]}
    _call(port, "PATCH", "/api/collections/users", token=admin, body=changed)
    text = {"type": "text", "required": True}
    games = {
        **rules,
        "name": "games",
        "type": "base",
        "fields": [{"name": "slug", **text}, {"name": "name", **text}, *AUTODATES],
        "indexes": ["CREATE UNIQUE INDEX idx_games_slug ON games (slug)"],
    }
    game_collection = _call(port, "POST", "/api/collections", token=admin, body=games)["id"]
    relation = {"type": "relation", "required": True, "maxSelect": 1}
    scores = {
        **rules,
        "name": "scores",
        "type": "base",
        "createRule": "@request.auth.id != '' && player = @request.auth.id",
        "fields": [
            {"name": "game", "collectionId": game_collection, **relation},
            {"name": "player", "collectionId": users["id"], **relation},
            {"name": "value", "type": "number", "onlyInt": True, "min": 0},
            *AUTODATES,
        ],
        "indexes": [
            "CREATE INDEX idx_scores_game_value ON scores (game, value)",
            "CREATE INDEX idx_scores_player ON scores (player)",
        ],
    }
    _call(port, "POST", "/api/collections", token=admin, body=scores)
    if not request_log:
        _call(port, "PATCH", "/api/settings", token=admin, body={"logs": {"maxDays": 0}})


def _import_rows(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("pragma journal_mode = wal; pragma synchronous = off")

    def stamp(number: int) -> str:
        return data.moment_of(number).strftime("%Y-%m-%d %H:%M:%S.") + "123Z"

    with connection:
        connection.executemany(
            "insert into users (id, username, email, emailVisibility, verified, password, tokenKey, name,"
            " avatar, created, updated)"
            " values (?1, ?2, ?2 || '@example.com', 0, 1, 'none', ?3, '', '', ?4, ?4)",
            (
                (record_id("p", number), username, f"{SECRET}{number:05d}", stamp(number))
                for number, username in data.user_rows()
            ),
        )
        connection.executemany(
            "insert into games (id, slug, name, created_at, updated_at, version) values (?1, ?2, ?3, ?4, ?4, 1)",
            ((record_id("g", number), slug, name, stamp(number)) for number, slug, name in data.game_rows()),
        )
        connection.executemany(
            f"insert into scores ({SCORE_COLUMNS}) values (?1, ?2, ?3, ?4, ?5, ?5, 1)",
            (
                (record_id("s", number), record_id("g", game), record_id("p", player), value, stamp(number))
                for number, game, player, value in data.score_rows()
            ),
        )
    connection.execute("analyze")
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


def _user_tokens(name: str, command: Any, home: Path) -> dict[int, str]:
    """Return one token per client; the superuser impersonates each, so that no password is hashed."""
    port = process.free_port()
    server = process.start(name, command(port), port=port, env={}, cwd=home, log=home / "setup.log", cpus=None)
    try:
        process.wait_until_answers(server, *[Request("GET", "/api/health").render()] * 2)
        admin = _sign_in(port)
        return {
            user: _call(
                port,
                "POST",
                f"/api/collections/users/impersonate/{record_id('p', user)}",
                token=admin,
                body={"duration": 3_600},
            )["token"]
            for user in range(1, CLIENTS + 1)
        }
    finally:
        server.stop()


def _requests(tokens: dict[int, str]) -> dict[Case, list[Request]]:
    """Return the workload in PocketBase's own URL grammar.

    Without `fields=`: it would make the JSON equal, but costs PocketBase 40 % more CPU than sending all.
    """
    top = f"sort=-value&perPage={PAGE_ROWS}&skipTotal=1&expand=player"
    return {
        "A": [Request("GET", f"/api/collections/games/records/{record_id('g', game)}") for game in game_order()],
        "B": [
            Request("GET", f"/api/collections/scores/records?filter=(game='{record_id('g', game)}')&{top}")
            for game in game_order()
        ],
        "C": [
            Request(
                "POST",
                "/api/collections/scores/records",
                tokens[player],
                {
                    "game": record_id("g", game),
                    "player": record_id("p", player),
                    "value": value,
                    "version": 1,
                },
            )
            for game, player, value in creates()
        ],
        "D": [
            Request("GET", f"/api/collections/games/records?page={page}&perPage={PAGE_ROWS}&sort=slug")
            for page in range(1, GAMES // PAGE_ROWS + 1)
        ],
        "E": [Request("GET", "/api/health")],
    }
