"""Right before fast: each server's answers are compared with the data before and after it is measured."""

import json
from typing import Any

from benchmarks import data
from benchmarks.process import Server, ServerError, exchange
from benchmarks.target import Target
from benchmarks.workload import (
    GAME_FIELDS,
    GAMES,
    PAGE_ROWS,
    PLAYER_FIELDS,
    SCORE_FIELDS,
    Case,
    Request,
    creates,
    game_order,
)


def verify(target: Target, server: Server, tops: dict[int, list[int]]) -> None:
    """Raise ServerError unless every case is answered with the right rows in the right shape."""
    rows_before = target.database.score_count()
    order = game_order()
    for at in (0, 7, 41):
        game = _one(target, _ask(server, target.requests["A"][at], 200))
        _expect(target, "A", "slug", f"game-{order[at]:03d}", game["slug"])
        _expect_fields(target, "A", GAME_FIELDS, game)
        rows, _ = _many(target, _ask(server, target.requests["B"][at], 200))
        _expect(target, "B", "values", tops[order[at]], [row["value"] for row in rows])
        for row in rows:
            _expect_fields(target, "B", SCORE_FIELDS | {"player"}, row)
            _expect_fields(target, "B", PLAYER_FIELDS, _narrowed(target, row["player"]))
            _expect(target, "B", "player", row["player_id"], row["player"]["id"])
    for at in (0, 4):
        rows, total = _many(target, _ask(server, target.requests["D"][at], 200))
        _expect(target, "D", "total", GAMES, total)
        names = [f"game-{at * PAGE_ROWS + number:03d}" for number in range(1, PAGE_ROWS + 1)]
        _expect(target, "D", "slugs", names, [row["slug"] for row in rows])
        for row in rows:
            _expect_fields(target, "D", GAME_FIELDS, row)
    _ask(server, target.requests["E"][0], 200)
    _verify_create(target, server)
    _expect(target, "C", "rows stored", rows_before + 1, target.database.score_count())


def _verify_create(target: Target, server: Server) -> None:
    """One valid create gives the row; without a token, or with a broken one, it gives nothing."""
    valid = target.requests["C"][0]
    assert valid.token is not None, "case C sends a token"
    head, payload, signature = valid.token.split(".")
    broken = f"{head}.{payload}.{signature[:-4]}AAAA"
    for token in (None, broken):
        request = Request(valid.method, valid.path, token, valid.body)
        status, _, body = exchange(server.port, request.render())
        if status not in {400, 401, 403}:  # PocketBase treats both as anonymous and answers 400
            raise ServerError(f"{target.name} case C: {status} without a valid token: {body[:200]!r}")
    row = _one(target, _ask(server, valid, 200 if target.pocketbase else 201))
    game, player, value = creates()[0]
    _expect(target, "C", "value", value, row["value"])
    _expect(target, "C", "game", game, int(str(row["game_id"]).lstrip("g")))
    _expect(target, "C", "player", player, int(str(row["player_id"]).lstrip("p")))
    _expect_fields(target, "C", SCORE_FIELDS, row)


def _ask(server: Server, request: Request, expected: int) -> Any:
    status, head, body = exchange(server.port, request.render())
    if status != expected:
        asked = f"{request.method} {request.path}"
        raise ServerError(f"{server.name} answered {status}, not {expected}, to {asked}: {body[:500]!r}")
    if b"content-type: application/json" not in head.lower():
        raise ServerError(f"{server.name} answered {request.path} without a JSON content type")
    return json.loads(body)


def _one(target: Target, body: Any) -> dict[str, Any]:
    return _renamed(body) if target.pocketbase else body["data"]


def _many(target: Target, body: Any) -> tuple[list[dict[str, Any]], int | None]:
    if target.pocketbase:
        return [_renamed(row) for row in body["items"]], body["totalItems"]
    return body["data"], body["meta"].get("total")


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a PocketBase record under the common names, without the two names of its collection."""
    names = {"game": "game_id", "player": "player_id"}
    renamed = {names.get(name, name): value for name, value in row.items()}
    renamed |= renamed.pop("expand", {})
    for added in ("collectionId", "collectionName"):
        renamed.pop(added, None)
    return renamed


def _narrowed(target: Target, player: dict[str, Any]) -> dict[str, Any]:
    """Return a PocketBase user without the further fields it always sends (see `pocketbase._requests`)."""
    if not target.pocketbase:
        return player
    return {name: value for name, value in player.items() if name in PLAYER_FIELDS}


def _expect(target: Target, case: Case, what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise ServerError(f"{target.name} case {case}: {what} should be {expected!r}, not {actual!r}")


def _expect_fields(target: Target, case: Case, expected: frozenset[str], row: dict[str, Any]) -> None:
    _expect(target, case, "fields", sorted(expected), sorted(row))


def expected_tops() -> dict[int, list[int]]:
    """Return the best values of each game, computed from the generated rows."""
    return data.top_values()
