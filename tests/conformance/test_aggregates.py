"""Aggregates: measures, groups, filters and pages of them."""

from decimal import Decimal
from typing import Any

import pytest

from support.api import Api, fields_of
from support.samples import COLUMNS, KINDS, ROWS, json_of, value_of

pytestmark = pytest.mark.anyio

#: (path, query, fields named)
REFUSED = [
    ("/scores", "select=median(value)", ["select"]),
    ("/scores", "select=sum", ["select"]),
    ("/scores", "select=max()", ["select"]),
    ("/scores", "select=count(distinct)", ["select"]),
    ("/scores", "select=sum(valu)", ["select"]),
    ("/scores", "select=sum(note)", ["select"]),
    ("/scores", "select=avg(created_at)", ["select"]),
    ("/scores", "select=sum(player.scores.value)", ["select"]),
    ("/samples", "select=max(doc)", ["select"]),
    ("/samples", "select=count(blob)", ["select"]),
    ("/samples", "select=sum(flag)", ["select"]),
    ("/scores", "select=count,count", ["select"]),
    ("/scores", "select=n:count,n:max(value)", ["select"]),
    ("/scores", "select=1x:count", ["select"]),
    ("/scores", "select=count)", ["select"]),
    ("/scores", "group=nope", ["group"]),
    ("/scores", "group=player", ["group"]),
    ("/games", "group=scores.value", ["group"]),
    ("/games", "group=tags.label", ["group"]),
    ("/samples", "group=doc", ["group"]),
    ("/users", "group=password", ["group"]),
    ("/users", "select=max(password)", ["select"]),
    ("/scores", "select=max(player.password)", ["select"]),
    ("/scores", "select=count&sort=value", ["sort"]),
    ("/scores", "select=count&group=game_id&sort=player_id", ["sort"]),
    ("/scores", "select=count&include=player", ["include"]),
    ("/scores", "select=count&cursor=", ["cursor"]),
    ("/scores", "select=count&fields=id", ["fields"]),
    ("/scores", "select=count&value=x", ["value"]),
    ("/scores", "select=count&limit=0", ["limit"]),
]


@pytest.mark.parametrize(("path", "query", "fields"), REFUSED)
async def test_what_cannot_be_aggregated_is_refused(api: Api, path: str, query: str, fields: list[str]) -> None:
    """Unknown functions, fields without order or sum, to-many paths, hidden fields, and two of one name."""
    assert fields_of(await api.refused(f"{path}/aggregate", query)) == fields


#: (path, query, rows)
FOUND: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("/scores", "select=count", [{"count": 10}]),
    ("/scores", "", [{"count": 10}]),
    ("/scores", "select=count&value=-1", [{"count": 0}]),
    (
        "/scores",
        "select=sum(value),avg(value),min(value),max(value)&value=-1",
        [{"sum_value": None, "avg_value": None, "min_value": None, "max_value": None}],
    ),
    ("/scores", "select=count,min(value),max(value)", [{"count": 10, "min_value": 0, "max_value": 2**53 + 2}]),
    ("/scores", "select=sum(value),avg(value)&value[lte]=100", [{"sum_value": 444, "avg_value": 55.5}]),
    ("/scores", "select=sum(value)&value[gt]=100", [{"sum_value": 2**54 + 3}]),
    (
        "/scores",
        "select=count(note),count(distinct note),count(distinct player_id)",
        [{"count_note": 7, "count_distinct_note": 7, "count_distinct_player_id": 4}],
    ),
    ("/scores", "select=sum(distinct value)&value[lte]=100", [{"sum_distinct_value": 244}]),
    ("/scores", "select=n:count,top:max(value)&game_id=1", [{"n": 4, "top": 100}]),
    ("/scores", "select= n:count , top:max( value )&game_id=1", [{"n": 4, "top": 100}]),
    (
        "/scores",
        "group=game_id&select=count,max(value)&value[lte]=100",
        [
            {"game_id": 1, "count": 4, "max_value": 100},
            {"game_id": 2, "count": 1, "max_value": 7},
            {"game_id": 3, "count": 2, "max_value": 100},
            {"game_id": 4, "count": 1, "max_value": 12},
        ],
    ),
    ("/scores", "group=game_id", [{"game_id": 1}, {"game_id": 2}, {"game_id": 3}, {"game_id": 4}]),
    (
        "/scores",
        "group=player.username&select=count&sort=-count,player.username",
        [
            {"player.username": "ada", "count": 4},
            {"player.username": "bob", "count": 3},
            {"player.username": "100%_\\", "count": 2},
            {"player.username": "chloé", "count": 1},
        ],
    ),
    (
        "/scores",
        "group=game.owner.username&select=count&sort=game.owner.username",
        [
            {"game.owner.username": "ada", "count": 6},
            {"game.owner.username": "bob", "count": 2},
            {"game.owner.username": None, "count": 2},
        ],
    ),
    (
        "/scores",
        "group=game.slug,player_id&select=count&game_id=1&sort=-player_id",
        [
            {"game.slug": "tetris", "player_id": 3, "count": 1},
            {"game.slug": "tetris", "player_id": 2, "count": 1},
            {"game.slug": "tetris", "player_id": 1, "count": 2},
        ],
    ),
    (
        "/scores",
        "select=max(player.rank),min(player.username)",
        [{"max_player_rank": 10, "min_player_username": "100%_\\"}],
    ),
    (
        "/games",
        "select=sum(price),min(price),max(price),avg(price),min(released)",
        [
            {
                "sum_price": "119.85",
                "min_price": "0.00",
                "max_price": "100.05",
                "avg_price": 29.9625,
                "min_released": "1972-11-29",
            }
        ],
    ),
    (
        "/games",
        "group=price&select=count",
        [
            {"price": "0.00", "count": 1},
            {"price": "9.90", "count": 2},
            {"price": "100.05", "count": 1},
            {"price": None, "count": 1},
        ],
    ),
    (
        "/users",
        "group=rank&select=count&sort=-rank",
        [
            {"rank": None, "count": 2},
            {"rank": 10, "count": 2},
            {"rank": 5, "count": 1},
        ],
    ),
    ("/games", "select=count&tags.label=classic", [{"count": 2}]),
    ("/games", "select=count&or=(slug=go,scores.value=12)", [{"count": 2}]),
    ("/settings", "select=count", [{"count": 4}]),
]


@pytest.mark.parametrize(("path", "query", "rows"), FOUND)
async def test_groups_and_measures(api: Api, path: str, query: str, rows: list[dict[str, Any]]) -> None:
    """Names, values in their JSON form, filters along relations, one statement with the number of groups."""
    body = await api.read(f"{path}/aggregate", query.replace(" ", "%20"))
    assert body["data"] == rows
    total = len(rows)
    assert body["meta"] == {
        "page": 1,
        "limit": 20,
        "total": total,
        "pages": 1 if total else 0,
        "has_next": False,
        "has_prev": False,
    }


async def test_groups_come_in_pages(api: Api) -> None:
    """With the number of groups as total."""
    body = await api.read("/scores/aggregate", "group=game_id&select=count&limit=3&page=2")
    assert body["data"] == [{"game_id": 4, "count": 2}]
    meta = {"page": 2, "limit": 3, "total": 4, "pages": 2, "has_next": False, "has_prev": True}
    assert body["meta"] == meta


@pytest.mark.parametrize("column", [c for c in COLUMNS if KINDS[c.removesuffix("_or")].sortable])
async def test_every_kind_has_least_greatest_and_distinct(api: Api, column: str) -> None:
    """In its JSON form; null does not count; grouping by it gives each value once, null last."""
    values = [value for i in range(len(ROWS)) if (value := value_of(column, i)) is not None]
    least, greatest = (json_of(column, pick(values)) for pick in (min, max))
    if column.startswith("flag"):
        least, greatest = min(values), max(values)
    query = f"select=min({column}),max({column}),count({column}),count(distinct {column})".replace(" ", "%20")
    assert await api.data("/samples/aggregate", query) == [
        {
            f"min_{column}": least,
            f"max_{column}": greatest,
            f"count_{column}": len(values),
            f"count_distinct_{column}": len(set(values)),
        }
    ]
    groups = [row[column] for row in await api.data("/samples/aggregate", f"group={column}")]
    absent = [None] if column.endswith("_or") else []
    assert groups == [json_of(column, value) for value in sorted(set(values))] + absent


async def test_sums_are_exact(api: Api) -> None:
    """Of decimals with their scale, of integers beyond 2^53."""
    row = (await api.data("/samples/aggregate", "select=sum(money),sum(exact),sum(small)"))[0]
    values = [value_of("money", i) for i in range(len(ROWS))]
    assert row["sum_money"] == str(sum(values, Decimal()))
    assert row["sum_exact"] == str(sum((value_of("exact", i) for i in range(len(ROWS))), Decimal()))
    assert row["sum_small"] == sum(value_of("small", i) for i in range(len(ROWS)))


async def test_a_sum_beyond_the_range_is_no_failure(api: Api) -> None:
    """Integers whose sum no 64-bit integer holds: SQLite refuses to add them, and so does the answer."""
    problem = await api.refused("/samples/aggregate", "select=sum(big)&big[gt]=0")
    assert problem["code"] == "RESULT_TOO_LARGE"
    assert "64-bit" in problem["detail"]
