"""Shapes: fields, includes of every way to three levels, and what is scoped to an included relation."""

from typing import Any

import pytest

from support.api import Api, fields_of

pytestmark = pytest.mark.anyio

#: (path, query, field named, code)
REFUSED = [
    ("/scores", "fields=id,valu", "fields", "unknown_field"),
    ("/users", "fields=password", "fields", "unknown_field"),
    ("/users/1", "fields=password", "fields", "unknown_field"),
    ("/scores", "include=playr", "include", "unknown_relation"),
    ("/scores", "include=value", "include", "unknown_relation"),
    ("/scores", "include=player.password", "include", "unknown_relation"),
    ("/scores/1", "include=playr", "include", "unknown_relation"),
    ("/settings", "include=owner", "include", "unknown_relation"),
    ("/comments", "include=parent.parent.parent.parent", "include", "too_deep"),
    ("/comments/1", "include=replies.replies.replies.replies", "include", "too_deep"),
    ("/scores", "include=player&fields[player]=nope", "fields[player]", "unknown_field"),
    ("/scores", "include=player&fields[player]=password", "fields[player]", "unknown_field"),
    ("/scores", "fields[player]=id", "fields[player]", "not_included"),
    ("/scores", "include=player&fields[game]=id", "fields[game]", "not_included"),
    ("/scores", "include=player.boss&sort[player.boss.id]=id", "sort[player.boss.id]", "not_included"),
    ("/games", "include=scores&sort[scores]=nope", "sort[scores]", "unknown_field"),
    ("/games", "include=scores&sort[scores]=player.scores.id", "sort[scores]", "to_many"),
    ("/games", "include=owner&sort[owner]=id", "sort[owner]", "to_one"),
    ("/games", "include=scores&limit[scores]=0", "limit[scores]", "invalid_value"),
    ("/games", "include=scores&limit[scores]=101", "limit[scores]", "invalid_value"),
    ("/games", "include=scores&limit[scores]=1&limit[scores]=2", "limit[scores]", "duplicate"),
    ("/games", "include=" + ",".join(f"scores.player.{way}" for way in ("boss", "reports", "gmes")), "include", None),
]


@pytest.mark.parametrize(("path", "query", "field", "code"), REFUSED)
async def test_a_shape_that_does_not_exist_is_refused(api: Api, path: str, query: str, field: str, code: str) -> None:
    """Unknown, hidden, too deep, or said of a relation that is not included."""
    problem = await api.refused(path, query)
    assert fields_of(problem) == [field]
    assert problem["errors"][0]["code"] == (code or "unknown_relation")


async def test_the_number_of_includes_is_bounded(api: Api) -> None:
    """Sixteen relations in one shape; one more is refused."""
    first = ("owner", "scores", "tags", "comments")
    second = ("boss", "reports", "games", "scores", "shelves", "payments")
    paths = [*first[1:], *(f"owner.{way}" for way in second), *(f"owner.boss.{way}" for way in second)]
    assert len(await api.data("/games", "include=" + ",".join(paths[:-1]))) == 5
    problem = await api.refused("/games", "include=" + ",".join([*paths, "comments.author"]))
    assert problem["errors"][0]["code"] == "too_many"


async def test_fields_choose_and_order_what_is_shown(api: Api) -> None:
    """In the order asked for, each once, blanks around names do not count."""
    assert await api.data("/scores/1", "fields=value,id") == {"value": 100, "id": 1}
    rows = await api.data("/scores", "fields=%20id%20,note,id&limit=2")
    assert rows == [{"id": 1, "note": "first"}, {"id": 2, "note": None}]


async def test_no_fields_leaves_what_is_included(api: Api) -> None:
    """`fields=` shows no column, but still the relations."""
    assert await api.data("/scores/1", "fields=&include=game&fields[game]=slug") == {"game": {"slug": "tetris"}}
    assert await api.data("/scores/1", "fields=") == {}


async def test_hidden_fields_are_in_no_shape(api: Api) -> None:
    """Neither of the row nor of an included one."""
    assert "password" not in await api.data("/users/1")
    score = await api.data("/scores/1", "include=player.boss,player.reports")
    assert "password" not in score["player"]
    assert all("password" not in report for report in score["player"]["reports"])


def ids(rows: list[dict[str, Any]]) -> list[Any]:
    """The keys of some rows."""
    return [row["id"] for row in rows]


async def test_a_to_one_relation_is_a_row_or_null(api: Api) -> None:
    """The same row that its own path shows; null where the key is null."""
    owners = [game["owner"] for game in await api.data("/games", "include=owner")]
    expected = [await api.data(f"/users/{key}") if key else None for key in (1, 2, None, 1, 5)]
    assert owners == expected


async def test_a_to_many_relation_is_a_list_in_key_order(api: Api) -> None:
    """The same rows that their own path shows; empty where there are none."""
    games = await api.data("/games", "include=scores,comments")
    assert [ids(game["scores"]) for game in games] == [[1, 2, 3, 10], [4, 5], [6, 7], [8, 9], []]
    assert [ids(game["comments"]) for game in games] == [[1, 2, 3, 4, 5], [6], [], [], []]
    assert games[0]["scores"] == [await api.data(f"/scores/{key}") for key in (1, 2, 3, 10)]


async def test_many_to_many_both_ways(api: Api) -> None:
    """Through the association table, whose own columns are not shown."""
    games = await api.data("/games", "include=tags&fields=id&fields[tags]=label")
    assert [[tag["label"] for tag in game["tags"]] for game in games] == [
        ["classic", "puzzle"],
        ["classic", "sport"],
        [],
        ["puzzle"],
        [],
    ]
    tags = await api.data("/tags", "include=games&fields=label&fields[games]=slug")
    assert {tag["label"]: [game["slug"] for game in tag["games"]] for tag in tags} == {
        "classic": ["tetris", "pong"],
        "puzzle": ["tetris", "chess-2"],
        "sport": ["pong"],
        "unused": [],
    }


async def test_three_levels_down_a_self_reference(api: Api) -> None:
    """A comment with its replies, their replies and theirs."""
    query = "include=replies.replies.replies&" + "&".join(
        f"fields{scope}=id" for scope in ("", "[replies]", "[replies.replies]", "[replies.replies.replies]")
    )
    assert await api.data("/comments/1", query) == {
        "id": 1,
        "replies": [
            {"id": 2, "replies": [{"id": 3, "replies": [{"id": 5}]}]},
            {"id": 4, "replies": []},
        ],
    }


async def test_three_levels_up_a_self_reference(api: Api) -> None:
    """A comment with its parent, its and its."""
    row = await api.data("/comments/5", "include=parent.parent.parent")
    assert row["parent"]["parent"]["parent"]["id"] == 1
    row = await api.data("/comments/3", "include=parent.parent.parent")
    assert row["parent"]["parent"]["parent"] is None
    row = await api.data("/comments/1", "include=parent.parent.parent")
    assert row["parent"] is None


async def test_three_levels_both_ways(api: Api) -> None:
    """To-many in to-one in to-many, with siblings, in lists and items; each level holds what it should."""
    query = "include=owner.reports.scores,owner.boss,scores.player.boss,tags.games.owner"
    game = await api.data("/games/pong", query)
    assert game["owner"]["username"] == "bob"
    assert [(r["id"], ids(r["scores"])) for r in game["owner"]["reports"]] == [(4, [6, 9])]
    assert game["owner"]["boss"]["id"] == 1
    assert [(s["id"], s["player"]["boss"] and s["player"]["boss"]["id"]) for s in game["scores"]] == [
        (4, None),
        (5, 1),
    ]
    found = [(tag["label"], [(g["slug"], g["owner"]["id"]) for g in tag["games"]]) for tag in game["tags"]]
    assert found == [("classic", [("tetris", 1), ("pong", 2)]), ("sport", [("pong", 2)])]
    listed = await api.data("/games", f"slug=pong&{query}")
    assert listed == [game]


async def test_a_relation_of_two_columns(api: Api) -> None:
    """A composite foreign key, both ways; null in it is absence."""
    shelf = await api.data("/shelves/1,attic", "include=books,owner&fields[owner]=username&fields[books]=isbn")
    assert shelf["books"] == [{"isbn": "111"}, {"isbn": "222"}]
    assert shelf["owner"] == {"username": "ada"}
    books = await api.data("/books", "include=shelf.owner&fields=isbn")
    assert [(b["shelf"] or {}).get("title") for b in books] == ["Old", "Old", "Bob's", None, "odd key"]
    assert books[3]["shelf"] is None
    assert books[4]["shelf"]["owner"]["username"] == "bob"


async def test_included_rows_have_an_order_a_limit_and_fields_of_their_own(api: Api) -> None:
    """Per parent; the order may follow a to-one path and puts null last."""
    query = "include=scores&sort[scores]=-value,id&limit[scores]=2&fields[scores]=value,player_id&fields=slug"
    games = await api.data("/games", query)
    assert [[s["value"] for s in game["scores"]] for game in games] == [
        [100, 100],
        [2**53 + 1, 7],
        [100, 0],
        [2**53 + 2, 12],
        [],
    ]
    assert list(games[0]) == ["slug", "scores"]
    assert list(games[0]["scores"][0]) == ["value", "player_id"]
    game = await api.data("/games/tetris", "include=scores&sort[scores]=player.username,-value&fields[scores]=id")
    assert ids(game["scores"]) == [1, 10, 2, 3]
    game = await api.data("/games/tetris", "include=scores&sort[scores]=-player.rank,note&fields[scores]=id")
    assert ids(game["scores"]) == [3, 10, 1, 2]


async def test_scopes_reach_every_level(api: Api) -> None:
    """A dotted scope names a relation inside a relation."""
    query = (
        "include=comments.replies&fields=slug&fields[comments]=id&fields[comments.replies]=id"
        "&sort[comments]=-id&limit[comments]=3&sort[comments.replies]=-id&limit[comments.replies]=1"
    )
    game = await api.data("/games/tetris", query)
    assert game["comments"] == [
        {"id": 5, "replies": []},
        {"id": 4, "replies": []},
        {"id": 3, "replies": [{"id": 5}]},
    ]


async def test_included_lists_are_cut_at_the_page_limit(fresh: Api) -> None:
    """Twenty rows a parent when nobody says."""
    for number in range(25):
        await fresh.written("POST", "/tags", {"label": f"t{number}"}, who="admin", status=201)
        body = {"value": number, "game_id": 5}
        await fresh.written("POST", "/scores", body, who="ada", status=201)
    assert len((await fresh.data("/games/empty", "include=scores"))["scores"]) == 20
    assert len((await fresh.data("/games/empty", "include=scores&limit[scores]=100"))["scores"]) == 25


async def test_sort_and_fields_do_not_need_each_other(api: Api) -> None:
    """A list may be sorted and filtered by what it does not show."""
    rows = await api.data("/scores", "fields=note&sort=-player.username,-value&value[lt]=100")
    assert rows == [{"note": note} for note in ("third", None, "a_b", None, "")]


@pytest.mark.parametrize("query", ["sort=id", "limit=1", "page=1", "cursor=", "count=true", "id=1", "or=(id=1)"])
async def test_an_item_has_no_order_page_or_filter(api: Api, query: str) -> None:
    """The parameter is named."""
    problem = await api.refused("/scores/1", query)
    assert fields_of(problem) == [query.partition("=")[0]]
