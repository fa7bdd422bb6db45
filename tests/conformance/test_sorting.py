"""Sorting: every kind both ways, nulls, ties, and paths to one related row."""

from typing import Any

import pytest

from support.api import Api, fields_of
from support.samples import COLUMNS, KINDS, ROWS, value_of

pytestmark = pytest.mark.anyio

SORTABLE = [column for column in COLUMNS if KINDS[column.removesuffix("_or")].sortable]


def ordered(column: str, *, descending: bool) -> list[int]:
    """The ids in the order that the contract asks for: null is largest, ties go by the key the same way."""

    def key(row: int) -> tuple[bool, Any, int]:
        value = value_of(column, row)
        return (value is None, 0 if value is None else value, row)

    return [i + 1 for i in sorted(range(len(ROWS)), key=key, reverse=descending)]


REFUSED = [
    ("/samples", "blob", "sort", "not_sortable"),
    ("/samples", "-doc", "sort", "not_sortable"),
    ("/scores", "valu", "sort", "unknown_field"),
    ("/scores", "player", "sort", "unknown_field"),
    ("/scores", "playr.id", "sort", "unknown_relation"),
    ("/scores", "player.password", "sort", "unknown_field"),
    ("/games", "scores.value", "sort", "to_many"),
    ("/games", "tags.label", "sort", "to_many"),
    ("/scores", "value,value", "sort", "duplicate"),
    ("/scores", "value,-value", "sort", "duplicate"),
    ("/scores", "game.owner.boss.boss.boss.id", "sort", "too_deep"),
    ("/scores", "-", "sort", "unknown_field"),
    ("/scores", "%2Bvalue", "sort", "unknown_field"),
]


@pytest.mark.parametrize(("path", "sort", "field", "code"), REFUSED)
async def test_what_has_no_order_is_refused(api: Api, path: str, sort: str, field: str, code: str) -> None:
    """Unknown, hidden, to-many and unordered keys, and a key twice."""
    problem = await api.refused(path, f"sort={sort}")
    assert (fields_of(problem), problem["errors"][0]["code"]) == ([field], code)


@pytest.mark.parametrize("column", SORTABLE)
async def test_every_kind_sorts_with_null_as_the_largest(api: Api, column: str) -> None:
    """Both ways; rows that tie come by their key, the same way."""
    assert await api.ids("/samples", f"sort={column}") == ordered(column, descending=False)
    assert await api.ids("/samples", f"sort=-{column}") == ordered(column, descending=True)


ORDERS = [
    ("/scores", "", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ("/scores", "sort=-id", [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ("/scores", "sort=-value,id", [9, 5, 1, 2, 7, 10, 3, 8, 4, 6]),
    ("/scores", "sort=-value", [9, 5, 7, 2, 1, 10, 3, 8, 4, 6]),
    ("/scores", "sort=value,-id", [6, 4, 8, 3, 10, 7, 2, 1, 5, 9]),
    ("/scores", "sort=game_id,-value", [2, 1, 10, 3, 5, 4, 7, 6, 9, 8]),
    ("/scores", "sort=player.rank,id", [6, 9, 1, 2, 4, 5, 7, 8, 10, 3]),
    ("/scores", "sort=-player.rank,id", [3, 1, 2, 4, 5, 7, 8, 10, 6, 9]),
    ("/scores", "sort=game.name,id", [8, 9, 6, 7, 4, 5, 1, 2, 3, 10]),
    ("/scores", "sort=game.owner.username,id", [1, 2, 3, 8, 9, 10, 4, 5, 6, 7]),
    ("/scores", "sort=-game.owner.username,id", [6, 7, 4, 5, 1, 2, 3, 8, 9, 10]),
    ("/scores", "sort=game.owner.boss.username,id", [4, 5, 1, 2, 3, 6, 7, 8, 9, 10]),
    ("/scores", "sort= -value , id ", [9, 5, 1, 2, 7, 10, 3, 8, 4, 6]),
    ("/games", "sort=owner.rank,-id", [4, 2, 1, 5, 3]),
    ("/games", "sort=price,name", [2, 4, 1, 5, 3]),
    ("/comments", "sort=-parent.id,id", [1, 6, 5, 3, 2, 4]),
    ("/users", "sort=boss.boss.id,-boss.id,id", [4, 1, 5, 2, 3]),
]


@pytest.mark.parametrize(("path", "query", "ids"), ORDERS)
async def test_orders_are_total_and_follow_paths(api: Api, path: str, query: str, ids: list[int]) -> None:
    """Several keys, mixed directions, ties by key, absent rows at the end of null's side; one statement."""
    assert await api.ids(path, query.replace(" ", "%20")) == ids


async def test_composite_and_natural_keys_break_ties(api: Api) -> None:
    """A table without id is ordered by its own key."""
    rows = await api.data("/shelves", "sort=-owner.rank&fields=user_id,place")
    assert [tuple(row.values()) for row in rows] == [(2, "attic"), (2, "a,b/c"), (1, "desk"), (1, "attic")]
    assert await api.ids("/books", "", key="isbn") == ["111", "222", "333", "444", "x/y?z,é"]
