"""Nested routes, natural and composite keys."""

from urllib.parse import quote

import pytest

from support.api import Api, fields_of

pytestmark = pytest.mark.anyio

MISSING = [
    "/games/nope",
    "/games/1",
    "/games/TETRIS",
    "/games/tetris%20",
    "/users/ada",
    "/users/0",
    "/users/1.0",
    "/users/1x",
    "/users/-1",
    "/users/99999999999999999999999",
    "/users/%F0%9D%84%9E",
    "/users/",
    "/shelves/1",
    "/shelves/1,attic,x",
    "/shelves/attic,1",
    "/shelves/1,",
    "/shelves/,attic",
    "/shelves/3,attic",
    "/settings/none",
    "/settings/",
    "/samples/1e0",
    "/nope",
    "/nope/1",
    "/nope/1/scores",
    "/games/tetris/scoes",
    "/games/tetris/owner",
    "/games/tetris/name",
    "/games/tetris/scores/1",
    "/games/nope/scores",
    "/users/x/scores",
    "/shelves/3,attic/books",
    "/scores/1/player",
    "/games//scores",
    "",
    "/",
]


@pytest.mark.parametrize("path", MISSING)
async def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    """An unknown resource or relation, a key that no row has, and a key that is none of its kind."""
    problem = await api.refused(path, status=404)
    assert problem["code"] == "NOT_FOUND"
    assert problem["errors"] == []


async def test_an_unknown_name_in_a_path_is_answered_with_the_nearest(api: Api) -> None:
    """The hint is computed from the resources and their lists."""
    assert "'games'" in (await api.refused("/gmes", status=404))["hint"]
    assert "'scores'" in (await api.refused("/games/tetris/scoes", status=404))["hint"]


@pytest.mark.parametrize(
    ("path", "query", "ids"),
    [
        ("/games/tetris/scores", "", [1, 2, 3, 10]),
        ("/games/tetris/scores", "sort=-value&limit=2&page=2", [10, 3]),
        ("/games/tetris/scores", "player.username=ada", [1, 10]),
        ("/games/tetris/scores", "or=(value=50,value=75)", [3, 10]),
        ("/games/empty/scores", "", []),
        ("/games/tetris/scores", "count=false&limit=3", [1, 2, 3]),
        ("/games/tetris/tags", "", [1, 2]),
        ("/games/go/tags", "", []),
        ("/tags/1/games", "", [1, 2]),
        ("/tags/1/games", "owner.username=bob", [2]),
        ("/users/1/games", "sort=-id", [4, 1]),
        ("/users/1/reports", "", [2, 3]),
        ("/comments/1/replies", "", [2, 4]),
        ("/users/1/scores", "game_id=3", [7]),
    ],
)
async def test_a_nested_list_has_the_parents_rows(api: Api, path: str, query: str, ids: list[int]) -> None:
    """The whole grammar of lists applies, in one statement with the parent's check."""
    assert await api.ids(path, query) == ids
    if "count" not in query and "limit" not in query:
        assert (await api.read(path, query))["meta"]["total"] == len(ids)
        body = await api.read(path, f"{query}&cursor=&limit=100")
        assert [row["id"] for row in body["data"]] == ids


async def test_nested_pages_of_cursors(api: Api) -> None:
    """Cursors stay below their parent; an unknown parent is 404 on any page."""
    first = await api.read("/games/tetris/scores", "sort=value,id&limit=2&cursor=&fields=id,value")
    assert [row["id"] for row in first["data"]] == [3, 10]
    query = f"sort=value,id&limit=2&cursor={first['meta']['next_cursor']}"
    second = await api.read("/games/tetris/scores", query)
    assert [row["id"] for row in second["data"]] == [1, 2]
    assert (await api.read("/games/empty/scores", query))["data"] == []
    await api.refused("/games/nope/scores", query, status=404)
    await api.refused("/games/nope/scores", "cursor=", status=404)


async def test_a_composite_key_is_its_parts_with_commas(api: Api) -> None:
    """A comma or slash inside a part is percent-encoded."""
    assert (await api.data("/shelves/1,attic"))["title"] == "Old"
    assert (await api.data("/shelves/2,a%2Cb%2Fc"))["title"] == "odd key"
    rows = await api.data("/shelves/2,a%2Cb%2Fc/books")
    assert [row["isbn"] for row in rows] == ["x/y?z,é"]


@pytest.mark.parametrize("name", ["theme", "a b/c", "ключ"])
async def test_any_text_can_be_a_key(api: Api, name: str) -> None:
    """Percent-encoded."""
    assert (await api.data(f"/settings/{quote(name, safe='')}"))["name"] == name


async def test_a_key_can_be_any_text_with_commas(api: Api) -> None:
    """Only composite keys are split."""
    assert (await api.data("/books/x%2Fy%3Fz,%C3%A9"))["user_id"] == 2


async def test_creating_below_sets_the_parent(fresh: Api) -> None:
    """The foreign key comes from the path; the row belongs to the parent, and Location is its own."""
    response = await fresh.send("POST", "/games/pong/scores", who="bob", json={"value": 3})
    assert response.status_code == 201
    row = response.json()["data"]
    assert (row["game_id"], row["player_id"], row["value"]) == (2, 2, 3)
    assert response.headers["location"] == f"/api/v1/scores/{row['id']}"
    assert await fresh.ids("/games/pong/scores") == [4, 5, row["id"]]
    book = await fresh.written("POST", "/shelves/2,a%2Cb%2Fc/books", {"isbn": "999"}, status=201)
    assert book == {"isbn": "999", "user_id": 2, "place": "a,b/c"}


async def test_creating_below_refuses_another_parent(fresh: Api) -> None:
    """The foreign key in the body is read-only there; a parent that is not there is 404; m2m has no POST."""
    response = await fresh.send("POST", "/games/pong/scores", who="bob", json={"value": 3, "game_id": 2})
    assert response.status_code == 400
    assert fields_of(response.json()) == ["game_id"]
    for path in ("/games/nope/scores", "/games/99/scores"):
        assert (await fresh.send("POST", path, who="bob", json={"value": 3})).status_code == 404
    response = await fresh.send("POST", "/games/pong/tags", who="admin", json={"label": "new"})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"
