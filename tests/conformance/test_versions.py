"""Older versions of the API: the same rows and rules under other names, in all that is read, written or asked."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from support.api import Api, fields_of, problem_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["value", "points", "combo", "season_id", "season", "player.nick2"])
@pytest.mark.parametrize("use", ["{}=1", "sort={}", "fields={}", "or=({}=1)", "user.scores.{}[gt]=1"])
async def test_names_of_other_versions_are_unknown(editions: Api, use: str, name: str) -> None:
    """A version knows its own names alone, and its hints are of them."""
    problem = await editions.refused("/v1/results", use.format(name))
    assert {error["code"] for error in problem["errors"]} <= {"unknown_field", "unknown_relation"}
    assert not {"'value'", "'points'", "'combo'", "'season'"} & set(problem["hint"].replace(",", " ").split())


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/results", "include=player"),
        ("/v1/results", "include=season"),
        ("/v1/players/1/results", ""),
        ("/v1/results/aggregate", "select=max(value)"),
        ("/v1/results/aggregate", "group=combo"),
        ("/v2/scores/aggregate", "group=value"),
        ("/v1/players", "include=scores.season"),
        ("/v3/scores", "fields=rank"),
        ("/v3/players", "nick=A"),
    ],
)
async def test_what_a_version_has_not_is_refused(editions: Api, path: str, query: str) -> None:
    """Relations, measures and groups too; also what only older versions have."""
    response = await editions.send("GET", path, query)
    assert response.status_code in (400, 404)


@pytest.mark.parametrize(
    "path", ["/v1/scores", "/v1/scores/1", "/v1/seasons", "/v2/seasons", "/v1/medals", "/v1/drafts", "/v3/results"]
)
async def test_resources_of_other_versions_are_not_found(editions: Api, path: str) -> None:
    """Under their own path each has its resources, and no others."""
    problem = problem_of(await editions.send("GET", path, who="ada"), 404)
    assert problem["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"value": 1}, "value", "unknown_field"),
        ({"result": 1, "combo": 2}, "combo", "unknown_field"),
        ({"result": 1, "season_id": 2}, "season_id", "unknown_field"),
        ({"result": -1}, "result", "greater_than_equal"),
        ({"result": "1"}, "result", "int_type"),
        ({}, "result", "required"),
        ({"result": 1, "player_id": 2}, "player_id", "read_only"),
        ({"result": 13}, "result", "check"),
        ({"result": 1, "note": "first"}, "note", "unique"),
    ],
)
async def test_refused_bodies_name_the_fields_of_their_version(
    edition: Api, body: Any, field: str, code: str
) -> None:
    """Whoever finds the fault, the contract or the database, it is told in the caller's names."""
    response = await edition.send("POST", "/v1/results", who="ada", json=body)
    errors = response.json()["errors"]
    assert (field, code) in [(error["field"], error["code"]) for error in errors]
    assert await edition.ids("/v3/scores", "sort=id", who="ada") == [1, 2, 3, 5]


async def test_what_a_newer_version_requires_is_required_there(edition: Api) -> None:
    """Defaults are of older versions alone."""
    problem = problem_of(await edition.send("POST", "/v3/scores", who="ada", json={"value": 1}), 400)
    assert sorted(fields_of(problem)) == ["combo", "mode"]
    problem = problem_of(await edition.send("POST", "/v2/scores", who="ada", json={"points": 1}), 400)
    assert fields_of(problem) == ["mode"]


VALID = {
    "v1": {"result": 1},
    "v2": {"points": 1, "mode": "classic"},
    "v3": {"value": 1, "combo": 1, "mode": "classic"},
}


@pytest.mark.parametrize("version", VALID)
async def test_rules_hold_in_every_version(edition: Api, version: str) -> None:
    """Rows, fields, stamps, and references to rows of a resource that the version does not serve."""
    scores = "results" if version == "v1" else "scores"
    medals = "medals" if version == "v3" else "awards"
    body: dict[str, Any] = VALID[version]
    problem_of(await edition.send("POST", f"/{version}/{scores}", json=body), 401)
    problem_of(await edition.send("GET", f"/{version}/{scores}/4", who="ada"), 404)
    problem_of(await edition.send("PATCH", f"/{version}/{scores}/3", who="ada", json={"note": "x"}), 403)
    problem_of(await edition.send("DELETE", f"/{version}/{scores}/3", who="ada"), 403)
    assert await edition.ids(f"/{version}/players", "email[is]=notnull", who="bob") == []
    body = {"title": "mine", "score_id": 1, "draft_id": 2}
    await edition.written("POST", f"/{version}/{medals}", body | {"draft_id": 1}, who="ada", status=201)
    refused = problem_of(await edition.send("POST", f"/{version}/{medals}", who="ada", json=body), 409)
    missing = problem_of(
        await edition.send("POST", f"/{version}/{medals}", who="ada", json=body | {"draft_id": 99}), 409
    )
    assert fields_of(refused) == fields_of(missing) == ["draft_id"]


async def test_scopes_are_of_the_current_names(editions: Api) -> None:
    """A key that was made for a resource holds for it in every version, and for no other one of that name."""
    for path in ("/v1/results", "/v2/scores", "/v3/scores"):
        assert (await editions.send("GET", path, who="scores only")).status_code == 200
        for who in ("players only", "results only"):
            problem = problem_of(await editions.send("GET", path, who=who), 403)
            assert problem["detail"] == "The credential has no scope scores:read."


NAMES = {
    "v1": {"value": "result", "player": "user"},
    "v2": {"value": "points"},
}
GONE = {"combo", "season_id", "season"}
READS = [
    ("/results", "", "/scores", ""),
    ("/results/1", "", "/scores/1", ""),
    ("/results", "result[gte]=50&sort=-result,id", "/scores", "value[gte]=50&sort=-value,id"),
    ("/results", "or=(result=0,user.name=ada)&sort=id", "/scores", "or=(value=0,player.name=ada)&sort=id"),
    ("/results", "include=user&fields=id,result&sort=user.name,id", "/scores", "*include=player&sort=player.name,id"),
    ("/results", "include=user.scores&sort=id", "/scores", "include=player.scores&sort=id"),
    ("/players/1/scores", "sort=result,id", "/players/1/scores", "sort=value,id"),
    ("/players", "scores.result[gt]=60&include=scores", "/players", "scores.value[gt]=60&include=scores"),
    ("/players", "include=scores.user&sort=id", "/players", "include=scores.player&sort=id"),
    ("/awards", "score.result[gt]=1&include=score.user", "/medals", "score.value[gt]=1&include=score.player"),
    ("/awards", "draft_id=1", "/medals", "draft_id=1"),
]


def as_of(version: str, body: Any, path: str = "") -> Any:
    """The body of the current version as an older one says it."""
    if isinstance(body, list):
        return [as_of(version, item) for item in body]
    if not isinstance(body, dict):
        return body
    names = NAMES[version]
    made = {names.get(name, name): as_of(version, value) for name, value in body.items() if name not in GONE}
    if "mode" in body:
        made["rank"] = 0
    return made


@pytest.mark.parametrize(("path", "query", "now_path", "now_query"), READS)
@pytest.mark.parametrize("who", ["", "ada", "bob"])
async def test_reads_are_those_of_the_current_version_renamed(
    editions: Api, path: str, query: str, now_path: str, now_query: str, who: str
) -> None:
    """One statement, the same rows in the same order, each name the version's."""
    found = await editions.read(f"/v1{path}", query, who=who)
    now = as_of("v1", await editions.read(f"/v3{now_path}", now_query.lstrip("*"), who=who))
    if now_query.startswith("*"):
        now["data"] = [{name: row[name] for name in ("id", "result", "user")} for row in now["data"]]
    without_nick(found)
    assert found == now


def without_nick(node: Any) -> None:
    """Leave out what only older versions show of a player."""
    for item in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        without_nick(item)
    if isinstance(node, dict):
        node.pop("nick", None)


async def test_what_was_removed_is_there_in_older_versions(edition: Api) -> None:
    """Shown, filtered and written, as long as the column is there."""
    assert await edition.data("/v1/players", "nick=A&fields=nick") == [{"nick": "A"}]
    row = await edition.written("POST", "/v2/players", {"name": "cy", "nick": "C"}, who="admin", status=201)
    assert row["nick"] == "C"
    assert "nick" not in await edition.data(f"/v3/players/{row['id']}")


@pytest.mark.parametrize(
    ("query", "count"),
    [("rank=0", 4), ("rank[gt]=0", 0), ("rank[in]=0,1", 4), ("rank[is]=null", 0), ("or=(rank=1,id=1)", 1)],
)
async def test_a_field_of_no_table_is_filtered_as_what_it_answers(editions: Api, query: str, count: int) -> None:
    """It is a value like any other."""
    assert len(await editions.data("/v1/results", query)) == count


async def test_a_field_of_no_table_can_be_sorted_and_grouped_by(editions: Api) -> None:
    """It orders nothing and parts nothing, and breaks nothing."""
    assert await editions.ids("/v1/results", "sort=rank,-id") == [5, 3, 2, 1]
    assert await editions.data("/v1/results/aggregate", "group=rank&select=count,max(rank),max(result)") == [
        {"rank": 0, "count": 4, "max_rank": 0, "max_result": 100}
    ]
    first = await editions.read("/v1/results", "sort=rank,id&cursor=&limit=2&fields=id,rank")
    second = await editions.read(
        "/v1/results", f"sort=rank,id&cursor={first['meta']['next_cursor']}&limit=2&fields=id,rank"
    )
    assert [row["id"] for row in first["data"] + second["data"]] == [1, 2, 3, 5]


async def test_aggregates_are_named_by_the_version(editions: Api) -> None:
    """Groups and measures alike."""
    found = await editions.data(
        "/v1/results/aggregate", "group=user.name&select=sum(result),best:max(result)&sort=-best"
    )
    assert found == [
        {"user.name": "ada", "sum_result": 150, "best": 100},
        {"user.name": "bob", "sum_result": 100, "best": 100},
    ]


@pytest.mark.parametrize("start", ["", "cursor="])
async def test_pages_lead_on_within_the_version(editions: Api, start: str) -> None:
    """Links and cursors are of the version; those of another one do not fit."""
    response = await editions.send("GET", "/v1/results", f"sort=result&limit=2&{start}".rstrip("&"))
    following = next(part for part in response.headers["link"].split(", ") if 'rel="next"' in part)
    url = urlsplit(following[1 : following.index(">")])
    assert url.path == "/api/v1/results"
    assert len(await editions.data("/v1/results", url.query)) == 2
    if start:
        cursor = dict(parse_qsl(url.query))["cursor"]
        await editions.refused("/v3/scores", f"sort=value&cursor={cursor}")


async def test_a_row_that_is_made_in_an_older_version_is_whole(edition: Api) -> None:
    """Its defaults are kept, and Location leads to it; what is no more was never refused."""
    response = await edition.send("POST", "/v1/results", who="ada", json={"result": 9, "rank": 77})
    assert response.status_code == 201
    row = response.json()["data"]
    assert response.headers["location"] == f"/api/v1/results/{row['id']}"
    assert (row["result"], row["mode"], row["rank"], row["player_id"]) == (9, "classic", 0, 1)
    now = await edition.data(f"/v3/scores/{row['id']}", who="ada")
    assert (now["value"], now["combo"], now["mode"], now["season_id"]) == (9, 7, "classic", None)


async def test_a_given_value_wins_over_a_default(edition: Api) -> None:
    """A default is for what is not said."""
    row = await edition.written("POST", "/v1/results", {"result": 9, "mode": "blitz"}, who="ada", status=201)
    assert row["mode"] == "blitz"


async def test_changes_in_an_older_version_leave_what_it_does_not_know(edition: Api) -> None:
    """A replacement as well: nobody can mean to reset a field that is not there."""
    before = await edition.data("/v3/scores/1", who="ada")
    await edition.written("PATCH", "/v1/results/1", {"result": 3, "rank": 5}, who="ada")
    sent = await edition.data("/v1/results/1", who="ada")
    replaced = await edition.written("PUT", "/v1/results/1", sent | {"result": 4, "mode": "blitz"}, who="ada")
    assert (replaced["result"], replaced["rank"]) == (4, 0)
    now = await edition.data("/v3/scores/1", who="ada")
    assert now | {"updated_at": "", "version": 0} == before | {
        **{"value": 4, "mode": "blitz", "updated_at": "", "version": 0},
    }
    body = {"result": 5}
    assert (await edition.written("PUT", "/v1/results/1", body, who="ada"))["mode"] == "classic"


async def test_versions_of_a_row_are_the_same_in_all_versions_of_the_api(edition: Api) -> None:
    """An ETag that was read in one conditions a write in another."""
    etag = (await edition.send("GET", "/v1/results/1", who="ada")).headers["etag"]
    await edition.written("PATCH", "/v3/scores/1", {"value": 1}, who="ada")
    stale = await edition.send("PATCH", "/v1/results/1", who="ada", json={"result": 2}, headers={"if-match": etag})
    problem_of(stale, 412)
    deleted = await edition.send("DELETE", "/v1/results/1", who="ada", headers={"if-match": stale.headers["etag"]})
    assert deleted.status_code == 409  # medals refer to it
    assert (await edition.send("DELETE", "/v1/results/2", who="ada")).status_code == 204
    problem_of(await edition.send("GET", "/v3/scores/2", who="ada"), 404)


async def test_children_are_made_below_their_parent(edition: Api) -> None:
    """A nested route of an older version sets the reference by its name there."""
    row = await edition.written("POST", "/v1/results/1/medals", {"title": "new"}, who="ada", status=201)
    assert row["score_id"] == 1
    problem = problem_of(
        await edition.send("POST", "/v1/results/1/medals", who="ada", json={"title": "x", "score_id": 2}), 400
    )
    assert fields_of(problem) == ["score_id"]
