"""If-Match and If-None-Match on writes: a row is changed only as its writer knew it (RFC 9110 §13.1)."""

import asyncio
from typing import Any

import pytest

from support.api import WHO, Api

pytestmark = pytest.mark.anyio

NEVER = '"7-0123456789abcdef0123456789abcdef"'


async def etag(api: Api, path: str, who: str = "") -> str:
    """The validator of a row as it is now."""
    return (await api.send("GET", path, who=who)).headers["etag"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("header", [NEVER, '"x"', "nonsense", 'W/"1-0123456789abcdef0123456789abcdef"', '""', ","])
async def test_what_is_not_the_rows_version_changes_nothing(fresh: Api, method: str, header: str) -> None:
    """412 with the current ETag where there is one to compare, and the row is as it was."""
    before = await fresh.send("GET", "/games/tetris")
    options: dict[str, Any] = {"json": {"name": "other"}} if method == "PATCH" else {}
    refused = await fresh.send(method, "/games/tetris", who="admin", headers={"if-match": header}, **options)
    assert refused.status_code == 412
    assert refused.json()["code"] == "PRECONDITION_FAILED"
    assert refused.headers["etag"] == before.headers["etag"]
    assert (await fresh.send("GET", "/games/tetris")).content == before.content


async def test_a_condition_tells_nothing_of_a_row_out_of_sight(fresh: Api) -> None:
    """404 as for a row that is not there; 403 where the principal may change no row at all."""
    refused = await fresh.send("PATCH", "/games/none", who="admin", json={"name": "x"}, headers={"if-match": NEVER})
    assert (refused.status_code, "etag" in refused.headers) == (404, False)
    refused = await fresh.send("PATCH", "/games/tetris", who="ada", json={"name": "x"}, headers={"if-match": NEVER})
    assert refused.status_code == 403
    for headers in ({"if-match": NEVER}, {"if-match": "nonsense"}, {"if-none-match": "*"}):
        refused = await fresh.send("PATCH", "/games/tetris", json={"name": "x"}, headers=headers)
        assert (refused.status_code, "etag" in refused.headers) == (401, False)


async def test_the_rows_version_is_changed(fresh: Api) -> None:
    """By its ETag, by a list that has it, by `*`; each change has a new ETag, and the old one is good for nothing."""
    seen = [await etag(fresh, "/games/tetris")]
    for i, header in enumerate(["{}", NEVER + ", {}", "*"]):
        headers = {"if-match": header.replace("{}", seen[-1])}
        done = await fresh.send("PATCH", "/games/tetris", who="admin", json={"name": f"n{i}"}, headers=headers)
        assert done.status_code == 200, done.text
        seen.append(done.headers["etag"])
        assert seen[-1] == await etag(fresh, "/games/tetris")
    assert len(set(seen)) == 4
    for old in seen[:-1]:
        gone = await fresh.send("PATCH", "/games/tetris", who="admin", json={"name": "x"}, headers={"if-match": old})
        assert (gone.status_code, gone.headers["etag"]) == (412, seen[-1])


async def test_a_shorter_representations_etag_is_good_too(fresh: Api) -> None:
    """The version counts, not the fields that were read with it."""
    short = await fresh.send("GET", "/games/tetris", "fields=name")
    headers = {"if-match": short.headers["etag"]}
    done = await fresh.send("PATCH", "/games/tetris", who="admin", json={"name": "x"}, headers=headers)
    assert done.status_code == 200


async def test_create_only_does_not_change_what_is_there(fresh: Api) -> None:
    """`If-None-Match: *` on a row that is there."""
    headers = {"if-none-match": "*"}
    refused = await fresh.send("PATCH", "/games/tetris", who="admin", json={"name": "x"}, headers=headers)
    assert refused.status_code == 412


CREATE_ONLY = {"if-none-match": "*"}
#: What makes no row: method, path, who, body, status and the field at fault.
UNMADE: list[tuple[str, str, str, Any, int, str]] = [
    ("PUT", "/games/new", "", {"name": "N"}, 401, ""),
    ("PUT", "/games/new", "ada", {"name": "N"}, 403, ""),
    ("PUT", "/games/tetris", "ada", {"name": "N"}, 403, ""),
    ("PUT", "/games/new", "admin", {}, 400, "name"),
    ("PUT", "/games/new", "admin", {"name": 1}, 400, "name"),
    ("PUT", "/games/new", "admin", {"name": "N", "slug": "other"}, 409, "slug"),
    ("PUT", "/games/Bad%20Slug", "admin", {"name": "N"}, 404, "slug"),
    ("PUT", "/games/new", "admin", {"name": "N", "nosuch": 7}, 400, "nosuch"),
    ("PUT", "/games/new", "admin", {"name": "N", "owner_id": 99}, 409, "owner_id"),
    ("PUT", "/games/tetris", "admin", {"name": "N"}, 412, ""),
    ("PUT", "/games/tetris", "admin", {"name": "N", "slug": "tetris"}, 412, ""),
    ("PUT", "/shelves/1,attic", "admin", {"title": "N"}, 412, ""),
    ("PUT", "/shelves/x,attic", "admin", {"title": "N"}, 404, "user_id"),
    ("PUT", "/shelves/1", "admin", {"title": "N"}, 404, ""),
    ("PUT", "/scores/99", "admin", {"game_id": 1, "value": 1}, 404, ""),
    ("PATCH", "/games/new", "admin", {"name": "N"}, 404, ""),
    ("DELETE", "/games/new", "admin", None, 404, ""),
]


@pytest.mark.parametrize(("method", "path", "who", "body", "status", "field"), UNMADE)
async def test_no_row_is_made_where_one_is_or_may_not_be(
    fresh: Api, method: str, path: str, who: str, body: Any, status: int, field: str
) -> None:
    """Refused as a create is, and with the current ETag where there is a row; nothing is changed."""
    lists = ("/games", "/shelves", "/scores")
    before = [await fresh.data(name, "limit=100", who="admin") for name in lists]
    refused = await fresh.send(method, path, who=who, json=body, headers=CREATE_ONLY)
    assert refused.status_code == status, refused.text
    assert [error["field"] for error in refused.json()["errors"]] == ([field] if field else [])
    if status == 412:
        assert refused.headers["etag"] == await etag(fresh, path, "admin")
    assert [await fresh.data(name, "limit=100", who="admin") for name in lists] == before


@pytest.mark.parametrize(
    ("path", "body", "key"),
    [
        ("/games/new-one", {"name": "N"}, {"slug": "new-one"}),
        ("/games/new-two", {"name": "N", "slug": "new-two", "price": 1.10}, {"slug": "new-two", "price": "1.10"}),
        ("/games/new-three", {"name": "N", "id": 1, "version": 9, "created_at": "x"}, {"version": 1}),
        ("/shelves/1,b%20c", {"title": "N"}, {"user_id": 1, "place": "b c"}),
        ("/shelves/2,x", {"user_id": 2, "title": "N"}, {"user_id": 2, "place": "x"}),
    ],
)
async def test_a_path_makes_its_row_once(fresh: Api, path: str, body: Any, key: dict[str, Any]) -> None:
    """With `If-None-Match: *` it is created with the key of the path; without, no row is there to replace."""
    absent = await fresh.send("PUT", path, who="admin", json={"slug": "x"} | body if "games" in path else body)
    assert absent.status_code == 404
    made = await fresh.send("PUT", path, who="admin", json=body, headers=CREATE_ONLY)
    assert made.status_code == 201, made.text
    assert key.items() <= made.json()["data"].items()
    assert made.headers["location"] == f"/api/v1{path}"
    assert made.headers["etag"] == await etag(fresh, path, "admin")
    again = await fresh.send("PUT", path, who="admin", json=body, headers=CREATE_ONLY)
    assert (again.status_code, again.headers["etag"]) == (412, made.headers["etag"])


async def test_one_of_fifty_makes_the_row(fresh: Api) -> None:
    """All others are told that it is there."""

    async def one(number: int) -> int:
        headers = WHO["admin"] | CREATE_ONLY
        done = await fresh.http.put("/api/v1/games/raced", json={"name": f"n{number}"}, headers=headers)
        return int(done.status_code)

    assert sorted(await asyncio.gather(*(one(number) for number in range(50)))) == [201, *[412] * 49]


async def test_one_of_fifty_wins_a_version(fresh: Api) -> None:
    """All know the same version: one changes it, the others are told the new one, and its name is the winner's."""
    for version in range(1, 4):
        read = await fresh.http.get("/api/v1/games/tetris")
        known, before = {"if-match": read.headers["etag"]}, read.json()["data"]["version"]
        ways = [
            fresh.http.patch(
                "/api/v1/games/tetris", json={"name": f"{version}-{number}"}, headers=WHO["admin"] | known
            )
            for number in range(50)
        ]
        answers = await asyncio.gather(*ways)
        assert sorted(answer.status_code for answer in answers) == [200, *[412] * 49]
        (winner,) = (answer for answer in answers if answer.status_code == 200)
        assert {answer.headers["etag"] for answer in answers} == {winner.headers["etag"]}
        row = (await fresh.http.get("/api/v1/games/tetris")).json()["data"]
        assert (row["version"], row["name"]) == (before + 1, winner.json()["data"]["name"])


async def test_fifty_that_try_again_all_count(fresh: Api) -> None:
    """Each adds a number to what it read, until nobody was faster: a version more for each, and the whole sum."""
    path, admin = "/api/v1/games/tetris", WHO["admin"]
    first = (await fresh.http.patch(path, json={"name": "0"}, headers=admin)).json()["data"]["version"]
    lost = 0

    async def add(number: int) -> None:
        nonlocal lost
        while True:
            read = await fresh.http.get(path)
            body = {"name": str(int(read.json()["data"]["name"]) + number)}
            done = await fresh.http.patch(path, json=body, headers=admin | {"if-match": read.headers["etag"]})
            if done.status_code == 200:
                return
            assert done.status_code == 412, done.text
            lost += 1

    await asyncio.gather(*(add(number) for number in range(1, 51)))
    row = (await fresh.http.get("/api/v1/games/tetris")).json()["data"]
    assert (row["version"] - first, row["name"]) == (50, str(50 * 51 // 2))
    assert lost, "they were in each other's way"


async def test_one_of_fifty_writers_wins_each_version(fresh: Api) -> None:
    """Each counts up by one from what it read; nothing is lost."""
    http = fresh.http
    url, wins = "/api/v1/games/tetris", 0
    admin = WHO["admin"]

    async def one() -> bool:
        read = await http.get(url)
        number = int(read.json()["data"]["name"].rpartition(" ")[2])
        headers = admin | {"if-match": read.headers["etag"]}
        done = await http.patch(url, json={"name": f"n {number + 1}"}, headers=headers)
        assert done.status_code in (200, 412), done.text
        return done.status_code == 200

    await http.patch(url, json={"name": "n 0"}, headers=admin)
    for _ in range(3):
        wins += sum(await asyncio.gather(*(one() for _ in range(50))))
    assert wins >= 3
    assert (await http.get(url)).json()["data"]["name"] == f"n {wins}"
