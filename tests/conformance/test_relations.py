"""Filters along relations, and groups of filters."""

from urllib.parse import quote

import pytest

from support.api import Api, fields_of

pytestmark = pytest.mark.anyio

#: (path, query, field named, part of the hint)
REFUSED = [
    ("/scores", "player.usernme=ada", "player.usernme", "'username'"),
    ("/scores", "playr.username=ada", "playr.username", "'player'"),
    ("/scores", "player=1", "player", "player.id"),
    ("/games", "scores[gt]=1", "scores[gt]", "scores.id"),
    ("/scores", "value.x=1", "value.x", "relation"),
    ("/scores", "player.password=hidden-1", "player.password", "field"),
    ("/users", "password[is]=null", "password[is]", "field"),
    ("/scores", "game.owner.boss.boss.boss.id=1", "game.owner.boss.boss.boss.id", ""),
    ("/scores", "player.rank[gt]=x", "player.rank[gt]", ""),
    ("/scores", ".value=1", ".value", ""),
    ("/scores", "player.=1", "player.", ""),
]

#: (path, query, keys)
ALONG = [
    # to-one
    ("/scores", "player.username=ada", [1, 4, 7, 10]),
    ("/scores", "player.username[ne]=ada", [2, 3, 5, 6, 8, 9]),
    ("/scores", "game.owner.username=ada", [1, 2, 3, 8, 9, 10]),
    ("/scores", "game.owner.boss.username=ada", [4, 5]),
    ("/scores", "game.owner.boss.boss.username=ada", []),
    ("/scores", "player.boss.boss.username=ada", [6, 9]),
    ("/scores", "player.rank[is]=null", [3]),
    ("/games", "owner.rank[is]=null", [5]),
    ("/games", "owner.id[is]=notnull", [1, 2, 4, 5]),
    ("/games", "owner.name[contains]=Love", [1, 4]),
    # to-many: any related row
    ("/games", "scores.value[gte]=100", [1, 2, 3, 4]),
    ("/games", "scores.value=100&scores.value=50", [1]),
    ("/games", "scores.value[lt]=10", [2, 3]),
    ("/games", "scores.value[ne]=100", [1, 2, 3, 4]),
    ("/games", "scores.note[is]=null", [1, 2, 4]),
    ("/games", "scores.id[is]=null", []),
    ("/games", "scores.player.username=bob", [1, 2, 4]),
    ("/games", "scores.player.boss.username=ada", [1, 2, 4]),
    ("/users", "scores.game.slug=go", [1, 4]),
    ("/users", "games.scores.player.username=chloé", [1]),
    # many-to-many
    ("/games", "tags.label=classic", [1, 2]),
    ("/games", "tags.label[in]=puzzle,sport", [1, 2, 4]),
    ("/games", "tags.label=classic&tags.label=puzzle", [1]),
    ("/tags", "games.slug=tetris", [1, 2]),
    ("/tags", "games.owner.username=ada", [1, 2]),
    ("/users", "games.tags.label=puzzle", [1]),
    # self-reference, both ways
    ("/comments", "parent.body=root", [2, 4]),
    ("/comments", "parent.parent.id=1", [3]),
    ("/comments", "replies.body[contains]=reply", [1, 2]),
    ("/comments", "replies.replies.replies.id=5", [1]),
    ("/users", "reports.username=bob", [1]),
    ("/users", "boss.reports.username=bob", [2, 3]),
    # natural keys, and a relation of two columns
    ("/shelves", "books.isbn=333", [2]),
    ("/shelves", "owner.username=bob&place=attic", [2]),
    ("/books", "shelf.title=Old", ["111", "222"]),
    ("/books", "shelf.owner.username=bob", ["333", "x/y?z,é"]),
    ("/books", "shelf.title[is]=null", []),
]


@pytest.mark.parametrize(("path", "query", "field", "hint"), REFUSED)
async def test_a_path_that_leads_nowhere_is_refused(api: Api, path: str, query: str, field: str, hint: str) -> None:
    """The refusal names the parameter, and the nearest name there is."""
    problem = await api.refused(path, query)
    assert fields_of(problem) == [field]
    assert hint in problem["hint"]


async def test_every_bad_parameter_is_named_at_once(api: Api) -> None:
    """Unknown fields, relations, operators of the kind and values are refused together."""
    problem = await api.refused("/scores", "nope=1&player.nope=1&value[like]=x&sort=gone&fields=lost&include=away")
    assert fields_of(problem) == ["nope", "player.nope", "value[like]", "sort", "fields", "include"]
    problem = await api.refused("/scores", "value=x&game_id=y&id[in]=1,z")
    assert fields_of(problem) == ["value", "game_id", "id[in]"]


@pytest.mark.parametrize(("path", "query", "keys"), ALONG)
async def test_a_filter_along_relations_asks_for_any_related_row(
    api: Api, path: str, query: str, keys: list[object]
) -> None:
    """One statement whatever the path; rows are not repeated, and the total counts them once."""
    key = {"/books": "isbn", "/shelves": "user_id"}.get(path, "id")
    page = await api.read(path, f"{query}&fields={key}&sort={key}")
    assert [row[key] for row in page["data"]] == keys
    assert page["meta"]["total"] == len(keys)


BROKEN_GROUPS = [
    ("or", "value=1"),
    ("or", ""),
    ("or", "()"),
    ("or", "(value=1"),
    ("or", "(value=1))"),
    ("or", "(value=1,)"),
    ("or", "(,value=1)"),
    ("or", "(value)"),
    ("or", '(note="a)'),
    ("or", '(note="a"b)'),
    ("and", "(or)"),
    ("and", "(or())"),
    ("and", "(value[gt=1)"),
    ("and", "(value]gt[=1)"),
]


@pytest.mark.parametrize(("word", "text"), BROKEN_GROUPS)
async def test_a_group_that_is_none_is_refused_with_its_place(api: Api, word: str, text: str) -> None:
    """The word is named, the message has the character, the hint shows how to write it."""
    problem = await api.refused("/scores", f"{word}={quote(text)}")
    assert problem["errors"][0]["code"] in ("syntax", "unknown_operator")
    assert problem["errors"][0]["field"].startswith(("or", "and", "value"))


async def test_groups_are_as_deep_and_wide_as_the_limits(api: Api) -> None:
    """Four levels and 64 filters; one more is refused, not cut."""
    assert await api.ids("/scores", "or=(and(or(and(value=7))))") == [4]
    problem = await api.refused("/scores", "or=(and(or(and(or(value=7)))))")
    assert problem["errors"][0]["code"] == "too_deep"
    wide = ",".join(["value=7"] * 64)
    assert await api.ids("/scores", f"or=({wide})") == [4]
    problem = await api.refused("/scores", f"or=({wide},value=7)")
    assert problem["errors"][0]["code"] == "too_many"


async def test_names_inside_groups_are_resolved_like_others(api: Api) -> None:
    """An unknown field in a group is named, with the nearest."""
    problem = await api.refused("/scores", "or=(value=1,and(nte=x,player.usernme=y))")
    assert fields_of(problem) == ["nte", "player.usernme"]
    assert "'note'" in problem["hint"]


GROUPS = [
    ("or=(value=7,value=50)", [3, 4]),
    ("and=(value[gte]=50,value[lte]=75)", [3, 10]),
    ("or=(value=7,and(value=100,note=First))", [4, 7]),
    ("or=(and(game_id=1,value=50),and(game_id=2,value=7))", [3, 4]),
    ("and=(or(value=7,value=50),or(game_id=1,game_id=3))", [3]),
    ("or=(value=7,value=50)&game_id=1", [3]),
    ("or=(value=7,value=50)&or=(game_id=1,game_id=3)", [3]),
    ("or=(note[is]=null,note[like]=f*)", [2, 4, 8]),
    ('or=(note="a_b",note="50%25")', [9, 10]),
    ('or=(note="",value=7)', [4, 6]),
    ("or=(note=,value=7)", [4, 6]),
    ("or=(player.username=bob,game.tags.label=sport)", [2, 4, 5, 8]),
    ("or=(player.scores.value[gt]=9000000000000000,game.slug=go)", [2, 5, 6, 7, 8, 9]),
    ('or=(value[in]="7,50",value=75)', [3, 4, 10]),
    ("or=( value=7, and( value=50))", [3, 4]),
]


@pytest.mark.parametrize(("query", "ids"), GROUPS)
async def test_groups_say_and_and_or(api: Api, query: str, ids: list[int]) -> None:
    """Nested, beside other filters, with quoted values, in one statement."""
    assert await api.ids("/scores", f"{query.replace(' ', '%20')}&sort=id") == ids


async def test_errors_of_every_stage_are_named_at_once(api: Api) -> None:
    """A filter that cannot be read, a name that is not there, a value of another kind, and a cursor: all of them."""
    first = await api.read("/scores", "sort=-value&limit=1&cursor=")
    cursor = first["meta"]["next_cursor"]
    problem = await api.refused("/scores", f"value[gtt]=1&nope=1&id=x&sort=-value&cursor={cursor}&limit=0")
    assert sorted(fields_of(problem)) == ["id", "limit", "nope", "value[gtt]"]
    problem = await api.refused("/scores", f"nope=1&sort=value&cursor={cursor}")
    assert sorted(fields_of(problem)) == ["cursor", "nope"]
