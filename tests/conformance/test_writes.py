"""Writes: create, PATCH, PUT and DELETE, with every refusal first; a refused write changes nothing."""

from typing import Any

import pytest

from support.api import Api, fields_of, problem_of

pytestmark = pytest.mark.anyio

GAME = {"slug": "new", "name": "New"}

#: (method, path, who, body, status, fields named)
REFUSED: list[tuple[str, str, str, Any, int, list[str]]] = [
    # what a body is
    ("POST", "/games", "admin", {}, 400, ["slug", "name"]),
    ("POST", "/games", "admin", {"slug": "UPPER", "name": ""}, 400, ["slug", "name"]),
    ("POST", "/games", "admin", GAME | {"nme": 1, "scores": 1}, 400, ["scores"]),
    ("POST", "/games", "admin", GAME | {"id": 7}, 400, ["id"]),
    (
        "POST",
        "/games",
        "admin",
        GAME | {"version": 7, "created_at": "2026-01-01T00:00:00Z"},
        400,
        ["version", "created_at"],
    ),
    ("POST", "/games", "admin", GAME | {"name": "x" * 81}, 400, ["name"]),
    ("POST", "/games", "admin", GAME | {"price": "0.001"}, 400, ["price"]),
    ("POST", "/users", "admin", {"username": "x", "password": "y"}, 400, ["password"]),
    ("POST", "/scores", "ada", {"game_id": 1, "value": -1}, 400, ["value"]),
    ("POST", "/scores", "ada", {"game_id": 1, "value": 1, "player_id": 2}, 400, ["player_id"]),
    ("PATCH", "/games/tetris", "admin", {"slug": None, "name": None}, 400, ["slug", "name"]),
    ("PATCH", "/games/tetris", "admin", {"id": 9}, 400, ["id"]),
    ("PATCH", "/scores/1", "ada", {"player_id": 2}, 400, ["player_id"]),
    ("PUT", "/games/tetris", "admin", {"slug": "tetris"}, 400, ["name"]),
    ("PUT", "/games/tetris", "admin", {}, 400, ["slug", "name"]),
    # what the database says
    ("POST", "/games", "admin", {"slug": "tetris", "name": "Again"}, 409, ["slug"]),
    ("PATCH", "/games/pong", "admin", {"slug": "tetris"}, 409, ["slug"]),
    ("POST", "/shelves", "", {"user_id": 1, "place": "attic"}, 409, ["user_id", "place"]),
    ("POST", "/settings", "", {"name": "theme"}, 409, ["name"]),
    ("POST", "/scores", "ada", {"game_id": 99, "value": 1}, 409, ["game_id"]),
    ("PATCH", "/games/tetris", "admin", {"owner_id": 99}, 409, ["owner_id"]),
    ("DELETE", "/games/tetris", "admin", None, 409, ["scores", "comments"]),
    (
        *("DELETE", "/users/1", "admin", None, 409),
        ["users", "games", "scores", "comments", "payments", "members", "shelves"],
    ),
    # where there is nothing
    ("PATCH", "/games/nope", "admin", {"name": "x"}, 404, []),
    ("PUT", "/games/nope", "admin", GAME, 404, []),
    ("DELETE", "/games/nope", "admin", None, 404, []),
    ("PATCH", "/users/x", "admin", {"name": "x"}, 404, []),
    ("DELETE", "/users/x", "admin", None, 404, []),
    ("DELETE", "/users/99999999999999999999", "admin", None, 404, []),
    # who asks
    ("POST", "/games", "", GAME, 401, []),
    ("POST", "/games", "ada", GAME, 403, []),
    ("PATCH", "/games/tetris", "", {"name": "x"}, 401, []),
    ("PATCH", "/games/tetris", "ada", {"name": "x"}, 403, []),
    ("DELETE", "/games/tetris", "", None, 401, []),
    ("DELETE", "/games/tetris", "bob", None, 403, []),
    ("PATCH", "/scores/1", "bob", {"value": 1}, 403, []),
    ("PATCH", "/scores/1", "admin", {"value": 1}, 403, []),
    ("PUT", "/scores/1", "bob", {"value": 1, "game_id": 1}, 403, []),
    ("DELETE", "/scores/1", "bob", None, 403, []),
    ("PATCH", "/scores/1", "", {"value": 1}, 401, []),
    ("POST", "/comments", "ada", {"body": "x", "game_id": 1, "author_id": 2}, 403, []),
    ("POST", "/comments", "ada", {"body": "x", "game_id": 1}, 403, []),
    ("PATCH", "/comments/1", "ada", {"author_id": 2}, 403, []),
    ("PATCH", "/comments/2", "ada", {"body": "mine now"}, 403, []),
    ("PATCH", "/teams/2", "ada", {"name": "x"}, 403, []),
    ("POST", "/payments", "ada", {"payer_id": 1, "amount": "1"}, 403, []),
]


async def dump(api: Api) -> dict[str, Any]:
    """Every row that an admin can see."""
    names = (
        "users",
        "games",
        "scores",
        "tags",
        "comments",
        "payments",
        "teams",
        "members",
        "shelves",
        "books",
        "settings",
    )
    return {name: await api.data(f"/{name}", "limit=100", who="admin") for name in names}


@pytest.mark.parametrize(("method", "path", "who", "body", "status", "fields"), REFUSED)
async def test_a_refused_write_names_why_and_changes_nothing(
    fresh: Api, method: str, path: str, who: str, body: Any, status: int, fields: list[str]
) -> None:
    """Every field at fault at once; the rows are the same before and after."""
    before = await dump(fresh)
    response = await fresh.send(method, path, who=who, json=body)
    problem = problem_of(response, status)
    assert sorted(fields_of(problem)) == sorted(fields)
    assert await dump(fresh) == before
    assert "UNIQUE" not in response.text
    assert "constraint" not in response.text.lower() or status == 400


async def test_a_misspelt_field_is_answered_with_the_nearest(fresh: Api) -> None:
    """The hint is computed from the body's fields."""
    response = await fresh.send("POST", "/games", who="admin", json=GAME | {"realeased": "2026-01-01"})
    assert "'released'" in problem_of(response, 400)["hint"]


async def test_create_answers_the_row_and_its_place(fresh: Api) -> None:
    """201 with Location and an ETag; defaults and stamps are set; a read shows the very same."""
    response = await fresh.send("POST", "/scores", who="bob", json={"game_id": 2, "value": 2**53 + 1})
    assert response.status_code == 201
    row = response.json()["data"]
    assert (row["player_id"], row["value"], row["note"], row["version"]) == (2, 2**53 + 1, None, 1)
    assert row["created_at"] == row["updated_at"]
    place = response.headers["location"]
    read = await fresh.http.get(place)
    assert read.json()["data"] == row
    assert read.headers["etag"] == response.headers["etag"]
    response = await fresh.send("POST", "/games", who="admin", json=GAME)
    assert response.headers["location"] == "/api/v1/games/new"


async def test_create_with_a_key_of_the_callers_choice(fresh: Api) -> None:
    """Composite and natural keys; Location encodes what a path cannot hold."""
    shelf = await fresh.written("POST", "/shelves", {"user_id": 3, "place": "ä/b"}, status=201)
    assert shelf == {"user_id": 3, "place": "ä/b", "title": None}
    response = await fresh.send("POST", "/settings", json={"name": "a/b ?#", "value": [1]})
    assert response.status_code == 201
    assert (await fresh.http.get(response.headers["location"])).json()["data"] == {"name": "a/b ?#", "value": [1]}
    response = await fresh.send("POST", "/shelves", json={"user_id": 3, "place": "x,y"})
    assert (await fresh.http.get(response.headers["location"])).json()["data"]["place"] == "x,y"


async def test_patch_changes_what_is_named(fresh: Api) -> None:
    """Absent fields stay, null is null; the version counts, the time moves, the validator changes."""
    before = await fresh.send("GET", "/games/tetris")
    old = before.json()["data"]
    response = await fresh.send("PATCH", "/games/tetris", who="admin", json={"price": None, "name": "T"})
    assert response.status_code == 200
    row = response.json()["data"]
    assert row == old | {"price": None, "name": "T", "version": 2, "updated_at": row["updated_at"]}
    assert row["updated_at"] > old["updated_at"]
    assert response.headers["etag"] != before.headers["etag"]
    assert await fresh.data("/games/tetris") == row


async def test_an_empty_patch_changes_no_value(fresh: Api) -> None:
    """PATCH {} answers the row; rules and 404 hold as for any other."""
    old = await fresh.data("/games/tetris")
    row = await fresh.written("PATCH", "/games/tetris", {}, who="admin")
    assert {k: v for k, v in row.items() if k not in ("updated_at", "version")} == {
        k: v for k, v in old.items() if k not in ("updated_at", "version")
    }
    assert await fresh.data("/games/tetris") == row
    assert (await fresh.send("PATCH", "/games/nope", who="admin", json={})).status_code == 404
    assert (await fresh.send("PATCH", "/games/tetris", who="ada", json={})).status_code == 403
    plain = await fresh.written("PATCH", "/shelves/1,attic", {})
    assert plain == {"user_id": 1, "place": "attic", "title": "Old"}


async def test_a_changed_key_moves_the_row(fresh: Api) -> None:
    """A natural key is a column like others: the old path is gone, the new one answers."""
    row = await fresh.written("PATCH", "/games/empty", {"slug": "full"}, who="admin")
    assert row["slug"] == "full"
    assert await fresh.data("/games/full") == row
    await fresh.refused("/games/empty", status=404)


async def test_put_replaces_the_row(fresh: Api) -> None:
    """What the body does not name takes its default or null; what the server keeps may be sent back."""
    row = await fresh.written("PUT", "/games/tetris", {"slug": "tetris", "name": "Only"}, who="admin")
    assert (row["id"], row["price"], row["released"], row["owner_id"]) == (1, None, None, None)
    assert row["version"] == 2
    read = await fresh.data("/games/pong")
    again = await fresh.written("PUT", "/games/pong", read, who="admin")
    assert again == read | {"version": 2, "updated_at": again["updated_at"]}


async def test_delete_answers_nothing_and_the_row_is_gone(fresh: Api) -> None:
    """204 without a body; a second one is 404."""
    response = await fresh.send("DELETE", "/scores/1", who="ada")
    assert (response.status_code, response.content) == (204, b"")
    assert (await fresh.send("DELETE", "/scores/1", who="ada")).status_code == 404
    assert 1 not in await fresh.ids("/scores")
    assert (await fresh.send("DELETE", "/scores/2", who="admin")).status_code == 204
    assert (await fresh.send("DELETE", "/shelves/1,desk")).status_code == 204


async def test_a_check_holds_of_the_row_after_the_write(fresh: Api) -> None:
    """A comment in one's own name is admitted, and may be changed as long as it stays so."""
    body = {"body": "hello", "game_id": 1, "author_id": 1}
    row = await fresh.written("POST", "/comments", body, who="ada", status=201)
    changed = await fresh.written("PATCH", f"/comments/{row['id']}", {"body": "bye"}, who="ada")
    assert changed["body"] == "bye"


async def test_a_row_that_one_cannot_see_cannot_be_changed(fresh: Api) -> None:
    """404, as if it were not there: not 403."""
    for path in ("/teams/2", "/payments/3"):
        for who in ("", "ada"):
            response = await fresh.send("GET", path, who=who)
            assert response.status_code in (401, 404), response.text


async def test_a_reference_to_an_invisible_row_tells_nothing_of_it(fresh: Api) -> None:
    """A member of a team that only its members see: the foreign key holds, whoever writes."""
    assert (await fresh.send("POST", "/members", who="ada", json={"team_id": 2, "user_id": 1})).status_code == 405


async def test_writes_take_no_parameters(fresh: Api) -> None:
    """A parameter of a write is refused by name."""
    for method, path in (("POST", "/games"), ("PATCH", "/games/tetris"), ("PUT", "/games/tetris")):
        response = await fresh.send(method, path, "fields=id", who="admin", json=GAME)
        assert fields_of(problem_of(response, 400)) == ["fields"]
    response = await fresh.send("DELETE", "/games/empty", "force=true", who="admin")
    assert fields_of(problem_of(response, 400)) == ["force"]
