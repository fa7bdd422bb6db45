"""Pages: by number with the full meta, without count, and by cursors both ways."""

from typing import Any

import pytest

from support.api import Api, fields_of
from support.samples import COLUMNS, KINDS

pytestmark = pytest.mark.anyio

WHOLE = "must be a whole number from 1 to"
REFUSED = [
    *(("page", value) for value in ("0", "-1", "x", "", "1.0", "1e3", "٣", "10000001", "9" * 40, "%201", "+1")),
    *(("limit", value) for value in ("0", "-5", "101", "all", "", "1.5", "9" * 40)),
    *(("count", value) for value in ("", "yes", "TRUE", "2")),
]

#: (query, meta)
METAS: list[tuple[str, dict[str, Any]]] = [
    ("", {"page": 1, "limit": 20, "total": 10, "pages": 1, "has_next": False, "has_prev": False}),
    ("limit=4", {"page": 1, "limit": 4, "total": 10, "pages": 3, "has_next": True, "has_prev": False}),
    ("limit=4&page=2", {"page": 2, "limit": 4, "total": 10, "pages": 3, "has_next": True, "has_prev": True}),
    ("limit=4&page=3", {"page": 3, "limit": 4, "total": 10, "pages": 3, "has_next": False, "has_prev": True}),
    ("limit=4&page=9", {"page": 9, "limit": 4, "total": 10, "pages": 3, "has_next": False, "has_prev": True}),
    ("limit=5&page=2", {"page": 2, "limit": 5, "total": 10, "pages": 2, "has_next": False, "has_prev": True}),
    ("limit=10", {"page": 1, "limit": 10, "total": 10, "pages": 1, "has_next": False, "has_prev": False}),
    ("value=-1", {"page": 1, "limit": 20, "total": 0, "pages": 0, "has_next": False, "has_prev": False}),
    ("limit=4&count=true", {"page": 1, "limit": 4, "total": 10, "pages": 3, "has_next": True, "has_prev": False}),
    ("limit=4&count=false", {"page": 1, "limit": 4, "has_next": True, "has_prev": False}),
    ("limit=4&count=0&page=3", {"page": 3, "limit": 4, "has_next": False, "has_prev": True}),
    ("limit=10&count=false", {"page": 1, "limit": 10, "has_next": False, "has_prev": False}),
    ("limit=5&count=false&page=2", {"page": 2, "limit": 5, "has_next": False, "has_prev": True}),
    (
        "page=10000000&limit=100",
        {"page": 10**7, "limit": 100, "total": 10, "pages": 1, "has_next": False, "has_prev": True},
    ),
]


@pytest.mark.parametrize(("word", "value"), REFUSED)
async def test_a_page_that_is_no_number_in_range_is_refused(api: Api, word: str, value: str) -> None:
    """The word is named, and the range is said."""
    problem = await api.refused("/scores", f"{word}={value}")
    assert fields_of(problem) == [word]
    assert WHOLE in problem["errors"][0]["message"] or word == "count"


async def test_words_that_exclude_each_other_are_refused(api: Api) -> None:
    """page with cursor, and any word twice."""
    assert fields_of(await api.refused("/scores", "page=1&cursor=")) == ["cursor"]
    for word in ("page=1", "limit=1", "sort=id", "count=true", "fields=id", "include=player", "cursor="):
        problem = await api.refused("/scores", f"{word}&{word}")
        assert fields_of(problem) == [word.partition("=")[0]]
        assert problem["errors"][0]["code"] == "duplicate"


@pytest.mark.parametrize(("query", "meta"), METAS)
async def test_a_page_by_number_has_its_meta(api: Api, query: str, meta: dict[str, Any]) -> None:
    """Also beyond the last page, on an empty list and without count; rows and total take one statement."""
    page = await api.read("/scores", query)
    assert page["meta"] == meta
    number, limit = meta["page"], meta["limit"]
    everything = [] if "value" in query else list(range(1, 11))
    assert [row["id"] for row in page["data"]] == everything[(number - 1) * limit : number * limit]


@pytest.mark.parametrize("sort", ["", "-value", "note,-value", "player.rank,-note"])
@pytest.mark.parametrize("limit", [1, 3, 10])
async def test_pages_by_number_tile_the_list(api: Api, sort: str, limit: int) -> None:
    """Every row is on exactly one page, in the order of the whole list."""
    order = f"sort={sort}" if sort else "count=true"
    whole = await api.ids("/scores", order)
    pages = [await api.ids("/scores", f"{order}&limit={limit}&page={n}") for n in range(1, -(-10 // limit) + 1)]
    assert [key for page in pages for key in page] == whole


async def walk(api: Api, path: str, query: str, key: str, *, towards: str = "next_cursor", start: str = "") -> Any:
    """(pages of keys, the last page's body) by following one cursor."""
    pages: list[list[Any]] = []
    cursor: str | None = start
    body: Any = None
    while cursor is not None:
        body = await api.read(path, f"{query}&cursor={cursor}")
        pages.append([row[key] for row in body["data"]])
        cursor = body["meta"][towards]
        assert len(pages) < 50
    return pages, body


SORTS = [
    ("/scores", sort)
    for sort in (
        "",
        "id",
        "-id",
        "value",
        "-value",
        "-value,id",
        "value,-id",
        "note",
        "-note",
        "note,-value",
        "-note,value",
    )
] + [
    ("/scores", "player.rank"),
    ("/scores", "-player.rank,game.name"),
    ("/scores", "game.owner.boss.username,-value"),
    ("/games", "price,-released"),
    ("/games", "-price,slug"),
    ("/comments", "-parent_id"),
    ("/tags", "label"),
    ("/books", "-place,user_id"),
    ("/shelves", "-title"),
    *(("/samples", f"{way}{c}") for c in COLUMNS if KINDS[c.removesuffix("_or")].sortable for way in ("", "-")),
]


@pytest.mark.parametrize(("path", "sort"), SORTS)
async def test_cursors_lead_through_every_row_and_back(api: Api, path: str, sort: str) -> None:
    """Forward in the order of the offset pages, backward in the same pages' order; no total, one statement each."""
    key = {"/books": "isbn", "/shelves": "place", "/samples": "id"}.get(path, "id")
    order = f"fields={key}&sort={sort}&" if sort else f"fields={key}&"
    whole = [row[key] for row in await api.data(path, f"{order}limit=100")]
    for limit in (1, 3, 100):
        pages, last = await walk(api, path, f"{order}limit={limit}", key)
        assert [k for page in pages for k in page] == whole
        assert last["meta"] == {"limit": limit, "next_cursor": None, "prev_cursor": last["meta"]["prev_cursor"]}
        before = last["meta"]["prev_cursor"]
        assert (before is None) == (len(pages) == 1)
        if before is not None:
            back, first = await walk(api, path, f"{order}limit={limit}", key, towards="prev_cursor", start=before)
            assert [k for page in reversed(back) for k in page] == whole[: len(whole) - len(pages[-1])]
            assert first["meta"]["prev_cursor"] is None
            assert first["meta"]["next_cursor"] is not None


async def test_a_cursor_goes_with_filters_shapes_and_includes(api: Api) -> None:
    """The pages of a filtered list hold its rows only, with what is included."""
    query = "value[gte]=50&sort=-value&limit=2&fields=id&include=player&fields[player]=username"
    pages, _ = await walk(api, "/scores", query, "id")
    assert pages == [[9, 5], [7, 2], [1, 10], [3]]
    body = await api.read("/scores", f"{query}&cursor=")
    assert body["data"][0] == {"id": 9, "player": {"username": "100%_\\"}}


async def test_a_cursor_outlives_its_row(fresh: Api) -> None:
    """A cursor names order values, not a row: after the row's deletion the page goes on behind its place."""
    first = await fresh.read("/scores", "sort=-value,id&limit=3&cursor=")
    assert (await fresh.send("DELETE", "/scores/1", who="ada")).status_code == 204
    following = await fresh.read("/scores", f"sort=-value,id&limit=3&cursor={first['meta']['next_cursor']}")
    assert [row["id"] for row in following["data"]] == [2, 7, 10]


async def test_an_empty_list_has_no_cursors(api: Api) -> None:
    """Nor rows."""
    body = await api.read("/scores", "value=-1&cursor=")
    assert body == {"data": [], "meta": {"limit": 20, "next_cursor": None, "prev_cursor": None}}
